"""A live source whose camera does what cameras do: each fault is a real one, of a real server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from helpers import WAIT_S, until
from mjpeg import MjpegServer, Mode, noisy

from edge.errors import SourceError, SourceUnusable
from edge.health.problems import Health
from edge.records import Frame
from edge.sources.address import video_address
from edge.sources.camera import Shot, blank
from edge.sources.healing import HealingLimits, HealingSource
from edge.sources.video import VideoCamera, VideoOptions

LIMITS = HealingLimits(stall_s=1.0, give_up_s=WAIT_S)


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer() as running:
        yield running


def watching(
    server: MjpegServer, health: Health | None = None, limits: HealingLimits = LIMITS
) -> HealingSource:
    options = VideoOptions(video_address(server.address), timeout_s=limits.stall_s)
    return HealingSource(
        options.address.name, lambda: VideoCamera(options), limits=limits, health=health or Health()
    )


def reading(source: HealingSource, condition: Callable[[list[Frame]], object], what: str) -> list[Frame]:
    """Reads until something holds of the frames that came."""
    end = time.monotonic() + WAIT_S
    frames: list[Frame] = []
    while not condition(frames):
        assert time.monotonic() < end, f"waited in vain until {what}"
        frame = source.read(0.05)
        if frame is not None:
            frames.append(frame)
    return frames


def codes(health: Health) -> list[str]:
    return [problem.code for problem in health.problems()]


@pytest.mark.parametrize("fault", ["stall", "hang up", "repeat", "refuse", "garbage"])
def test_a_camera_that_gives_nothing_new_is_reported_opened_again_and_well_again(
    server: MjpegServer, fault: Mode
) -> None:
    health = Health()
    source = watching(server, health)
    source.open()
    well = reading(source, lambda frames: len(frames) >= 3 and not codes(health), "it gives pictures")
    server.mode = fault
    late = reading(source, lambda _: codes(health) == ["camera"], "the fault is reported")
    assert len(well) + len(late) <= server.place, "those that were under way, each once, and no more"
    assert "is being opened again" in health.problems()[0].text
    during = reading(source, lambda _: source.figures.restarts >= 2, "it was tried again")
    assert during == []
    server.mode = "play"
    good = reading(source, lambda _: not codes(health), "it is well again")
    numbers = [frame.number for frame in good]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    if fault == "repeat":
        assert source.figures.repeated > 0
    if fault in ("stall", "repeat"):
        assert source.figures.timeouts > 0
    source.close()


def test_a_camera_that_is_gone_and_comes_back_is_found(server: MjpegServer) -> None:
    health = Health()
    source = watching(server, health)
    source.open()
    reading(source, lambda frames: frames, "it gives pictures")
    server.stop()
    reading(source, lambda _: "refused" in "".join(p.text for p in health.problems()), "it is missed")
    server.start()
    reading(source, lambda frames: frames and not codes(health), "it is found")
    source.close()


def test_one_that_is_not_there_at_the_start_is_waited_for() -> None:
    server, health = MjpegServer(), Health()
    server.start()
    server.stop()
    source = watching(server, health)
    source.open()
    assert codes(health) == ["camera"]
    assert source.read(0) is None
    server.start()
    reading(source, lambda frames: frames and not codes(health), "it is found")
    source.close()
    server.stop()


@pytest.mark.parametrize("colour", ["black", "white"])
def test_one_that_shows_nothing_is_reported_and_looked_at_for_ever(server: MjpegServer, colour: Mode) -> None:
    health = Health()
    source = watching(server, health, HealingLimits(stall_s=1.5, give_up_s=1.5))
    source.open()
    reading(source, lambda frames: frames, "it gives pictures")
    server.mode = colour
    reading(source, lambda _: codes(health) == ["camera_blank"], "the fault is reported")
    assert colour in health.problems()[0].text
    assert "lamp" in health.problems()[0].text
    # Twice as long as for what makes it give up, it goes on, passes nothing on, and tries another opening.
    begun = source.figures.blank
    during = reading(
        source,
        lambda _: source.figures.restarts >= 2 and source.figures.blank > begun + 40,
        "it was tried again",
    )
    assert during == []
    server.mode = "play"
    reading(source, lambda frames: frames and not codes(health), "it is well again")
    source.close()


@pytest.mark.parametrize("fault", ["stall", "hang up", "repeat"])
def test_one_that_stays_ill_ends_the_source_for_good(server: MjpegServer, fault: Mode) -> None:
    source = watching(server, limits=HealingLimits(stall_s=1.0, give_up_s=3.0))
    source.open()
    reading(source, lambda frames: frames, "it gives pictures")
    server.mode = fault
    with pytest.raises(SourceError, match="given up after"):
        reading(source, lambda _: False, "it gives up")
    for _ in range(2):
        with pytest.raises(SourceError, match="given up after"):
            source.read(0)
    source.close()


def test_every_step_is_a_line_of_the_log(server: MjpegServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health = Health()
    source = watching(server, health)
    source.open()
    reading(source, lambda frames: frames, "it gives pictures")
    server.mode = "stall"
    reading(source, lambda _: source.figures.restarts, "it was tried again")
    server.mode = "play"
    reading(source, lambda frames: frames and not codes(health), "it is well again")
    source.close()
    said = "\n".join(caplog.messages)
    for part in (
        f"picture within {LIMITS.stall_s:g} s",
        "it is opened again in",
        "gives pictures again, after",
    ):
        assert part in said


def test_the_newest_picture_wins(server: MjpegServer) -> None:
    source = watching(server)
    source.open()
    reading(source, lambda frames: frames, "it gives pictures")
    lost = source.figures.lost
    until(lambda: source.figures.lost >= lost + 20, "newer ones have come while nobody reads")
    before = datetime.now(UTC)
    frames = reading(source, lambda frames: len(frames) >= 2, "it gives pictures")
    assert frames[1].captured_at > before
    assert frames[1].number == frames[0].number + 1
    source.close()


class Hanging:
    """A driver that hangs: no server can make OpenCV do that, as its reads have a limit."""

    def __init__(self, where: str, release: threading.Event) -> None:
        self.where, self.release, self.closed = where, release, False

    def open(self) -> None:
        if self.where == "open":
            self.release.wait()

    def shoot(self) -> Shot:
        if self.where == "shoot":
            self.release.wait()
        return Shot(noisy(time.monotonic_ns()), datetime.now(UTC))

    def close(self) -> None:
        if self.where == "close":
            self.release.wait()
        self.closed = True


def test_one_that_hangs_for_ever_holds_nobody_up_and_is_not_opened_beside_itself() -> None:
    release = threading.Event()
    made: list[Hanging] = []

    def make() -> Hanging:
        made.append(Hanging("shoot" if not made else "", release))
        return made[-1]

    health = Health()
    source = HealingSource("the camera", make, limits=LIMITS, health=health)
    source.open()
    reading(source, lambda _: codes(health) == ["camera"], "it is missed")
    begun = time.monotonic()
    reading(source, lambda _: time.monotonic() > begun + 1.5, "it had time to be tried again")
    assert len(made) == 1, "the device is still in the hands of the first"
    release.set()
    reading(source, lambda frames: frames and not codes(health), "it is well again")
    assert made[0].closed
    source.close()
    assert made[1].closed


def test_one_that_never_comes_back_ends_the_source() -> None:
    release = threading.Event()
    limits = HealingLimits(stall_s=0.3, give_up_s=4.0)  # apart: by the second limit it is known to hang
    source = HealingSource("the camera", lambda: Hanging("shoot", release), limits=limits, health=Health())
    source.open()
    with pytest.raises(SourceError, match="hangs and cannot be closed"):
        reading(source, lambda _: False, "it gives up")
    release.set()
    source.close()


def test_what_waiting_cannot_help_is_told_at_once() -> None:
    class Missing(Hanging):
        def open(self) -> None:
            raise SourceUnusable("picamera2 is not installed")

    source = HealingSource(
        "the camera", lambda: Missing("", threading.Event()), limits=LIMITS, health=Health()
    )
    with pytest.raises(SourceUnusable, match="not installed"):
        source.open()
    with pytest.raises(SourceError, match="not open"):
        source.read(0)


def test_a_bug_is_no_fault_of_the_camera() -> None:
    class Wrong(Hanging):
        def shoot(self) -> Shot:
            raise ZeroDivisionError

    source = HealingSource("the camera", lambda: Wrong("", threading.Event()), limits=LIMITS, health=Health())
    with pytest.raises(ZeroDivisionError):
        source.open()
        reading(source, lambda _: False, "it fails")
    source.close()


def test_pictures_of_another_size_end_the_source() -> None:
    width = 64
    with MjpegServer(lambda n: noisy(n, width=width)) as server:
        source = watching(server)
        source.open()
        reading(source, lambda frames: frames, "it gives pictures")
        server.mode = "hang up"
        reading(source, lambda _: source.figures.restarts, "it was tried again")
        width = 96
        server.mode = "play"
        with pytest.raises(SourceError, match="96 × 48"):
            reading(source, lambda _: False, "the size changes")
        source.close()


def test_what_is_blank() -> None:
    black = np.random.default_rng(0).integers(0, 12, (480, 640, 3), dtype=np.uint8)
    assert blank(black) == "black"
    assert blank(255 - black // 6) == "white"
    black[100:200, 100:200] = 60  # some light falls in
    assert blank(black) is None
    assert blank(noisy(1)) is None
    hot = np.zeros((480, 640, 3), np.uint8)
    hot[::97, ::89] = 255
    assert blank(hot) == "black"
