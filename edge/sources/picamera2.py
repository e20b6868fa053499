"""A camera of the Raspberry Pi, or any other that libcamera knows, through picamera2.

Exposure and white balance settle once and are then locked: a cell's colours must not depend on what else is in
view. What was found is kept when the camera has to be opened again within a run.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from edge.errors import SourceError, SourceUnusable
from edge.sources import pixels
from edge.sources.camera import NoPicture, Shot, blank

HOW_TO_INSTALL: Final = (
    "sudo apt install --no-install-recommends python3-picamera2, and a virtual environment made with "
    "python3 -m venv --system-site-packages"
)

_BUFFERS: Final = 4
_SETTLE_S: Final = 5.0
_ALIKE: Final = 0.01  # relative differences up to this are none…
_RESTING_FRAMES: Final = 6  # …and so many pictures without one are rest
_APPLIED_S: Final = 1.0  # controls take effect a few pictures after they were set
_OLDEST: Final = timedelta(minutes=1)  # a time stamp that says more is of another clock

log = logging.getLogger(__name__)


class Light(NamedTuple):
    """Exposure and white balance; None for what is not known.

    Attributes:
        exposure_us: the exposure time in microseconds.
        gain: of the sensor.
        red_gain: by what red is multiplied for white to be white.
        blue_gain: likewise for blue.
    """

    exposure_us: int | None = None
    gain: float | None = None
    red_gain: float | None = None
    blue_gain: float | None = None


_SETTLES: Final = Light()


@dataclass(frozen=True, slots=True)
class Picamera2Options:
    """What a camera is asked for.

    Attributes:
        camera: its number, as `leukoscope cameras` lists it.
        width: of the pictures, in pixels.
        height: likewise.
        fps: pictures a second.
        light: exposure and white balance; None is as it settles.
        timeout_s: how long one picture may take, in seconds.
    """

    camera: int = 0
    width: int = 1280
    height: int = 960
    fps: float = 15.0
    light: Light = _SETTLES
    timeout_s: float = 5.0

    @property
    def name(self) -> str:
        """What the camera is called in messages."""
        return f"the camera {self.camera} (picamera2)"


class Held:
    """What exposure and white balance settled at, kept from one opening of the camera to the next."""

    def __init__(self) -> None:
        self.light: Light | None = None


class Picamera2Camera:
    """One opening of the camera, as a `Camera`."""

    def __init__(self, options: Picamera2Options, held: Held) -> None:
        self._options = options
        self._held = held
        self._name = options.name
        self._camera: Any = None
        self._format = ""
        self._width = 0
        self._space = pixels.REC601

    def open(self) -> None:
        """Configure and start it, let the light settle, and lock it.

        Raises:
            SourceUnusable: picamera2 cannot be used, or the camera gives no pixels that are understood.
            SourceError: the camera is not there, or another program has it.
        """
        picamera2 = library()
        with _translated(f"{self._name} cannot be opened"):
            if self._options.camera >= len(picamera2.global_camera_info()):
                raise SourceError(f"{self._name} is not there; leukoscope cameras lists those that are")
            self._camera = picamera2(self._options.camera)
            # At the end of the program picamera2 would wait for ever for a camera that hangs.
            atexit.unregister(self._camera.close)
            self._configure()
            self._camera.start()
            self._lock()

    def shoot(self) -> Shot:
        """The newest picture that was not taken yet.

        Raises:
            NoPicture: there is none in time.
            SourceError: there is none any more.
        """
        with (
            _translated(f"{self._name} gives no picture"),
            self._camera.captured_request(wait=self._options.timeout_s) as request,
        ):
            buffer = request.make_array("main")
            sensor_ns = request.get_metadata().get("SensorTimestamp")
        image = pixels.rgb(buffer, self._format, self._width, self._space)
        if blank(image) is not None:
            self._held.light = None  # found in another light, it seems: the next opening finds it anew
        return Shot(image, _captured_at(sensor_ns))

    def close(self) -> None:
        """Stop it and give it back."""
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except Exception as error:  # noqa: BLE001 - of a camera that is gone picamera2 raises anything
                log.info("%s was not closed cleanly: %s", self._name, error)

    def _configure(self) -> None:
        options, camera = self._options, self._camera
        duration_us = round(1e6 / options.fps)
        controls = self._locked(self._light()) if None not in self._light() else {}
        if "FrameDurationLimits" in camera.camera_controls:
            controls["FrameDurationLimits"] = (duration_us, duration_us)
        size = (options.width, options.height)
        space = importlib.import_module("libcamera").ColorSpace.Smpte170m()  # Rec. 601, if not R, G, B
        camera.configure(
            camera.create_video_configuration(
                main={"size": size, "format": "BGR888"},
                colour_space=space,
                buffer_count=_BUFFERS,
                controls=controls,
            )
        )
        given = camera.camera_configuration()
        self._format, self._width = given["main"]["format"], given["main"]["size"][0]
        self._space = _colour_space(given["colour_space"])
        if self._format not in pixels.FORMATS:
            raise SourceUnusable(
                f"{self._name} gives pixels in {self._format}; {', '.join(pixels.FORMATS)} are understood"
            )
        if given["main"]["size"] != size:
            log.warning("%s gives %d × %d pixels, not %d × %d", self._name, *given["main"]["size"], *size)

    def _lock(self) -> None:
        """Wait until exposure and white balance do not change any more, and keep them there."""
        controls = self._camera.camera_controls
        if "AeEnable" not in controls and "AwbEnable" not in controls:
            log.warning("%s cannot lock its exposure and white balance", self._name)
            return
        if None not in self._light():
            return  # it is so from the first picture on
        light = _completed(self._light(), self._rested())
        self._camera.set_controls(self._locked(light))
        self._held.light = light
        self._metadata_until(lambda now: _alike(now, light), _APPLIED_S)
        log.info("%s is locked; to have it so always: %s", self._name, _toml(light))

    def _light(self) -> Light:
        """What is known of the light before the camera runs: found earlier, or configured."""
        return self._held.light or self._options.light

    def _locked(self, light: Light) -> dict[str, object]:
        """The controls that lock a light, as far as this camera has them."""
        gains = light.red_gain, light.blue_gain
        controls = {
            "AeEnable": False,
            "AwbEnable": False,
            "ExposureTime": light.exposure_us,
            "AnalogueGain": light.gain,
            "ColourGains": None if None in gains else gains,
        }
        known = self._camera.camera_controls
        return {name: value for name, value in controls.items() if value is not None and name in known}

    def _rested(self) -> Light:
        """Exposure and white balance, when they do not change any more, or after `_SETTLE_S`."""
        before, resting = _SETTLES, 0

        def rests(light: Light) -> bool:
            nonlocal before, resting
            resting = resting + 1 if _alike(before, light) else 0
            before = light
            return resting >= _RESTING_FRAMES

        if not self._metadata_until(rests, _SETTLE_S):
            log.warning("%s: exposure and white balance did not settle within %g s", self._name, _SETTLE_S)
        return before

    def _metadata_until(self, fits: Callable[[Light], bool], timeout_s: float) -> bool:
        """Let pictures pass until one was taken in a light that fits; False where none is in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            metadata = self._camera.capture_metadata(wait=self._options.timeout_s)
            red_gain, blue_gain = metadata.get("ColourGains") or (None, None)
            exposure_us, gain = metadata.get("ExposureTime"), metadata.get("AnalogueGain")
            if fits(Light(exposure_us, gain, red_gain, blue_gain)):
                return True
        return False


