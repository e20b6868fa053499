"""What a map of an explanation shows, and how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from edge.records import Image
from edge.vision.explain import occlusion, overlay, strength


def crop(size: int) -> Image:
    return np.full((size, size, 3), 240, np.uint8)


def test_strength_is_what_speaks_for_a_class() -> None:
    found = strength(np.array([[-3, 0], [1, 2]], np.float32))
    assert found.tolist() == [[0, 0], [0.5, 1]]
    assert strength(np.full((2, 2), -1, np.float32)).max() == 0


@pytest.mark.parametrize("size", [5, 8, 30, 32, 127])
@pytest.mark.parametrize("corner", [(0, 0), (0.5, 0.25), (0.8, 0.8)])
def test_occlusion_finds_the_only_place_that_counts(size: int, corner: tuple[float, float]) -> None:
    picture = crop(size)
    top, left = (int(share * size) for share in corner)
    spot = slice(top, top + max(1, size // 8)), slice(left, left + max(1, size // 8))
    picture[spot] = 20
    calls = 0

    def darkness(seen: Image) -> float:
        nonlocal calls
        calls += 1
        return float((240.0 - seen).sum())

    before = picture.copy()
    heat = occlusion(picture, darkness)
    np.testing.assert_array_equal(picture, before)
    assert heat.shape == (min(size, 8), min(size, 8))
    assert calls <= 82
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs((row + 0.5) / len(heat) - (top + 0.5) / size) <= 0.15
    assert abs((column + 0.5) / len(heat) - (left + 0.5) / size) <= 0.15
    far = np.abs(np.arange(len(heat)) - row) > 2
    assert heat[far].max(initial=0) == 0


def test_nothing_is_explained_where_nothing_counts() -> None:
    assert occlusion(crop(16), lambda _: 1.0).max() == 0


def test_a_map_is_laid_over_the_crop() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    drawn = overlay(crop(32), heat, side=64)
    assert (drawn.shape, drawn.dtype) == ((64, 128, 3), np.uint8)
    plain, heated = drawn[:, :64], drawn[:, 64:]
    assert (plain == 240).all()
    red, green, _ = heated[2, 2]
    assert red > 230
    assert green < 120
    np.testing.assert_array_equal(heated[40:, 40:], plain[40:, 40:])
