"""White cells are found where they are, once each, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fields import ANNOTATED, PORTRAITS, Lobe, drawn, field, frame, overlap, portrait
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Box, Scale, ScaleSource
from edge.sources.base import SourceEnded
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide
from edge.vision.locate import _joined, _Part, locate

SLIDE = SlideSettings(
    cells=30, width=800, height=600, white_per_mm2=300, interval_s=0, stall_share=0,
    mix=(("neutrophil", 3), ("lymphocyte", 3), ("monocyte", 2), ("eosinophil", 2), ("basophil", 1)),
)  # fmt: skip


@pytest.mark.parametrize("name", ANNOTATED)
def test_the_white_cell_of_a_field_is_found(name: str) -> None:
    box, red_width = ANNOTATED[name]
    found = locate(frame(field(name)))
    assert len(found.boxes) == 1
    assert overlap(found.boxes[0], box) > 0.5
    assert found.scale is not None
    assert found.scale.source is ScaleSource.RED_CELLS
    assert 7.2 / found.scale.um_per_pixel == pytest.approx(red_width, rel=0.2)


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_cell_of_a_portrait_is_found_in_its_middle(name: str) -> None:
    image = portrait(name)
    found = locate(frame(image))
    assert len(found.boxes) == 1
    x, y = found.boxes[0].centre
    assert abs(x - image.shape[1] / 2) < 30
    assert abs(y - image.shape[0] / 2) < 30
    assert found.scale is not None
    assert 8 < max(found.boxes[0][2:]) * found.scale.um_per_pixel < 20


def test_a_slide_shows_what_lies_on_it_and_no_more() -> None:
    whole = found = false = empty = 0
    slide = VirtualSlide(SLIDE)
    slide.open()
    while True:
        try:
            seen = slide.read(0)
        except SourceEnded:
            break
        assert seen is not None
        boxes = locate(seen).boxes
        visible = slide.visible(seen.number)
        empty += not visible
        whole += sum(cell.whole for cell in visible)
        found += sum(cell.whole and any(overlap(box, cell.box) > 0.3 for box in boxes) for cell in visible)
        false += sum(all(overlap(box, cell.box) <= 0.1 for cell in visible) for box in boxes)
    slide.close()
    assert whole >= 20
    assert found == whole
    assert empty >= 3
    assert false == 0


@pytest.mark.parametrize("name", ANNOTATED)
def test_the_part_of_a_field_beside_its_white_cell_is_empty(name: str) -> None:
    image, (box, _) = field(name), ANNOTATED[name]
    width = image.shape[1]
    right = box.left + box.width + 20
    beside = image[:, : box.left - 20] if box.left - 20 > width - right else image[:, right:]
    assert beside.shape[1] >= 150
    assert locate(frame(beside.copy()), um_per_pixel=0.07).boxes == ()
    assert locate(frame(beside.copy())).boxes == ()


@pytest.mark.parametrize("um_per_pixel", [0.06, 0.1, 0.2])
def test_red_cells_alone_are_an_empty_field(um_per_pixel: float) -> None:
    image = drawn(um_per_pixel=um_per_pixel)
    found = locate(frame(image))
    assert found.boxes == ()
    assert found.scale is not None
    assert found.scale.um_per_pixel == pytest.approx(um_per_pixel, rel=0.1)
    assert locate(frame(image), um_per_pixel=um_per_pixel).boxes == ()


def box_of(lobes: list[Lobe], um_per_pixel: float = 0.1) -> Box:
    """Around the lobes, with a rim of 1.5 µm."""
    left, top = (min(lobe[k] - lobe[2] for lobe in lobes) - 1.5 for k in (0, 1))
    right, bottom = (max(lobe[k] + lobe[2] for lobe in lobes) + 1.5 for k in (0, 1))
    return Box(*(round(v / um_per_pixel) for v in (left, top, right - left, bottom - top)))


ROUND: list[Lobe] = [(32, 24, 4.5)]
TOUCHING: list[list[Lobe]] = [[(28, 24, 4.2)], [(36, 24, 4.2)]]
LOBED: dict[str, list[Lobe]] = {
    "two, with a gap": [(29.5, 24, 2.4), (35.5, 24, 2.4)],
    "three in a row": [(28, 24, 2), (32, 22.5, 2), (36, 24, 2)],
    "four in a ring": [(32, 20.5, 2), (35.5, 24, 2), (32, 27.5, 2), (28.5, 24, 2)],
    "with a small one": [(31, 24, 3.2), (36, 26, 1.4)],
}


@pytest.mark.parametrize("calibrated", [0.1, None])
@pytest.mark.parametrize("lobes", [ROUND, *LOBED.values()], ids=["one, round", *LOBED])
def test_the_lobes_of_a_nucleus_are_one_cell(lobes: list[Lobe], calibrated: float | None) -> None:
    found = locate(frame(drawn([lobes])), um_per_pixel=calibrated)
    assert len(found.boxes) == 1
    assert overlap(found.boxes[0], box_of(lobes)) > 0.75


@pytest.mark.parametrize("turned", [False, True])
def test_touching_nuclei_are_parted(turned: bool) -> None:
    image = drawn(TOUCHING)
    truth = [box_of(nucleus) for nucleus in TOUCHING]
    if turned:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
        truth = [Box(box.top, box.left, box.height, box.width) for box in truth]
    found = locate(frame(image)).boxes
    assert len(found) == 2
    assert all(max(overlap(box, there) for there in found) > 0.6 for box in truth)


def test_cells_come_from_top_to_bottom() -> None:
    lower, upper = [(14.0, 36.0, 4.5)], [(50.0, 12.0, 4.5)]
    boxes = locate(frame(drawn([lower, upper]))).boxes
    assert [box.top for box in boxes] == sorted(box.top for box in boxes)
    assert overlap(boxes[0], box_of(upper)) > 0.75
    assert overlap(boxes[1], box_of(lower)) > 0.75


def test_a_field_of_many_small_cells_is_looked_at_again() -> None:
    # At the first look a red cell would be four pixels wide.
    nuclei = [[(60.0, 70.0, 4.5)], [(190.0, 40.0, 4.5)], [(240.0, 180.0, 4.5)]]
    found = locate(frame(drawn(nuclei, um_per_pixel=0.3, width_um=300, height_um=225)))
    assert found.scale is not None
    assert found.scale.um_per_pixel == pytest.approx(0.3, rel=0.1)
    assert len(found.boxes) == 3
    for nucleus in nuclei:
        assert max(overlap(box_of(nucleus, 0.3), box) for box in found.boxes) > 0.6


def test_without_red_cells_the_nucleus_itself_gives_the_size() -> None:
    lone = drawn([[(18.0, 18.0, 4.5)]], width_um=36, height_um=36, red_cells=False, noise=0)
    found = locate(frame(lone))
    assert found.scale is None
    assert len(found.boxes) == 1
    assert overlap(found.boxes[0], Box(120, 120, 120, 120)) > 0.7


@pytest.mark.parametrize("um_per_pixel", [0.05, 0.0657, 0.09])
def test_a_configured_scale_is_believed(um_per_pixel: float) -> None:
    image = field("BloodImage_00275.jpg")
    read, told = locate(frame(image)), locate(frame(image), um_per_pixel=um_per_pixel)
    assert told.scale == Scale(um_per_pixel, ScaleSource.CONFIGURATION)
    assert read.scale is not None
    assert read.scale.source is ScaleSource.RED_CELLS
    assert len(told.boxes) == 1
    assert overlap(told.boxes[0], read.boxes[0]) > 0.6


def test_a_picture_to_be_taken_whole_is_not_searched() -> None:
    image = field("BloodImage_00275.jpg")
    plain, told = locate(frame(image), view="cell"), locate(frame(image), view="cell", um_per_pixel=0.07)
    assert plain.boxes == told.boxes == ()
    assert plain.scale is None
    assert told.scale == Scale(0.07, ScaleSource.CONFIGURATION)
    assert plain.background == locate(frame(image)).background


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3), (20, 4000), (3000, 12), (480, 640)])
@pytest.mark.parametrize("value", [0, 3, 128, 255])
@pytest.mark.parametrize("um_per_pixel", [None, 0.1])
def test_a_blank_frame_is_empty(shape: tuple[int, int], value: int, um_per_pixel: float | None) -> None:
    blank = np.full((*shape, 3), value, np.uint8)
    assert locate(frame(blank), um_per_pixel=um_per_pixel).boxes == ()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 400), st.integers(0, 9), st.sampled_from([None, 0.02, 0.1, 1.0]),
    st.sampled_from(["noise", "stripes", "blobs"]),
)  # fmt: skip
def test_boxes_lie_in_the_frame_whatever_it_shows(
    height: int, width: int, seed: int, um_per_pixel: float | None, what: str
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if what == "stripes":
        image[:] = image[:, :1]
    if what == "blobs":
        image = np.kron(image[: height // 9 + 1, : width // 9 + 1], np.ones((9, 9, 1), np.uint8))[
            :height, :width
        ]
    for box in locate(frame(image), um_per_pixel=um_per_pixel).boxes:
        assert box.left >= 0
        assert box.top >= 0
        assert box.width > 0
        assert box.height > 0
        assert box.left + box.width <= width
        assert box.top + box.height <= height


def test_the_frame_is_not_written_to() -> None:
    image = field("BloodImage_00275.jpg")
    before = image.copy()
    found = locate(frame(image))
    assert not found.frame.image.flags.writeable
    assert (found.frame.image == before).all()


def test_a_view_into_a_larger_picture_is_read_like_a_copy() -> None:
    image = field("BloodImage_00275.jpg")
    inside = image[20:460, 30:600]
    assert locate(frame(inside)).boxes == locate(frame(inside.copy())).boxes


def test_fields_in_a_row_do_not_know_of_each_other() -> None:
    slide = VirtualSlide(replace(SLIDE, cells=4))
    slide.open()
    first = slide.read(0)
    assert first is not None
    once = locate(first)
    locate(frame(field("BloodImage_00275.jpg")))
    again = locate(first)
    assert (once.boxes, once.scale, once.background) == (again.boxes, again.scale, again.background)
    slide.close()


def test_thousands_of_specks_are_joined_in_a_moment() -> None:
    """A camera without a picture shows noise, in which each speck could be a lobe."""
    square = np.array([[0, 0], [3, 0], [3, 3], [0, 3]], np.int32)
    pairs = [
        square + np.array([x, y], np.int32)
        for y in range(0, 800, 40)
        for left in range(0, 2000, 50)
        for x in (left, left + 6)
    ]
    joined = _joined([_Part(outline, 16.0, 16.0) for outline in pairs], px_per_um=3.0)
    assert len(joined) == len(pairs) / 2
    assert all((part.area, part.largest) == (32.0, 16.0) for part in joined)
