"""Counting the cells of a moving slide with the real model: each once, whatever the camera does and when it stops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from edge.config import Frames
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pipeline import Pictures, Reader, Scan
from edge.records import Counted, Frame, Keyframe, SkipReason
from edge.sources.base import SourceEnded
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SLIDE = SlideSettings(
    seed=4, cells=20, mix=(("neutrophil", 2.0), ("lymphocyte", 1.0)), white_per_mm2=300, width=640, height=480,
    um_per_pixel=0.2, interval_s=0, stall_share=0, blur=0.4, scan="meander", overlap=0.35, dwell_frames=1,
    move_frames=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> Reader:
    bundle = Bundle.load(DEFAULT_MODEL)
    return Reader(Classifier(bundle), OperatingPoint.of(bundle))


def made(reader: Reader) -> Scan:
    return Scan(reader, Frames().limits, rest=timedelta(seconds=Frames().rest_s))


@contextmanager
def opened(settings: SlideSettings) -> Iterator[VirtualSlide]:
    slide = VirtualSlide(settings)
    slide.open()
    yield slide
    slide.close()


def frames(slide: VirtualSlide, most: int = 10_000) -> Iterator[Frame]:
    """The slide's frames, ten a second."""
    try:
        for _ in range(most):
            frame = slide.read(0)
            assert frame is not None
            yield replace(frame, captured_at=BEGAN + timedelta(seconds=frame.number / 10))
    except SourceEnded:
        return


def true_cells(slide: VirtualSlide, counted: Iterable[Counted]) -> list[int]:
    """Which of the slide's cells were counted; -1 for what is none of them."""
    numbers = []
    for one in counted:
        cell = one.decision.cell
        assert cell.box is not None
        x, y = cell.box.centre
        number = -1
        for seen in slide.visible(cell.field.frame.number):
            left, top, width, height = seen.box
            if left <= x <= left + width and top <= y <= top + height:
                number = seen.cell.number
        numbers.append(number)
    return numbers


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"overlap": 0.5, "jumps": 2, "vibration": 3.0, "vignetting": 0.4},
        {"scan": "back_and_forth", "cells": 8, "dwell_frames": 3, "move_frames": 4, "repeat_share": 0.1},
    ],
    ids=["fields", "jumps and vibration", "back and forth"],
)
def test_each_cell_of_a_slide_is_counted_once(reader: Reader, change: dict[str, object]) -> None:
    scan = made(reader)
    with opened(replace(SLIDE, **change)) as slide:
        counted = [one for frame in frames(slide) for one in scan.read(frame).counted]
        early = len(counted)
        counted += scan.finish()
        assert sorted(true_cells(slide, counted)) == list(range(len(slide.truth())))
        assert early >= len(counted) / 2, "what has left the field is decided at once"
        for one in counted:
            assert one.place is not None
            assert one.views >= 1
            assert one.first_seen_at <= one.last_seen_at


def test_a_field_that_stands_still_adds_no_cell_after_the_first_seconds(reader: Reader) -> None:
    scan = made(reader)
    with opened(replace(SLIDE, cells=40, white_per_mm2=900, dwell_frames=1000, vibration=0.5)) as slide:
        shown = list(frames(slide, 30))
        whole = [seen.cell.number for seen in slide.visible(0) if seen.whole]
        assert len(whole) >= 2
        counted, skipped = [], []
        for number in range(600):
            again = replace(shown[number % 30], captured_at=BEGAN + timedelta(seconds=number / 10))
            reading = scan.read(again)
            counted += [(number, one) for one in reading.counted]
            skipped.append(reading.skipped)
        assert max(number for number, _ in counted) < 50
        assert sorted(true_cells(slide, [one for _, one in counted])) == sorted(whole)
        assert set(skipped[50:]) == {SkipReason.KNOWN}, "nothing is read that was read before"


