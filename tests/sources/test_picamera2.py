"""What of the picamera2 source needs no libcamera: how the light is locked, on a sensor that is made up; the clock.

The real picamera2 runs in the contract of all sources where it is installed, and in bench/picamera2.
"""

from __future__ import annotations

import importlib.util
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from edge.errors import SourceUnusable
from edge.sources.picamera2 import (
    Held,
    Light,
    Picamera2Camera,
    Picamera2Options,
    _captured_at,
    _completed,
    library,
)
from edge.sources.pixels import REC601

DELAY = 3  # pictures until a control takes effect


class Sensor:
    """A sensor whose exposure and white balance settle, as long as they are not locked."""

    camera_controls = frozenset({"AeEnable", "AwbEnable", "ExposureTime", "AnalogueGain", "ColourGains"})

    def __init__(self) -> None:
        self.light = {"ExposureTime": 1000.0, "AnalogueGain": 4.0, "ColourGains": (1.0, 1.0)}
        self.goal = {"ExposureTime": 8000.0, "AnalogueGain": 1.5, "ColourGains": (1.9, 1.6)}
        self.automatic = True
        self.coming: deque[dict[str, Any]] = deque([{}] * DELAY)
        self.pictures = 0

    def set_controls(self, controls: dict[str, Any]) -> None:
        self.coming[-1] = dict(controls)

    def capture_metadata(self, wait: float) -> dict[str, Any]:
        assert wait > 0
        self.pictures += 1
        controls = self.coming.popleft()
        self.coming.append({})
        self.automatic = self.automatic and controls.get("AeEnable", True)
        self.light |= {name: value for name, value in controls.items() if name in self.light}
        if self.automatic:
            for name, goal in self.goal.items():
                self.light[name] = np.asarray(self.light[name]) * 0.6 + np.asarray(goal) * 0.4
        red, blue = self.light["ColourGains"]
        return {
            "ExposureTime": round(float(self.light["ExposureTime"])),
            "AnalogueGain": float(self.light["AnalogueGain"]),
            "ColourGains": (float(red), float(blue)),
        }


def locked(light: Light, held: Held) -> Sensor:
    camera, sensor = Picamera2Camera(Picamera2Options(light=light), held), Sensor()
    camera._camera = sensor
    camera._lock()
    return sensor


def test_light_settles_and_is_locked_before_the_first_picture(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    held = Held()
    sensor = locked(Light(), held)
    assert held.light is not None
    assert held.light == pytest.approx((8000, 1.5, 1.9, 1.6), rel=0.03)
    for _ in range(DELAY):
        sensor.capture_metadata(1)
    assert not sensor.automatic
    sensor.goal["ExposureTime"] = 100.0  # somebody moves the lamp
    before = sensor.capture_metadata(1)
    assert sensor.capture_metadata(1) == before
    assert before["ExposureTime"] == held.light.exposure_us
    assert f"to have it so always: exposure_us = {held.light.exposure_us}, gain = 1.5" in caplog.text


def test_what_is_held_or_configured_is_not_looked_for() -> None:
    held = Held()
    light = Light(5000, 2.0, 1.8, 1.5)
    assert locked(light, held).pictures == 0
    assert Picamera2Camera(Picamera2Options(), held)._light() == Light()
    held.light = light
    assert Picamera2Camera(Picamera2Options(), held)._light() == light


@pytest.mark.parametrize(
    ("wanted", "locks"),
    [
        (Light(), Light(8000, 1.5, 1.9, 1.6)),
        (Light(exposure_us=4000), Light(4000, 3.0, 1.9, 1.6)),
        (Light(gain=3.0), Light(4000, 3.0, 1.9, 1.6)),
        (Light(exposure_us=24_000), Light(24_000, 1.0, 1.9, 1.6)),  # no sensor has less gain
        (Light(red_gain=2.2), Light(8000, 1.5, 2.2, 1.6)),
    ],
)
def test_what_is_configured_in_part_is_completed_to_be_as_bright(wanted: Light, locks: Light) -> None:
    assert _completed(wanted, Light(8000, 1.5, 1.9, 1.6)) == locks
    held = Held()
    sensor = locked(wanted, held)
    assert held.light == pytest.approx(locks, rel=0.03)
    assert sensor.capture_metadata(1)["ExposureTime"] == pytest.approx(locks.exposure_us, rel=0.03)


def test_a_camera_that_tells_nothing_is_locked_at_what_it_has() -> None:
    assert _completed(Light(), Light()) == Light()
    assert _completed(Light(gain=2.0), Light()) == Light(gain=2.0)


def test_black_pictures_free_the_light_for_the_next_opening() -> None:
    class Request:
        def make_array(self, _: str) -> np.ndarray:
            return np.zeros((48, 64, 3), np.uint8)

        def get_metadata(self) -> dict[str, int]:
            return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}

        def __enter__(self) -> Request:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    class Dark(Sensor):
        def captured_request(self, wait: float) -> Request:
            assert wait > 0
            return Request()

    held = Held()
    held.light = Light(5000, 2.0, 1.8, 1.5)
    camera = Picamera2Camera(Picamera2Options(), held)
    camera._camera, camera._format, camera._width, camera._space = Dark(), "BGR888", 64, REC601
    assert camera.shoot().image.max() == 0
    assert held.light is None


def test_the_sensors_time_is_believed_unless_it_cannot_be() -> None:
    age = timedelta(milliseconds=80)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    captured = _captured_at(now_ns - 80_000_000)
    assert age <= datetime.now(UTC) - captured < age + timedelta(seconds=30)
    for stamp in (None, now_ns + 10**12, now_ns - 10**12):
        before = datetime.now(UTC)
        assert before <= _captured_at(stamp) <= datetime.now(UTC)


@pytest.mark.skipif(importlib.util.find_spec("picamera2") is not None, reason="picamera2 is installed here")
def test_without_picamera2_it_says_how_to_install_it() -> None:
    with pytest.raises(SourceUnusable, match=r"apt install .*python3-picamera2.*--system-site-packages"):
        library()
