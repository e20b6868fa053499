"""Comparing what was read on a virtual slide with what lies there."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from edge.assembly import make_reader
from edge.config import Settings
from edge.inference.bundle import Bundle
from edge.records import Box
from edge.sources.base import SourceEnded
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide
from edge.witness import Unending, Witness, match


def test_boxes_are_paired_best_first_and_once() -> None:
    truth = [Box(0, 0, 100, 100), Box(300, 0, 100, 100), Box(600, 0, 100, 100)]
    found = [Box(20, 0, 100, 100), Box(2, 0, 100, 100), Box(660, 60, 100, 100), Box(310, 10, 90, 90)]
    assert match(truth, found) == {0: 1, 1: 3}
    assert match([], found) == {}
    assert match(truth, []) == {}


def test_the_numbers_add_up_and_most_cells_are_found() -> None:
    slide = VirtualSlide(SlideSettings(seed=3, cells=12, interval_s=0, stall_share=0))
    bundle = Bundle.load("mobilenet_v2-int8")
    plain = make_reader(Settings.model_validate({"source": {"kind": "virtual_slide"}}), bundle)
    witness = Witness(plain.classifier, plain.point, slide=slide, classes=bundle.classes)
    assert witness.sheet() is None
    slide.open()
    decided = 0
    with suppress(SourceEnded):
        while frame := slide.read(10):
            decided += len(witness.read(frame))
    tally = witness.tally
    assert tally.shown >= 12
    assert tally.found >= 0.9 * tally.shown
    assert tally.found + tally.false_finds == decided
    assert tally.flagged + tally.accepted_right + tally.accepted_wrong == tally.found
    assert tally.accepted_right <= tally.named_right <= tally.known <= tally.found
    sheet = witness.sheet()
    assert sheet is not None
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 4 * 640
    slide.close()


def test_an_unending_source_goes_on_without_frames() -> None:
    source = Unending(VirtualSlide(SlideSettings(cells=1, interval_s=0, stall_share=0)))
    source.open()
    frames = 0
    while source.read(0.01):
        frames += 1
    assert frames >= 1
    assert source.read(0.01) is None
    source.close()
