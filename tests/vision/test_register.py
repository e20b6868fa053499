"""Registration: right under what cameras do, and silent where there is nothing to be right about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from moving import HEIGHT, WIDTH, view

from edge.vision.register import ALIKE, LEAST_OVERLAP, LONGEST, Print, factor, reduced, shift

place = st.tuples(st.floats(300, 500), st.floats(250, 450))
share = st.floats(0.0, 0.8)
sign = st.sampled_from([-1, 1])


@settings(max_examples=60, deadline=None)
@given(
    place, share, share, sign, sign, st.floats(0.5, 1.1), st.floats(0, 3), st.floats(0, 4), st.floats(0, 0.4),
    st.integers(1, 3),
)  # fmt: skip
def test_the_shift_is_found_whatever_light_focus_and_noise_do(
    corner: tuple[float, float], across: float, down: float, right: int, lower: int,
    gain: float, blur: float, noise: float, shade: float, seed: int,
) -> None:  # fmt: skip
    assume((1 - across) * (1 - down) >= 0.2)
    x, y = corner[0] + right * across * WIDTH, corner[1] + lower * down * HEIGHT
    one = Print.of(view(seed, *corner))
    other = Print.of(view(seed, x, y, gain=gain, blur=blur, noise=noise, shade=shade))
    found = shift(one, other)
    assert found is not None
    assert np.hypot(found.x - (x - corner[0]), found.y - (y - corner[1])) < 1.5  # of pixels reduced by 4
    assert ALIKE <= found.likeness <= 1.001
    assert found.overlap == pytest.approx((1 - across) * (1 - down), abs=0.03)
    back = shift(other, one)
    assert back is not None
    assert (back.x, back.y) == pytest.approx((-found.x, -found.y), abs=0.2)


@settings(max_examples=25, deadline=None)
@given(place, place, st.floats(0, 3), st.integers(1, 3))
def test_different_slides_are_never_taken_for_one_place(
    one: tuple[float, float], other: tuple[float, float], noise: float, seed: int
) -> None:
    assert shift(Print.of(view(seed, *one)), Print.of(view(seed + 1, *other, noise=noise))) is None


def test_too_little_in_common_is_admitted() -> None:
    one = Print.of(view(1, 300, 300))
    assert shift(one, Print.of(view(1, 300 + WIDTH * (1 - LEAST_OVERLAP / 2), 300))) is None
    assert shift(one, Print.of(view(1, 800, 700))) is None


def test_an_empty_field_follows_from_nothing() -> None:
    grain = np.random.default_rng(1).normal(220, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    empty = Print.of(grain)
    assert not empty.has_texture
    assert shift(empty, empty) is None
    assert shift(Print.of(view(1, 300, 300)), empty) is None


def test_pictures_of_two_sizes_are_not_compared() -> None:
    one = Print.of(view(1, 300, 300))
    assert shift(one, Print.of(view(1, 300, 300)[:-40])) is None
    assert shift(one, Print.of(np.repeat(np.repeat(view(1, 300, 300), 2, 0), 2, 1))) is None


def test_the_same_picture_has_not_moved() -> None:
    found = shift(Print.of(view(2, 310, 290)), Print.of(view(2, 310, 290)))
    assert found is not None
    assert (found.x, found.y) == pytest.approx((0, 0), abs=1e-3)
    assert (found.likeness, found.overlap) == pytest.approx((1, 1), abs=1e-3)


@pytest.mark.parametrize("shape", [(1232, 1640), (480, 640), (3040, 4056), (50, 40), (2000, 33)])
def test_any_frame_is_reduced_by_a_whole_number(shape: tuple[int, int]) -> None:
    small = reduced(np.zeros(shape, np.uint8))
    assert max(small.shape) <= LONGEST
    assert not small.flags.writeable
    assert small.shape == (shape[0] // factor(shape), shape[1] // factor(shape))
