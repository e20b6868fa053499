"""What is counted, cached or done at once for its speed gives what the plain formula gives, to the last bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fields import ANNOTATED, field, frame
from hypothesis import given
from hypothesis import strategies as st

from edge.records import Background
from edge.vision import crop, density, scale, stain
from edge.vision.locate import locate
from edge.vision.quality import quality

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 90)


def picture(seed: int, *shape: int, values: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, shape).astype(np.uint8)


@given(seeds, sides, sides, st.integers(1, 256), st.floats(0, 1, exclude_max=True))
def test_a_counted_level_is_that_of_the_sorted_pixels(
    seed: int, height: int, width: int, values: int, share: float
) -> None:
    plane = picture(seed, height, width, values=values)
    ranks = [int(plane.size * share), 0, plane.size - 1]
    assert density.levels(plane, *ranks) == np.sort(plane, axis=None)[ranks].tolist()


@given(seeds, sides, sides)
def test_only_pixels_in_the_mask_are_counted(seed: int, height: int, width: int) -> None:
    plane, mask = picture(seed, height, width), picture(seed + 1, height, width, values=2)
    mask[0, 0] = 1
    chosen = np.sort(plane[mask > 0])
    assert density.levels(plane, len(chosen) // 3, mask=mask) == [chosen[len(chosen) // 3]]


def test_counts_stay_exact_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, mask = picture(1, 70, 30), picture(2, 70, 30, values=2)
    whole, masked = density.cumulative(plane), density.cumulative(plane, mask)
    assert whole[-1] == plane.size and masked[-1] == np.count_nonzero(mask)
    monkeypatch.setattr(density, "_COUNTED_EXACTLY", 200)
    assert np.array_equal(density.cumulative(plane), whole)
    assert np.array_equal(density.cumulative(plane, mask), masked)


@given(seeds, st.integers(1, 500), st.integers(1, 500))
def test_the_plasma_is_the_percentile_of_a_sample(seed: int, height: int, width: int) -> None:
    image = picture(seed, height, width, 3)
    stride = max(1, int(np.sqrt(height * width / 4096)))
    pixels = np.sort(image[::stride, ::stride].reshape(-1, 3), axis=0)
    plain = pixels[int((len(pixels) - 1) * 0.92)].astype(float)
    assert density.background(image) == tuple(np.maximum(plain, 1.0))


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=300), st.floats(0.5, 1, exclude_max=True))
def test_the_middle_and_a_rank_are_those_of_the_sorted_list(values: list[float], share: float) -> None:
    in_order, rank = sorted(values), int(len(values) * share)
    expected = in_order[(len(values) - 1) // 2], in_order[len(values) // 2], in_order[rank]
    assert density.middle_and_rank(np.array(values, np.float32), rank) == expected


@given(st.tuples(*[st.floats(1, 255, width=32)] * 3))
def test_the_table_that_balances_a_crop(plasma: tuple[float, float, float]) -> None:
    for level, column in zip(plasma, crop._balance(Background(*plasma))[0].T, strict=True):
        plain = np.arange(256, dtype=np.float32) * (np.float32(240) / np.float32(level)) + np.float32(0.5)
        assert np.array_equal(column, np.clip(plain, 0, 255).astype(np.uint8))


@given(seeds)
def test_contrast_is_taken_from_a_sorted_sample(seed: int) -> None:
    cell = picture(seed, 96, 96, 3)
    sample = np.sort(cell[::4, ::4, 1], axis=None).astype(float)
    dark, light = sample[len(sample) // 20], sample[len(sample) * 9 // 10]
    assert quality(cell, Background(200, 200, 200)).contrast == float(np.log((light + 1) / (dark + 1)))


@pytest.mark.parametrize("name", sorted(ANNOTATED))
def test_the_anchors_of_a_stain_are_medians(name: str) -> None:
    found = locate(frame(field(name)), view="field")
    stains = stain.stains_of(found)
    if stains is None:
        pytest.skip("a field without both anchors")
    assert found.scale is not None
    factor = max(1, int(1 / (found.scale.um_per_pixel * stain._WORK_PX_PER_UM)))
    small = found.frame.image[::factor, ::factor]
    table = stain._of_levels(found.background)
    densities = np.stack([table[channel][small[..., channel]] for channel in range(3)], axis=-1)
    boxes = [stain._scaled(box, factor, 0, small.shape) for box in found.boxes]
    pixels = np.concatenate([densities[box].reshape(-1, 3) for box in boxes])
    nuclear = pixels[:, 1] - pixels[:, 2]
    chosen = pixels[nuclear > 0.6 * float(np.sort(nuclear)[int(len(nuclear) * 0.9)])]
    assert np.array_equal(stains.nucleus, np.median(chosen, axis=0))


@given(seeds, st.integers(1, 3))
def test_medians_over_overlapping_parts_count_a_pixel_as_often(seed: int, parts: int) -> None:
    levels = picture(seed, 3, 20, 30)
    table = stain._of_levels(Background(230, 210, 220))
    planes = stain._Planes(levels, table)
    random = np.random.default_rng(seed)
    chosen, pixels = [], []
    for _ in range(parts):
        part = (slice(int(random.integers(10)), 18), slice(int(random.integers(10)), 25))
        mask = random.integers(0, 2, levels[0][part].shape).astype(np.uint8)
        mask[0, 0] = 1
        chosen.append((part, mask))
        pixels.append(
            np.stack([table[c][levels[c][part][mask > 0]] for c in range(3)], axis=-1).astype(np.float32)
        )
    assert np.array_equal(planes.middle(chosen), np.median(np.concatenate(pixels), axis=0))


@given(seeds)
def test_the_gain_of_a_map_and_the_frame_of_its_anchors(seed: int) -> None:
    random = np.random.default_rng(seed)
    nucleus, red_cell = random.uniform(0.05, 2, (2, 3)).astype(np.float32)
    across = np.cross(nucleus, red_cell)
    plain = np.stack([nucleus, red_cell, 0.3 * across / np.linalg.norm(across)], axis=1)
    assert np.array_equal(stain._frame_of(nucleus, red_cell), plain)
    change = random.normal(0, 2.5, (3, 3)).astype(np.float32)
    assert stain._gain_exceeds(change, 6.0) == (np.linalg.norm(change, 2) > 6.0)


@given(seeds, st.integers(120, 900))
def test_votes_are_those_of_each_radius_by_itself(seed: int, count: int) -> None:
    random, shape = np.random.default_rng(seed), (120, 160)
    points = random.uniform(0, 120, (count, 2)).astype(np.float32)
    angles = random.uniform(0, 2 * np.pi, count)
    inward = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    radii = 3.0 * 1.16 ** np.arange(12)
    scores = scale._concentration(points, inward, radii, shape, 2)
    for radius, score in zip(radii.tolist(), scores, strict=True):
        side = radius / 4
        centres = cv2.scaleAdd(inward, radius, points)
        inside = ((centres >= 0) & (centres <= (160, 120))).all(axis=1)
        squares = np.floor(centres[inside][:, ::-1].astype(float) / side).astype(int)
        _, votes = np.unique(squares, axis=0, return_counts=True)
        number = np.count_nonzero(inside)
        by_chance = 1 + number * side * side / (120 * 160)
        plain = ((votes**2).sum() / max(number, 1) - by_chance) * 2 / (2 * np.pi * radius)
        assert score == pytest.approx(plain, abs=2e-3)  # a centre may lie on the line between two squares
