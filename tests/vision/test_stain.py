"""One stain for all sites: what a field shows of its own, and what is left of the difference afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fields import ANNOTATED, PORTRAITS, drawn, field, frame, portrait

from edge.records import Field, Image
from edge.vision.crop import cells_of
from edge.vision.locate import locate
from edge.vision.stain import matched, stain_map, stains_of

ROUND = [(32.0, 24.0, 4.5)]


def other_site(image: Image, mixing: list[list[float]]) -> Image:
    """The same smear with another stain: densities above the plasma, mixed."""
    plasma = np.quantile(image.reshape(-1, 3), 0.92, axis=0) + 1
    density = np.log(plasma) - np.log(image.astype(np.float32) + 1)
    return np.clip(plasma * np.exp(-density @ np.array(mixing).T) - 1, 0, 255).astype(np.uint8)


PALE = [[0.45, 0.0, 0.0], [0.0, 0.55, 0.0], [0.0, 0.15, 0.4]]
PINK = [[0.7, 0.1, 0.0], [0.0, 1.2, 0.0], [0.0, 0.0, 1.2]]


@pytest.mark.parametrize("name", ANNOTATED)
def test_a_pale_field_comes_to_the_reference(name: str) -> None:
    found = locate(frame(field(name)))
    anchors, change = stains_of(found), stain_map(found)
    assert anchors is not None
    assert change is not None
    assert anchors.nucleus[1] < 1.1, "BCCD's nuclei are paler than Acevedo's"
    nucleus, red_cell = change @ anchors.nucleus, change @ anchors.red_cell
    np.testing.assert_allclose(red_cell, [0.228, 0.333, 0.205], atol=1e-3)
    np.testing.assert_allclose(
        nucleus / np.linalg.norm(nucleus), np.array([1.10, 1.78, 0.405]) / 2.131, atol=2e-3
    )
    # Half of how dense the nuclei are is kept, in the logarithm.
    kept = np.linalg.norm(nucleus) / np.sqrt(np.linalg.norm(anchors.nucleus) * 2.131)
    assert kept == pytest.approx(1, abs=2e-3)


def test_the_references_own_fields_are_hardly_changed() -> None:
    changes = []
    for name in PORTRAITS[::4]:
        found = locate(frame(portrait(name)))
        plain, same = (cells_of(found, size=96, match_stain=match)[0] for match in (False, True))
        changes.append(float(np.abs(plain.crop.astype(int) - same.crop).mean()))
        assert same.picture is not same.crop
        assert (same.picture == plain.crop).all(), "people see the field's own colours"
    assert np.median(changes) < 6


@pytest.mark.parametrize("mixing", [PALE, PINK])
def test_another_stain_of_the_same_cell_looks_the_same(mixing: list[list[float]]) -> None:
    nearer = []
    for name in PORTRAITS[::5]:
        here = locate(frame(portrait(name)))
        there = replace(here, frame=frame(other_site(portrait(name), mixing)))  # the same box and scale
        apart = []
        for match in (False, True):
            one, two = (cells_of(f, size=96, match_stain=match)[0].crop.astype(float) for f in (here, there))
            apart.append(np.abs(one - two).mean())
        nearer.append(apart[1] / apart[0])
    assert np.median(nearer) < 0.6


def test_where_an_anchor_is_missing_nothing_is_changed() -> None:
    whole = locate(frame(drawn([ROUND])))
    assert stain_map(whole) is not None
    assert stain_map(replace(whole, boxes=())) is None, "no nucleus"
    assert stain_map(replace(whole, scale=None)) is None, "no scale"
    alone = locate(frame(drawn([ROUND], red_cells=False)), um_per_pixel=0.1)
    assert alone.boxes
    assert stain_map(alone) is None, "no red cell"
    (cell,) = cells_of(alone, size=96, match_stain=True)
    assert cell.crop is cell.picture


def test_ghosts_of_red_cells_are_no_anchor() -> None:
    found = locate(frame(field("BloodImage_00042.jpg")))
    washed = other_site(field("BloodImage_00042.jpg"), [[0.05, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert stain_map(found) is not None
    assert stain_map(replace(found, frame=frame(washed))) is None


def test_plasma_stays_white_and_pixels_are_closed() -> None:
    found: Field = locate(frame(field("BloodImage_00042.jpg")))
    change = stain_map(found)
    assert change is not None
    white = np.full((8, 8, 3), 240, np.uint8)
    picture = matched(white, change)
    assert (np.abs(picture.astype(int) - 240) <= 1).all()
    assert picture.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 0
