"""Stain is measured against the plasma, whatever the lamp."""

from __future__ import annotations

import numpy as np
import pytest
from fields import PLASMA, drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Background
from edge.vision.density import background, optical_density, ranked
from edge.vision.scale import red_cell_width


def test_plasma_is_what_lies_between_the_cells() -> None:
    assert background(drawn([[(32, 24, 4.5)]])) == pytest.approx(PLASMA, abs=4)


def test_plasma_is_never_black() -> None:
    assert background(np.zeros((9, 9, 3), np.uint8)) == (1, 1, 1)


def test_densities_add_up() -> None:
    once, twice = np.full((2, 20, 20, 3), 200, np.uint8)
    once[:, 5:] = (150, 100, 120)
    twice[:, 5:] = (100, 50, 72)
    plasma = Background(200, 200, 200)
    one, two = optical_density(once, plasma), optical_density(twice, plasma)
    for plane in (0, 1):
        assert one[plane][10, 0] == pytest.approx(0, abs=1e-6)
        assert two[plane][10, 15] == pytest.approx(2 * one[plane][10, 15], rel=0.03)
    assert one.nuclear[10, 15] == pytest.approx(np.log(121 / 101), rel=1e-3)
    assert one.absorbed[10, 15] == pytest.approx(np.log(201 / 101) + np.log(201 / 121), rel=1e-3)


@pytest.mark.parametrize(("factor", "shape"), [(1, (60, 90)), (2, (30, 45)), (7, (8, 12)), (1000, (1, 1))])
def test_a_density_is_made_at_the_size_asked_for(factor: int, shape: tuple[int, int]) -> None:
    density = optical_density(np.full((60, 90, 3), 128, np.uint8), Background(255, 255, 255), factor)
    assert density.nuclear.shape == density.absorbed.shape == shape
    assert density.absorbed == pytest.approx(2 * np.log(256 / 129), rel=1e-3)


@settings(deadline=None)
@given(
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=300),
    st.floats(0, 1, exclude_max=True),
)
def test_a_ranked_value_is_that_of_the_sorted_list(values: list[float], share: float) -> None:
    assert ranked(np.array(values, np.float32), share) == sorted(values)[int(len(values) * share)]


@pytest.mark.parametrize("um_per_pixel", [0.15, 0.2, 0.3, 0.4, 0.5])
def test_red_cells_are_measured(um_per_pixel: float) -> None:
    image = drawn(um_per_pixel=um_per_pixel)
    density = optical_density(image, background(image)).absorbed
    width = red_cell_width(density, np.zeros(density.shape, np.uint8))
    assert width is not None
    assert width == pytest.approx(7.2 / um_per_pixel, rel=0.06)


def test_red_cells_that_lie_in_ignored_places_are_not_measured() -> None:
    image = drawn(um_per_pixel=0.3)
    density = optical_density(image, background(image)).absorbed
    ignore = np.ones(density.shape, np.uint8)
    assert red_cell_width(density, ignore) is None
    ignore[:, :60] = 0  # two columns of them
    width = red_cell_width(density, ignore)
    assert width == pytest.approx(24, rel=0.08)


def test_three_red_cells_are_no_ruler() -> None:
    whole = drawn(um_per_pixel=0.3, width_um=27, height_um=9, noise=0)
    image = np.pad(whole, ((40, 40), (40, 40), (0, 0)), mode="edge")
    density = optical_density(image, background(image)).absorbed
    assert red_cell_width(density, np.zeros(density.shape, np.uint8)) is None
