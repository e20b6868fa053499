"""Measures of a whole frame: of focus in micrometres whatever else differs, of light, of colour."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest

from edge.records import Image
from edge.sources.slide_layout import Layout, stock
from edge.sources.slide_scan import Scan, SlideSettings
from edge.vision.framequality import FrameQuality, frame_quality

UM = 0.15


@lru_cache(maxsize=4)
def field(um_per_pixel: float = UM, red_per_mm2: float = 12_500) -> Image:
    """A field without any fault, 77 µm wide."""
    settings = SlideSettings(
        cells=3, um_per_pixel=um_per_pixel, red_per_mm2=red_per_mm2, width=600, height=600
    )
    tile = Layout(settings, Scan(settings), stock(um_per_pixel)).tile(0, 0)
    side = min(512, round(77 / um_per_pixel))
    return (tile[:side, :side] * 0.95).astype(np.uint8)


def measured(image: Image, um_per_pixel: float = UM) -> FrameQuality:
    return frame_quality(image, cv2.extractChannel(image, 1), um_per_pixel=um_per_pixel)


def blurred(image: Image, um: float, um_per_pixel: float = UM) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), um / um_per_pixel), np.uint8)


def test_lost_focus_adds_up_in_squares() -> None:
    sharp = measured(field()).softness
    for um in (0.3, 0.5, 0.8):
        soft = measured(blurred(field(), um)).softness
        assert np.sqrt(soft**2 - sharp**2) == pytest.approx(um, rel=0.2)


@pytest.mark.parametrize("um_per_pixel", [0.15, 0.2])
@pytest.mark.parametrize("red_per_mm2", [4_000, 12_500])
def test_softness_means_the_same_at_each_scale_and_on_thin_smears(
    um_per_pixel: float, red_per_mm2: float
) -> None:
    image = blurred(field(um_per_pixel, red_per_mm2), 0.5, um_per_pixel)
    assert measured(image, um_per_pixel).softness == pytest.approx(
        measured(blurred(field(), 0.5)).softness, rel=0.15
    )


@pytest.mark.parametrize("gain", [0.5, 0.8])
def test_softness_does_not_depend_on_light_or_noise(gain: float) -> None:
    image = blurred(field(), 0.4)
    noise = np.random.default_rng(1).normal(0, 1.5, image.shape)
    dim = np.clip(image * gain + noise, 0, 255).astype(np.uint8)
    assert measured(dim).softness == pytest.approx(measured(image).softness, rel=0.08)


@pytest.mark.parametrize("size", [(9, 1), (1, 9)])
def test_a_smear_in_one_direction_counts_as_much_as_in_both(size: tuple[int, int]) -> None:
    smeared = measured(np.asarray(cv2.blur(field(), size), np.uint8)).softness
    sigma = 9 / np.sqrt(12) * UM  # of a box of nine pixels
    assert np.sqrt(smeared**2 - measured(field()).softness ** 2) == pytest.approx(sigma, rel=0.5)


def test_nothing_to_be_sharp() -> None:
    blank = np.full((300, 400, 3), 220, np.uint8)
    quality = measured(blank)
    assert quality.softness == float("inf")
    assert quality.stained == 0
    assert quality.stain == (0, 0, 0)
    assert measured(blank[:8, :8]).softness == float("inf")


def test_exposure_and_evenness() -> None:
    good = measured(field())
    assert good.burnt == 0
    assert good.evenness > 0.9
    assert measured((field() * 0.3).astype(np.uint8)).brightness == pytest.approx(
        0.3 * good.brightness, rel=0.05
    )
    burnt = np.clip(field().astype(int) * 2, 0, 255).astype(np.uint8)
    assert measured(burnt).burnt > 0.3
    shade = np.linspace(1, 0.3, field().shape[1])[None, :, None]
    assert measured((field() * shade).astype(np.uint8)).evenness == pytest.approx(0.4, abs=0.12)


def test_white_balance_and_stain_are_told_apart() -> None:
    good = measured(field())
    warm = measured((field() * [1.0, 0.8, 0.6]).astype(np.uint8))
    assert warm.white[0] - good.white[0] == pytest.approx(-np.log(0.8), abs=0.05)
    assert warm.white[1] - good.white[1] == pytest.approx(np.log(0.6 / 0.8), abs=0.05)
    assert sum(warm.stain) == pytest.approx(sum(good.stain), rel=0.1)
    plasma = np.array([241.0, 217.0, 192.0])
    stronger = plasma * (field() / plasma) ** 1.5
    strong = measured(np.clip(stronger, 0, 255).astype(np.uint8))
    assert sum(strong.stain) > 1.25 * sum(good.stain)
    assert strong.white == pytest.approx(good.white, abs=0.05)