def library() -> Any:
    """picamera2's class, imported now.

    Raises:
        SourceUnusable: it is not installed, or cannot be loaded.
    """
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")  # it writes to standard error, past the log
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise SourceUnusable(f"picamera2 cannot be used ({error}): {HOW_TO_INSTALL}") from error
    except Exception as error:
        # Debian's simplejpeg is built for numpy 1, and a numpy 2 beside it makes that a ValueError.
        raise SourceUnusable(
            f"picamera2 cannot be loaded ({error}); where that speaks of numpy: pip install --upgrade simplejpeg"
        ) from error
    return Picamera2


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Makes a `SourceError` of whatever picamera2 and libcamera raise; they do not say what that may be."""
    try:
        yield
    except SourceError:
        raise
    except TimeoutError as error:
        raise NoPicture(f"{what} in time") from error
    except Exception as error:
        raise SourceError(f"{what}: {error.__cause__ or error}") from error


def _alike(one: Light, other: Light) -> bool:
    """Whether two lights differ by so little that nobody sees it."""
    pairs = [(a or 0.0, b or 0.0) for a, b in zip(one, other, strict=True)]
    return all(abs(a - b) <= _ALIKE * max(a, b) for a, b in pairs)


def _completed(wanted: Light, found: Light) -> Light:
    """What was configured, and for the rest what was found, so that pictures are as bright as they were."""
    exposure_us, gain = wanted.exposure_us, wanted.gain
    if found.exposure_us is not None and found.gain is not None:
        exposure = found.exposure_us * found.gain
        if exposure_us is None:
            exposure_us = found.exposure_us if gain is None else round(exposure / gain)
        if gain is None:
            gain = max(1.0, exposure / exposure_us)
    return Light(exposure_us, gain, wanted.red_gain or found.red_gain, wanted.blue_gain or found.blue_gain)


def _toml(light: Light) -> str:
    """The settings that say the same."""
    return ", ".join(f"{name} = {value:.4g}" for name, value in light._asdict().items() if value is not None)


def _colour_space(space: Any) -> pixels.ColourSpace:
    """libcamera's colour space; Rec. 601 in its narrow range where it does not say."""
    if space is None:
        return pixels.REC601
    base = pixels.REC709 if str(space.ycbcrEncoding).endswith("Rec709") else pixels.REC601
    return base._replace(full=str(space.range).endswith("Full"))


def _captured_at(sensor_ns: int | None) -> datetime:
    """When the light fell on the sensor, from its nanoseconds since the machine began to run."""
    now = datetime.now(UTC)
    if sensor_ns is None:
        return now
    age = timedelta(microseconds=(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - sensor_ns) / 1000)
    return now - age if timedelta(0) <= age <= _OLDEST else now
