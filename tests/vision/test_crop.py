"""The one crop: same cell, same picture, whatever it was taken with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fields import ANNOTATED, PLASMA, PORTRAITS, drawn, field, frame, portrait
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Background, Box, Cell, Field, Image, Scale, ScaleSource, View
from edge.vision.crop import CROP_UM, PORTRAIT_PX, cells_of, central, square
from edge.vision.locate import locate

WHITE = 240
ROUND = [(32.0, 24.0, 4.5)]


def cells(
    image: Image, *, view: View = "auto", um_per_pixel: float | None = None, size: int = 128
) -> tuple[Cell, ...]:
    return cells_of(locate(frame(image), view=view, um_per_pixel=um_per_pixel), view=view, size=size)


def difference(a: Image, b: Image) -> float:
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("size", [1, 32, 96, 128, 224])
def test_a_crop_has_the_models_size_and_cannot_be_written_to(size: int) -> None:
    for image, view in ((field("BloodImage_00275.jpg"), "field"), (portrait(PORTRAITS[0]), "cell")):
        (cell,) = cells(image, view=view, size=size)  # type: ignore[arg-type]
        assert cell.crop.shape == (size, size, 3)
        assert cell.crop.dtype == np.uint8
        assert not cell.crop.flags.writeable


def test_a_crop_shows_twenty_micrometres() -> None:
    (cell,) = cells(drawn([ROUND]), um_per_pixel=0.1, size=200)
    assert cell.scale == Scale(0.1, ScaleSource.CONFIGURATION)
    dark = cell.crop[..., 1] < 130
    # The nucleus is 9 of 20 µm wide, and in the middle.
    assert dark[100].sum() == pytest.approx(200 * 9 / CROP_UM, abs=4)
    assert dark[:, 100].sum() == pytest.approx(200 * 9 / CROP_UM, abs=4)
    assert np.argwhere(dark).mean(axis=0) == pytest.approx([99.5, 99.5], abs=3)


def test_twice_the_scale_shows_the_cell_at_half_the_size() -> None:
    image = drawn([ROUND])
    box = locate(frame(image)).boxes[0]
    widths = []
    for um_per_pixel in (0.1, 0.05):
        known = Field(
            frame(image), Background(*PLASMA), Scale(um_per_pixel, ScaleSource.CONFIGURATION), (box,)
        )
        (cell,) = cells_of(known, size=200)
        widths.append(int((cell.crop[100, :, 1] < 130).sum()))
    assert widths[1] == pytest.approx(widths[0] / 2, abs=3)


def test_without_a_scale_the_cell_itself_gives_it() -> None:
    unknown = Field(frame(drawn([ROUND])), Background(*PLASMA), None, (Box(260, 180, 120, 100),))
    (cell,) = cells_of(unknown, size=64)
    assert cell.scale == Scale(pytest.approx(13.3 / 120), ScaleSource.CELL)


@pytest.mark.parametrize("name", [*ANNOTATED, *PORTRAITS[::5]])
@pytest.mark.parametrize("zoom", [0.7, 1.7])
def test_the_same_cell_at_another_resolution_gives_nearly_the_same_crop(name: str, zoom: float) -> None:
    image = field(name) if name in ANNOTATED else portrait(name)
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    zoomed = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=how)
    one = central(cells(image, um_per_pixel=0.08))
    two = central(cells(zoomed, um_per_pixel=0.08 / zoom))
    assert one is not None
    assert two is not None
    assert difference(one.crop, two.crop) < 20
    assert np.corrcoef(one.crop.ravel(), two.crop.ravel())[0, 1] > 0.8


@pytest.mark.parametrize("gains", [(1, 1, 0.7), (0.8, 0.9, 1), (0.6, 0.6, 0.6)])
def test_lamp_and_white_balance_do_not_show(gains: tuple[float, float, float]) -> None:
    image = field("BloodImage_00275.jpg")
    dimmed = np.round(image * np.array(gains)).astype(np.uint8)
    (one,), (two,) = cells(image, um_per_pixel=0.07), cells(dimmed, um_per_pixel=0.07)
    assert difference(one.crop, two.crop) < 6


@settings(deadline=None)
@given(st.tuples(*[st.integers(30, 255)] * 3))
def test_plasma_becomes_one_white(plasma: tuple[int, int, int]) -> None:
    image = np.full((50, 60, 3), plasma, np.uint8)
    crop = square(image, 30, 25, 40, 64, Background(*plasma))
    assert crop.min() >= WHITE - 1
    assert crop.max() <= WHITE + 1


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-80, 140), st.floats(-80, 140), st.floats(0.1, 300), st.sampled_from([16, 64, 128]),
)  # fmt: skip
def test_what_lies_outside_of_the_frame_is_plasma(x: float, y: float, side: float, size: int) -> None:
    image = np.full((50, 60, 3), 20, np.uint8)
    crop = square(image, x, y, side, size, Background(200, 180, 160))
    assert crop.shape == (size, size, 3)
    if x + side / 2 < -1 or y + side / 2 < -1 or x - side / 2 > 61 or y - side / 2 > 51:
        assert (np.abs(crop.astype(int) - WHITE) <= 1).all()
    if x - side / 2 >= 1 and y - side / 2 >= 1 and x + side / 2 <= 59 and y + side / 2 <= 49:
        assert crop.max() < 32


def test_a_cell_at_the_edge_is_cut_off_and_filled_up() -> None:
    at_the_left = [(2.0, 24.0, 4.5)]
    (edge,) = cells(drawn([at_the_left]), um_per_pixel=0.1)
    (inner,) = cells(drawn([ROUND]), um_per_pixel=0.1)
    assert edge.cut_off
    assert not inner.cut_off
    assert edge.box is not None
    assert edge.box.left == 0
    assert (np.abs(edge.crop[:, :20].astype(int) - WHITE) <= 3).all()


@pytest.mark.parametrize(
    ("box", "cut_off"),
    [
        (Box(1, 1, 98, 78), False), (Box(0, 1, 98, 78), True), (Box(1, 0, 98, 78), True),
        (Box(1, 1, 99, 78), True), (Box(1, 1, 98, 79), True),
    ],
)  # fmt: skip
def test_a_box_that_reaches_an_edge_is_cut_off(box: Box, cut_off: bool) -> None:
    picture = frame(np.full((80, 100, 3), 200, np.uint8))
    (cell,) = cells_of(Field(picture, Background(200, 200, 200), None, (box,)), size=32)
    assert cell.cut_off is cut_off


@pytest.mark.parametrize(
    ("view", "height", "width", "count"),
    [
        ("auto", 400, 400, 1), ("auto", 401, 400, 0), ("auto", 400, 401, 0), ("auto", 1, 1, 1),
        ("field", 400, 400, 0), ("field", 20, 20, 0),
        ("cell", 401, 400, 1), ("cell", 1000, 2000, 1), ("cell", 20, 20, 1),
    ],
)  # fmt: skip
def test_an_empty_picture_is_a_cell_if_asked_or_if_small(
    view: View, height: int, width: int, count: int
) -> None:
    found = cells(np.full((height, width, 3), 210, np.uint8), view=view, size=32)
    assert len(found) == count
    for cell in found:
        assert cell.box is None
        assert cell.scale is None
        assert not cell.cut_off
        assert cell.index == 0


@pytest.mark.parametrize("view", ["auto", "field"])
def test_located_cells_are_cut_out_also_of_a_small_picture(view: View) -> None:
    (cell,) = cells(portrait(PORTRAITS[0]), view=view)
    assert cell.box is not None
    (whole,) = cells(portrait(PORTRAITS[0]), view="cell")
    assert whole.box is None
    assert difference(cell.crop, whole.crop) > 5


def test_the_whole_of_an_oblong_picture_is_shown() -> None:
    image = np.full((60, 120, 3), 200, np.uint8)
    image[:, :3] = image[:, -3:] = (80, 20, 90)
    (cell,) = cells(image, view="cell", size=120)
    assert (cell.crop[60, :2, 1] < 100).all()
    assert (cell.crop[60, -2:, 1] < 100).all()
    assert (np.abs(cell.crop[:25].astype(int) - WHITE) <= 2).all()


def test_cells_are_numbered_and_the_central_one_is_told() -> None:
    nuclei = [[(10.0, 10.0, 4.5)], [(34.0, 26.0, 4.5)], [(55.0, 40.0, 4.5)]]
    found = cells(drawn(nuclei))
    assert [cell.index for cell in found] == [0, 1, 2]
    assert central(found) is found[1]
    assert central(()) is None


@pytest.mark.parametrize("um_per_pixel", [0.08, 0.12])
def test_a_portrait_whose_scale_nothing_tells_is_taken_whole(um_per_pixel: float) -> None:
    image = drawn([[(10, 10, 4.5)]], width_um=20, height_um=20, um_per_pixel=um_per_pixel, red_cells=False)
    (cell,) = cells(image)
    assert cell.field.boxes, "it is located, and yet"
    assert (cell.box, cell.scale, cell.cut_off) == (None, None, False)
    assert (cell.crop == cells(image, view="cell")[0].crop).all()
    (told,) = cells(image, um_per_pixel=um_per_pixel)
    assert told.box is not None, "the configuration tells the scale"
    (asked,) = cells(image, view="field")
    assert asked.box is not None


def test_a_cell_that_fills_a_small_picture_or_hardly_shows_in_it_is_no_portrait() -> None:
    tight = drawn([[(7, 7, 5.0)]], width_um=14, height_um=14, um_per_pixel=0.1, red_cells=False)
    far = drawn([[(30, 20, 4.5)]], width_um=60, height_um=60, um_per_pixel=0.16, red_cells=False)
    wide = drawn([[(30, 20, 4.5)]], width_um=50, height_um=50, um_per_pixel=0.1, red_cells=False)
    assert wide.shape[0] > PORTRAIT_PX
    for image in (tight, far, wide):
        (cell,) = cells(image)
        assert cell.box is not None