def test_killed_at_any_moment_nothing_is_lost_and_nothing_counted_again(reader: Reader) -> None:
    with opened(replace(SLIDE, cells=14)) as slide:
        shown = list(frames(slide))
        for killed_at in range(3, len(shown), max(1, len(shown) // 4)):
            kept: list[Counted] = []
            keyframes: list[Keyframe] = []
            scan = made(reader)
            for number, frame in enumerate(shown):
                if number == killed_at:  # what was kept is all that is left; and the stage goes back first
                    scan = made(reader)
                    places = [(one.place, one.decision.cell.box) for one in kept]
                    scan.begin(keyframes, places)  # type: ignore[arg-type]
                    for before in shown[killed_at - 1 :: -1]:
                        reading = scan.read(before)
                        kept += reading.counted
                        keyframes += reading.keyframes
                reading = scan.read(frame)
                kept += reading.counted
                keyframes += reading.keyframes
            kept += scan.finish()
            assert sorted(true_cells(slide, kept)) == list(range(len(slide.truth()))), killed_at


def test_blur_and_an_empty_field_are_not_read(reader: Reader) -> None:
    scan = made(reader)
    with opened(replace(SLIDE, dwell_frames=4, move_frames=5, blur=0)) as slide:
        shown = list(frames(slide, 14))
        reasons = [scan.read(frame).skipped for frame in shown]
    assert reasons[0] is None
    assert SkipReason.MOVING in reasons[4:9]
    blank = np.random.default_rng(1).normal(220, 2, (480, 640, 3)).astype(np.uint8)
    at = shown[-1].captured_at + timedelta(seconds=1)
    assert scan.read(Frame.of(blank, 14, at)).skipped is SkipReason.EMPTY


def test_unrelated_pictures_are_each_read_and_decided_at_once(reader: Reader) -> None:
    pictures = Pictures(reader)
    with opened(replace(SLIDE, scan="step", cells=6)) as slide:
        read = [pictures.read(frame) for frame in frames(slide)]
        twice = [pictures.read(frame) for frame in frames(slide)]
        counted = [one for reading in read for one in reading.counted]
        assert sorted(true_cells(slide, counted)) == list(range(6))
    assert twice == []
    assert all(one.place is None and one.views == 1 for one in counted)
    assert all(reading.skipped is None and reading.keyframes == () for reading in read)
    assert pictures.finish() == ()


@pytest.mark.parametrize("what", ["empty", "blurred", "dark"])
def test_cells_that_were_seen_are_decided_also_where_no_good_frame_follows(reader: Reader, what: str) -> None:
    """The slide is taken away, or the lamp turned down, at the last field: its cells do not wait for the next one."""
    scan = made(reader)
    with opened(replace(SLIDE, cells=40, white_per_mm2=900, dwell_frames=1000)) as slide:
        shown = list(frames(slide, 2))
        whole = [seen.cell.number for seen in slide.visible(0) if seen.whole]
        counted = [one for frame in shown for one in scan.read(frame).counted]
        assert whole and not counted
        pictures = {
            "empty": np.random.default_rng(1).normal(220, 2, (480, 640, 3)).astype(np.uint8),
            "blurred": cv2.GaussianBlur(shown[1].image, (0, 0), 9),
            "dark": shown[1].image // 20,
        }
        for number in range(2, 40):
            at = BEGAN + timedelta(seconds=number / 10)
            reading = scan.read(Frame.of(pictures[what], number, at))
            assert reading.skipped is not None
            counted += reading.counted
            if counted:
                assert at - shown[-1].captured_at >= timedelta(seconds=Frames().rest_s)
        assert sorted(true_cells(slide, counted)) == sorted(whole)
        late = Frame.of(pictures[what], 40, BEGAN + timedelta(days=400))
        assert scan.read(late).counted == ()


def test_a_clock_that_is_set_is_no_rest_without_good_frames(reader: Reader) -> None:
    scan = made(reader)
    with opened(replace(SLIDE, cells=40, white_per_mm2=900, dwell_frames=1000)) as slide:
        (shown,) = frames(slide, 1)
        scan.read(shown)
        blurred = cv2.GaussianBlur(shown.image, (0, 0), 9)
        assert scan.read(Frame.of(blurred, 1, BEGAN + timedelta(days=400))).counted == ()
        assert scan.read(Frame.of(blurred, 2, BEGAN)).counted == ()
