"""What every source keeps to. A new source joins with one line in `CASES`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import pytest
from helpers import WAIT_S, until
from mjpeg import MjpegServer, noisy
from plain import picture

from edge.assembly import make_source
from edge.config import Picamera2Settings, VideoSettings
from edge.errors import SourceError
from edge.records import Frame
from edge.sources.base import Source, SourceEnded
from edge.sources.folder import FolderSource
from edge.sources.slide_scan import SlideSettings
from edge.sources.video import FilmSource
from edge.sources.virtual_slide import VirtualSlide
from edge.store import Store


class Case(NamedTuple):
    """One source in three states, none of them open."""

    some: Source  # gives at least three frames
    ends: bool  # and then no more, ever; False: it is a camera, which gives frames for ever
    idle: Source | None  # gives no second frame for hours; None where it cannot be made to wait
    broken: Source  # cannot be opened


def folder(path: Path, store: Store, _stack: ExitStack) -> Case:
    for number in range(4):
        picture(path / "finite" / f"{number}.png", number)
    picture(path / "idle" / "only.png")
    return Case(
        FolderSource(path / "finite", store, once=True, poll_s=0, settle_s=0),
        True,
        FolderSource(path / "idle", store, poll_s=0, settle_s=0),
        FolderSource(path / "missing", store),
    )


def slide(scan: Literal["step", "meander"]) -> Callable[[Path, Store, ExitStack], Case]:
    def make(_path: Path, _store: Store, _stack: ExitStack) -> Case:
        settings = SlideSettings(
            scan=scan, cells=4, white_per_mm2=1000, width=320, height=240, interval_s=0, stall_share=0
        )
        return Case(
            VirtualSlide(settings),
            True,
            VirtualSlide(replace(settings, interval_s=3600)),
            VirtualSlide(replace(settings, cells=0)),
        )

    return make


def film(path: Path, _store: Store, _stack: ExitStack) -> Case:
    path.mkdir()
    writer = cv2.VideoWriter(str(path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for number in range(5):
        writer.write(noisy(number))
    writer.release()
    return Case(FilmSource(path / "film.avi"), True, None, FilmSource(path / "missing.avi"))


def stream(_path: Path, store: Store, stack: ExitStack) -> Case:
    def camera(address: str, give_up_s: float) -> Source:
        return make_source(VideoSettings(kind="video", input=address, give_up_s=give_up_s), store)

    lively, idle = MjpegServer(), MjpegServer(interval_s=3600)
    stack.enter_context(lively)
    stack.enter_context(idle)
    gone = MjpegServer()
    gone.start()
    gone.stop()
    return Case(camera(lively.address, 60), False, camera(idle.address, 60), camera(gone.address, 0))


def picamera2(_path: Path, store: Store, _stack: ExitStack) -> Case:
    library = pytest.importorskip("picamera2", reason="libcamera and picamera2 are not installed here")
    if not library.Picamera2.global_camera_info():
        pytest.skip("libcamera finds no camera, not even its virtual one")
    settings = Picamera2Settings(kind="picamera2", width=640, height=480)
    broken = settings.model_copy(update={"camera": 15, "give_up_s": 0.0})
    return Case(make_source(settings, store), False, None, make_source(broken, store))


CASES: dict[str, Callable[[Path, Store, ExitStack], Case]] = {
    "folder": folder,
    "virtual slide, step by step": slide("step"),
    "virtual slide, panning": slide("meander"),
    "film": film,
    "stream": stream,
    "picamera2": picamera2,
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest, tmp_path: Path, store: Store) -> Iterator[Case]:
    with ExitStack() as stack:
        made = request.param(tmp_path / "pictures", store, stack)
        yield made
        for source in (made.some, made.idle, made.broken):
            if source is not None:
                source.close()


def drain(case: Case) -> list[Frame]:
    """All frames, or the first few of a camera's."""
    frames: list[Frame] = []
    end = time.monotonic() + WAIT_S
    try:
        while case.ends or len(frames) < 5:
            frame = case.some.read(0 if case.ends else 0.05)
            if frame is not None:
                frames.append(frame)
            assert time.monotonic() < end, "waited in vain for frames"
    except SourceEnded:
        assert case.ends
    return frames


def test_frames_are_numbered_and_closed_to_writing(case: Case) -> None:
    case.some.open()
    frames = drain(case)
    case.some.close()
    assert len(frames) >= 3
    assert [frame.number for frame in frames] == list(range(len(frames)))
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        with pytest.raises(ValueError, match="read-only"):
            frame.image[0, 0] = 0
        assert frame.captured_at.utcoffset() == timedelta(0)
    assert len({frame.image.tobytes() for frame in frames}) >= 3
    assert [frame.captured_at for frame in frames] == sorted(frame.captured_at for frame in frames)


def test_the_end_stays_the_end(case: Case) -> None:
    if not case.ends:
        pytest.skip("a camera has no end")
    case.some.open()
    drain(case)
    for _ in range(3):
        with pytest.raises(SourceEnded):
            case.some.read(0)


def test_nothing_yet_is_none(case: Case) -> None:
    if case.idle is None:
        pytest.skip("it always has a frame")
    case.idle.open()
    assert case.idle.read(WAIT_S) is not None
    assert case.idle.read(0.01) is None
    assert case.idle.read(0) is None


def test_opened_again_it_begins_again(case: Case) -> None:
    case.some.open()
    first = drain(case)
    case.some.close()
    case.some.open()
    second = drain(case)
    assert [frame.number for frame in first] == [frame.number for frame in second]
    if case.ends:
        assert [frame.image.tobytes() for frame in first] == [frame.image.tobytes() for frame in second]


def test_closing_is_always_allowed_and_gives_everything_back(case: Case) -> None:
    before = set(threading.enumerate())  # a test before may have left one that a server keeps waiting
    for source in (case.some, case.broken):
        source.close()
    case.some.open()
    assert case.some.read(WAIT_S) is not None
    case.some.close()
    case.some.close()

    def cameras() -> set[threading.Thread]:
        return {thread for thread in set(threading.enumerate()) - before if thread.name == "camera"}

    until(lambda: not cameras(), "the camera is given back, at once or after a picture that was under way")
    with pytest.raises(SourceError, match="not open"):
        case.some.read(0)


def test_making_one_acquires_nothing(case: Case) -> None:
    with pytest.raises(SourceError, match="not open"):
        case.some.read(0)
    with pytest.raises(SourceError):
        case.broken.open()
    with pytest.raises(SourceError, match="not open"):
        case.broken.read(0)


def test_it_says_what_its_frames_are(case: Case) -> None:
    assert case.some.live in (True, False)
    assert case.some.continuous in (True, False)
    assert case.some.continuous or not case.some.live
    assert case.idle is None or case.some.live == case.idle.live
