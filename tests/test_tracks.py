"""Cells known by their places: each decided once, from whole views where there are any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from edge.counting.slide import Link
from edge.counting.tracks import SAME, Area, Tracks, best, merged
from edge.inference.decide import OperatingPoint, decide
from edge.records import (
    Background,
    Box,
    Cell,
    Counted,
    Decision,
    Field,
    Frame,
    Place,
    Prediction,
    Quality,
    Reason,
)

WIDTH, HEIGHT = 600, 400
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
POINT = OperatingPoint(threshold=0.8, margin=0.1, sharpness=0, contrast=0, brightness=0)


class Camera:
    """Shows cells of a slide, by their boxes on it, from one place after another."""

    def __init__(self, *cells: Box) -> None:
        self.cells = cells
        self.tracks = Tracks(lambda prediction: decide(prediction, POINT))
        self.frames = self.predicted = 0
        self.counted: list[Counted] = []

    def show(self, x: float, y: float, *, region: int = 0, sharpness: float = 0.5) -> None:
        place = Place(region, x, y)
        view = Area.of(place, Box(0, 0, WIDTH, HEIGHT))
        self.counted += self.tracks.left(view)
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        frame = Frame.of(image, self.frames, BEGAN + timedelta(seconds=self.frames))
        self.frames += 1
        field = Field(frame, Background(200, 200, 200), None, ())
        found = []
        for box in self.cells:
            left, top = max(0, round(box.left - x)), max(0, round(box.top - y))
            right, bottom = (
                min(WIDTH, round(box.left + box.width - x)),
                min(HEIGHT, round(box.top + box.height - y)),
            )
            if right - left > 20 and bottom - top > 20:
                cut = left == 0 or top == 0 or right == WIDTH or bottom == HEIGHT
                found.append(made(field, Box(left, top, right - left, bottom - top), cut, sharpness))
        self.tracks.see(view, found, self.predict)

    def predict(self, cell: Cell) -> Prediction:
        self.predicted += 1
        sure = cell.quality.sharpness
        return Prediction(cell, {"neutrophil": sure, "monocyte": 1 - sure}, 0.5, 1.0)

    def finish(self) -> list[Counted]:
        self.counted += self.tracks.finish()
        return self.counted


def made(field: Field, box: Box, cut: bool, sharpness: float) -> Cell:
    crop = np.zeros((8, 8, 3), np.uint8)
    return Cell(field, 0, box, crop, None, cut, Quality(sharpness, 1.0, 200.0), crop)


def test_a_cell_is_counted_when_it_has_left_the_field_and_never_again() -> None:
    camera = Camera(Box(500, 100, 100, 100))
    for x in (0, 100, 200):
        camera.show(x, 0, sharpness=0.9)
    assert camera.counted == []
    camera.show(700, 0)
    assert len(camera.counted) == 1
    for x in (400, 0, 700):
        camera.show(x, 0)
    assert len(camera.finish()) == 1
    counted = camera.counted[0]
    assert counted.place == (0, 550, 150)
    assert counted.views == 3
    assert (counted.first_seen_at, counted.last_seen_at) == (BEGAN, BEGAN + timedelta(seconds=2))
    assert camera.predicted == 3, "a counted cell is not classified again"


def test_a_cell_that_was_cut_off_waits_until_it_is_seen_whole() -> None:
    camera = Camera(Box(550, 100, 100, 100))
    camera.show(0, 0)
    camera.show(2000, 0)
    assert camera.counted == []
    camera.show(300, 0)
    camera.show(2000, 0)
    assert len(camera.finish()) == 1
    assert not camera.counted[0].decision.cell.cut_off
    assert camera.counted[0].place == (0, 600, 150)


def test_a_whole_view_is_not_lost_to_a_later_part() -> None:
    camera = Camera(Box(500, 100, 90, 90))
    camera.show(0, 0, sharpness=0.5)
    camera.show(550, 0, sharpness=0.95)
    assert [Reason.CUT_OFF in counted.decision.reasons for counted in camera.finish()] == [False]


def test_a_cell_only_seen_in_part_is_counted_at_the_end_and_says_so() -> None:
    camera = Camera(Box(560, 100, 100, 100))
    camera.show(0, 0)
    camera.show(-20, 0)
    counted = camera.finish()
    assert len(counted) == 1
    assert Reason.CUT_OFF in counted[0].decision.reasons
    assert counted[0].decision.cell.box is not None
    assert counted[0].decision.cell.box.width == 40, "the largest part decides"


def test_parts_do_not_pile_up_for_ever() -> None:
    camera = Camera(*(Box(1000 * i + 560, 100, 100, 100) for i in range(100)))
    for i in range(100):
        camera.show(1000 * i, 0)
    assert 30 < len(camera.counted) < 40
    assert len(camera.finish()) == 100


def test_neighbours_are_two() -> None:
    camera = Camera(Box(200, 100, 100, 100), Box(280, 150, 100, 100))
    camera.show(0, 0)
    camera.show(3, 2)
    assert len(camera.finish()) == 2
    assert {counted.views for counted in camera.counted} == {2}


def test_a_cell_found_in_two_pieces_once_is_one() -> None:
    camera = Camera(Box(200, 100, 100, 100))
    camera.show(0, 0, sharpness=0.9)
    camera.cells = (Box(200, 100, 60, 100), Box(250, 110, 50, 80))
    camera.show(0, 0, sharpness=0.4)
    assert len(camera.finish()) == 1


def test_at_rest_whole_cells_are_decided_and_parts_wait() -> None:
    camera = Camera(Box(200, 100, 100, 100), Box(550, 100, 100, 100))
    camera.show(0, 0)
    rested = camera.tracks.rested()
    assert [counted.place for counted in rested] == [(0, 250, 150)]
    assert camera.tracks.rested() == ()


def test_a_cell_that_stays_in_view_is_not_remembered_without_end() -> None:
    camera = Camera(Box(300, 100, 100, 100))
    for i in range(40):
        camera.show(100 * (i % 2), 0)
    assert len(camera.counted) == 1
    assert camera.predicted == 12


def test_regions_that_turn_out_to_be_one_count_a_cell_once() -> None:
    camera = Camera(Box(200, 100, 100, 100))
    camera.show(0, 0, region=0)
    camera.show(1000, 0, region=0)
    assert len(camera.counted) == 1
    camera.cells = (Box(1200, 100, 100, 100),)
    camera.show(1000, 0, region=1)
    camera.tracks.link(Link(1, 0, -1000, 0))
    assert len(camera.finish()) == 1


def test_what_was_counted_before_a_restart_is_not_counted_again() -> None:
    camera = Camera(Box(200, 100, 100, 100), Box(1400, 100, 100, 100))
    known = [(Place(0, 251, 149), Box(7, 7, 96, 104)), (Place(3, 450, 150), Box(0, 0, 90, 90))]
    camera.tracks.begin(known, [Link(3, 0, 1000, 0)])
    for x in (0, 1000, 3000):
        camera.show(x, 0)
    assert camera.finish() == []


def test_finishing_forgets_the_slide() -> None:
    camera = Camera(Box(200, 100, 100, 100))
    for _ in range(2):
        camera.show(0, 0)
        camera.finish()
    assert len(camera.counted) == 2


def test_a_waiting_cell_does_not_hold_its_frame() -> None:
    camera = Camera(Box(200, 100, 100, 100))
    camera.show(0, 0)
    frame = camera.finish()[0].decision.cell.field.frame
    assert frame.image.size == 0
    assert frame.captured_at == BEGAN


def test_views_are_merged_by_their_means_and_shown_by_the_sharpest() -> None:
    camera = Camera(Box(200, 100, 100, 100))
    for sharpness in (0.9, 0.3, 0.99):  # the blurred one has no say
        camera.show(0, 0, sharpness=sharpness)
    decision: Decision = camera.finish()[0].decision
    assert decision.prediction.probabilities == pytest.approx({"neutrophil": 0.945, "monocyte": 0.055})
    assert decision.cell.quality.sharpness == 0.99
    assert decision.cell.field.frame.number == 2


def test_merging_one_view_changes_nothing() -> None:
    camera = Camera(Box(200, 100, 100, 100))
    camera.show(0, 0, sharpness=0.9)
    view = camera.tracks._open[0].views
    assert merged(view) == view[0] or merged(view).probabilities == view[0].probabilities
    assert best(view) is view[0]


def test_areas_share_what_the_smaller_has_in_common() -> None:
    whole, part = Area(0, 0, 0, 100, 100), Area(0, 90, 0, 110, 100)
    assert whole.shared(part) == part.shared(whole) == pytest.approx(0.5)
    assert whole.shared(part) >= SAME
    assert whole.shared(Area(1, 0, 0, 100, 100)) == 0
    assert whole.shared(Area(0, 100, 0, 200, 100)) == 0


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_part_that_is_found_too_large_is_still_its_whole(whole_first: bool) -> None:
    """Of a cell whose edge is just in view a box may reach beyond it."""
    camera = Camera(Box(100, 320, 70, 70))

    def whole() -> None:
        camera.cells = (Box(100, 320, 70, 70),)
        camera.show(0, 0)

    def part() -> None:
        camera.cells = (Box(102, 375, 68, 32),)
        camera.show(0, 375)

    for look in (whole, part) if whole_first else (part, whole):
        look()
    camera.show(5000, 0)
    assert len(camera.finish()) == 1
    assert not camera.counted[0].decision.cell.cut_off
