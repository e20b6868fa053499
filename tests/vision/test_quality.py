"""Focus and exposure are seen on the crop."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from fields import ANNOTATED, PORTRAITS, field, frame, portrait

from edge.records import Background, Image, Quality
from edge.vision.crop import cells_of
from edge.vision.locate import locate
from edge.vision.quality import quality


def seen(image: Image) -> Quality:
    (cell,) = cells_of(locate(frame(image), um_per_pixel=0.08), size=128)
    return cell.quality


def pictures() -> list[Image]:
    return [*map(field, ANNOTATED), *map(portrait, PORTRAITS[::6])]


@pytest.mark.parametrize("image", pictures(), ids=[*ANNOTATED, *PORTRAITS[::6]])
def test_the_more_blur_the_less_sharp(image: Image) -> None:
    sharpness = [seen(image).sharpness]
    sharpness += [seen(cv2.GaussianBlur(image, (0, 0), sigma)).sharpness for sigma in (2, 4, 8)]
    assert all(sharper > softer for sharper, softer in pairwise(sharpness))


@pytest.mark.parametrize("image", pictures(), ids=[*ANNOTATED, *PORTRAITS[::6]])
def test_the_paler_the_less_contrast(image: Image) -> None:
    plasma = np.array(locate(frame(image)).background)
    paler = [np.clip(plasma + (image - plasma) * left, 0, 255).astype(np.uint8) for left in (1, 0.9, 0.8)]
    contrast = [seen(each).contrast for each in paler]
    assert all(stronger > weaker + 0.02 for stronger, weaker in pairwise(contrast))


def test_stain_strength_does_not_pass_for_focus() -> None:
    image = portrait(PORTRAITS[0])
    paler = np.clip(230 + (image - 230.0) * 0.8, 0, 255).astype(np.uint8)
    assert seen(paler).sharpness == pytest.approx(seen(image).sharpness, rel=0.15)


def test_brightness_is_the_lamps() -> None:
    image = field("BloodImage_00275.jpg")
    half = (image // 2).astype(np.uint8)
    assert seen(half).brightness == pytest.approx(seen(image).brightness / 2, rel=0.02)


def test_a_uniform_crop_has_neither_detail_nor_contrast() -> None:
    flat = quality(np.full((64, 64, 3), 240, np.uint8), Background(30, 60, 90))
    assert flat == Quality(0.0, 0.0, 60.0)
