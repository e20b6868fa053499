"""What every source keeps to. A new source joins with one line in `CASES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pytest
from conftest import picture

from edge.errors import SourceError
from edge.records import Frame
from edge.sources.base import Source, SourceEnded
from edge.sources.folder import FolderSource
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide
from edge.store import Store


class Case(NamedTuple):
    """One source in three states, none of them open."""

    finite: Source  # gives at least three frames and ends
    idle: Source  # gives no second frame for hours
    broken: Source  # cannot be opened


def folder(path: Path, store: Store) -> Case:
    for number in range(4):
        picture(path / "finite" / f"{number}.png", number)
    picture(path / "idle" / "only.png")
    return Case(
        FolderSource(path / "finite", store, once=True, poll_s=0, settle_s=0),
        FolderSource(path / "idle", store, poll_s=0, settle_s=0),
        FolderSource(path / "missing", store),
    )


def slide(scan: Literal["step", "pan"]) -> Callable[[Path, Store], Case]:
    def make(_path: Path, _store: Store) -> Case:
        settings = SlideSettings(
            scan=scan, cells=4, white_per_mm2=1000, width=320, height=240, interval_s=0, stall_share=0
        )
        return Case(
            VirtualSlide(settings),
            VirtualSlide(replace(settings, interval_s=3600)),
            VirtualSlide(replace(settings, cells=0)),
        )

    return make


CASES: dict[str, Callable[[Path, Store], Case]] = {
    "folder": folder,
    "virtual slide, step by step": slide("step"),
    "virtual slide, panning": slide("pan"),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest, tmp_path: Path, store: Store) -> Case:
    return request.param(tmp_path / "pictures", store)


def drain(source: Source) -> list[Frame]:
    frames = []
    try:
        while True:
            frame = source.read(0)
            if frame is not None:
                frames.append(frame)
    except SourceEnded:
        return frames


def test_frames_are_numbered_and_closed_to_writing(case: Case) -> None:
    case.finite.open()
    frames = drain(case.finite)
    case.finite.close()
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
    case.finite.open()
    drain(case.finite)
    for _ in range(3):
        with pytest.raises(SourceEnded):
            case.finite.read(0)
    case.finite.close()


def test_nothing_yet_is_none(case: Case) -> None:
    case.idle.open()
    assert case.idle.read(0) is not None
    assert case.idle.read(0.01) is None
    assert case.idle.read(0) is None
    case.idle.close()


def test_opened_again_it_begins_again(case: Case) -> None:
    case.finite.open()
    first = drain(case.finite)
    case.finite.close()
    case.finite.open()
    second = drain(case.finite)
    case.finite.close()
    assert [(a.number, a.image.tobytes()) for a in first] == [(b.number, b.image.tobytes()) for b in second]


def test_closing_is_always_allowed(case: Case) -> None:
    for source in case:
        source.close()
    case.finite.open()
    assert case.finite.read(1) is not None
    case.finite.close()
    case.finite.close()
    with pytest.raises(SourceError, match="not open"):
        case.finite.read(0)


def test_making_one_acquires_nothing(case: Case) -> None:
    with pytest.raises(SourceError, match="not open"):
        case.finite.read(0)
    with pytest.raises(SourceError):
        case.broken.open()
    with pytest.raises(SourceError, match="not open"):
        case.broken.read(0)


def test_it_says_whether_frames_may_be_dropped(case: Case) -> None:
    assert case.finite.live in (True, False)
    assert case.finite.live == case.idle.live
