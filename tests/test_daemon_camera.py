"""The daemon with a camera that fails in every way: every cell is counted once, and none from a bad picture."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import WAIT_S, Subscriber, until
from mjpeg import MjpegServer, Mode

from edge.config import Settings
from edge.daemon import Daemon
from edge.errors import SourceError
from edge.mqtt.broker import PrivateBroker
from edge.sources.base import SourceEnded
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide

Subscribe = Callable[..., Subscriber]
SLIDE = SlideSettings(
    seed=4, cells=16, mix=(("neutrophil", 2.0), ("lymphocyte", 1.0)), white_per_mm2=300, width=640, height=480,
    um_per_pixel=0.2, interval_s=0, stall_share=0, blur=0.4, scan="meander", overlap=0.35, dwell_frames=4,
    move_frames=6,
)  # fmt: skip
NEAR = 25  # pixels; the boxes of cells are not exact, and a white cell is 50 wide
PACE_S = 0.3  # a machine that is slower than this for a picture loses some of them


@contextmanager
def running(daemon: Daemon) -> Iterator[threading.Thread]:
    failures: list[Exception] = []

    def run() -> None:
        try:
            daemon.run()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        daemon.stop()
        thread.join()
    for failure in failures:
        raise failure


def told(
    tmp_path: Path, broker: PrivateBroker, camera: MjpegServer, device: str = "camera", **more: object
) -> Settings:
    return Settings.model_validate(
        {
            "device": {"name": device},
            "source": {"kind": "video", "input": camera.address, "stall_s": 1.0, **more},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": tmp_path / "camera.sqlite"},
        }
    )


class Stage:
    """A slide that moves on when the daemon has read a picture, or after a while; at its end it rests."""

    def __init__(self) -> None:
        self.slide = VirtualSlide(SLIDE)
        self.slide.open()
        self.pictures: list[np.ndarray] = []
        with suppress(SourceEnded):
            while frame := self.slide.read(0):
                self.pictures.append(frame.image)
        self.daemon: Daemon | None = None
        self._read = 0

    def show(self, number: int) -> np.ndarray:
        end = time.monotonic() + PACE_S
        while self.daemon and self.daemon.gauges.frames <= self._read and time.monotonic() < end:
            time.sleep(0.005)
        self._read = self.daemon.gauges.frames if self.daemon else 0
        noise = np.random.default_rng(number).integers(0, 3, (SLIDE.height, SLIDE.width, 1), np.uint8)
        return cv2.subtract(self.pictures[min(number, len(self.pictures) - 1)], np.repeat(noise, 3, axis=2))


def test_each_cell_is_counted_once_whatever_the_camera_does(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    stage = Stage()

    def codes() -> list[str]:
        said = subscriber.of("camera/status")
        return [problem["code"] for problem in said[-1].get("problems", [])] if said else []

    with MjpegServer(stage.show, count=10**6, interval_s=0.01) as camera:
        daemon = stage.daemon = Daemon.of(told(tmp_path, broker, camera))
        last = len(stage.pictures)

        def wait_for(number: int) -> None:
            until(lambda: camera.place >= number, f"picture {number} was shown")

        def bad(fault: Mode, code: str) -> None:
            camera.mode = fault
            until(lambda: codes() == [code], f"{fault} is reported")
            until(lambda: len(daemon.frames) == 0, "what came before is read")
            read = daemon.gauges.frames
            time.sleep(1.0)
            assert daemon.gauges.frames <= read + 1, (
                f"no picture is read of a camera that is at fault: {fault}"
            )
            camera.mode = "play"
            until(lambda: codes() == [], f"{fault} is over")

        with running(daemon):
            faults: list[tuple[Mode, str]] = [
                ("stall", "camera"), ("black", "camera_blank"), ("repeat", "camera"), ("hang up", "camera"),
            ]  # fmt: skip
            for number, (fault, code) in enumerate(faults):
                wait_for((number + 1) * last // 6)
                bad(fault, code)
            wait_for(5 * last // 6)
            camera.stop()
            until(lambda: codes() == ["camera"], "it is missed")
            camera.start()
            until(lambda: codes() == [], "it is back")
            wait_for(last + 30)
        until(
            lambda: [p["state"] for p in subscriber.of("camera/status")][-1:] == ["offline"],
            "it said goodbye",
        )
    subscriber.catch_up()
    truth = {
        cell.number: (cell.x_um / SLIDE.um_per_pixel, cell.y_um / SLIDE.um_per_pixel)
        for cell in stage.slide.truth()
    }
    cells, counted = subscriber.cells(), []
    for cell in cells:
        place = cell["place"]
        assert place["region"] == 0
        near = [
            number
            for number, (x, y) in truth.items()
            if abs(place["x"] - x) < NEAR and abs(place["y"] - y) < NEAR
        ]
        assert len(near) == 1, f"{place} is where no cell lies"
        counted += near
    assert sorted(counted) == sorted(set(counted)), "no cell is counted twice"
    assert len(counted) >= len(truth) - 1
    assert [cell["seq"] for cell in cells] == list(range(1, len(counted) + 1))


def test_a_camera_that_stays_away_ends_the_daemon_which_says_so_meanwhile(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    camera = MjpegServer()
    camera.start()
    camera.stop()
    config = tmp_path / "leukoscope.toml"
    config.write_text(
        f'[device]\nname = "away"\n[source]\nkind = "video"\ninput = "{camera.address}"\n'
        f'stall_s = 1.0\ngive_up_s = 3.0\n[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        f'[store]\npath = "{tmp_path / "away.sqlite"}"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", "from edge.cli import main; main()", "run", "--config", str(config)],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 69, "systemd starts it anew"
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"Error: the camera at {camera.address} cannot be reached: Connection refused; given up"
    )
    assert "it is opened again in" in done.stderr
    subscriber.catch_up()
    said = subscriber.of("away/status")
    assert [problem["code"] for problem in said[0]["problems"]] == ["camera"]
    until(lambda: subscriber.last("away/status").get("state") == "offline", "it said goodbye")


def test_a_film_is_read_to_its_end_and_a_second_time_adds_nothing(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    stage = Stage()
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 10, (SLIDE.width, SLIDE.height))
    for picture in stage.pictures:
        writer.write(picture[..., ::-1])
    writer.release()
    settings = Settings.model_validate(
        {
            "device": {"name": "film"},
            "source": {"kind": "video", "input": str(film)},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": tmp_path / "film.sqlite"},
        }
    )
    daemon = Daemon.of(settings)
    daemon.run()
    assert daemon.gauges.frames == len(stage.pictures)
    assert daemon.frames.dropped == 0
    until(lambda: [p["state"] for p in subscriber.of("film/status")][-1:] == ["offline"], "it said goodbye")
    subscriber.catch_up()
    first = len(subscriber.cells())
    assert len(stage.slide.truth()) - 1 <= first <= len(stage.slide.truth())
    Daemon.of(settings).run()
    until(lambda: [p["state"] for p in subscriber.of("film/status")].count("offline") == 2, "it said goodbye")
    subscriber.catch_up()
    assert len(subscriber.cells()) == first


def test_what_a_camera_showed_before_it_failed_for_good_is_decided(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    stage = Stage()
    shown = max(range(20), key=lambda number: sum(seen.whole for seen in stage.slide.visible(number)))
    noise = np.random.default_rng(1)

    def rest(_: int) -> np.ndarray:
        grain = noise.integers(0, 3, stage.pictures[shown].shape, np.uint8)
        return cv2.subtract(stage.pictures[shown], grain)

    with MjpegServer(rest, interval_s=0.1) as camera:
        settings = told(tmp_path, broker, camera, "failed", give_up_s=2.0)
        frames = settings.frames.model_copy(update={"rest_s": 60.0})  # too long for this test
        daemon = Daemon.of(settings.model_copy(update={"frames": frames}))
        with pytest.raises(SourceError, match="given up after"), running(daemon) as thread:
            until(lambda: daemon.gauges.frames >= 5, "it was seen")
            assert daemon.gauges.cells == 0
            camera.mode = "stall"
            thread.join(WAIT_S)
    until(lambda: [p["state"] for p in subscriber.of("failed/status")][-1:] == ["offline"], "it said goodbye")
    subscriber.catch_up()
    assert len(subscriber.cells()) == sum(seen.whole for seen in stage.slide.visible(shown))
