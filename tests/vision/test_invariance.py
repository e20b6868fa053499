"""What a microscope, a lamp or a camera does differently must not change what is found."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from fields import ANNOTATED, PORTRAITS, field, frame, overlap, portrait
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.records import Box, Field, Image
from edge.vision.locate import locate

PICTURES = [*ANNOTATED, *PORTRAITS[::4]]


def picture(name: str) -> Image:
    return field(name) if name in ANNOTATED else portrait(name)


@cache
def plain(name: str) -> Field:
    return locate(frame(picture(name)))


def same(name: str, changed: Image, moved: Callable[[Box], Box] = lambda box: box, zoom: float = 1.0) -> None:
    """The changed picture has the same cells, at the places that `moved` tells, and the same scale."""
    before, after = plain(name), locate(frame(changed))
    assert len(after.boxes) == len(before.boxes) == 1
    assert overlap(after.boxes[0], moved(before.boxes[0])) > 0.65
    assert before.scale is not None
    assert after.scale is not None
    assert after.scale.um_per_pixel * zoom == pytest.approx(before.scale.um_per_pixel, rel=0.2)


def lit(image: Image, light: object) -> Image:
    return np.clip(image * np.asarray(light, float) + 0.5, 0, 255).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PICTURES), st.tuples(*[st.floats(0.55, 1.0)] * 3))
def test_white_balance_and_brightness(name: str, gains: tuple[float, float, float]) -> None:
    same(name, lit(picture(name), gains))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_picture(name: str, degrees: int) -> None:
    image = picture(name)
    height, width = image.shape[:2]

    def turned(box: Box) -> Box:
        if degrees == 180:
            return Box(width - box.left - box.width, height - box.top - box.height, box.width, box.height)
        if degrees == 90:
            return Box(box.top, width - box.left - box.width, box.height, box.width)
        return Box(height - box.top - box.height, box.left, box.height, box.width)

    same(name, np.rot90(image, degrees // 90).copy(), turned)


@pytest.mark.parametrize("name", PICTURES)
def test_a_mirrored_picture(name: str) -> None:
    image = picture(name)
    width = image.shape[1]
    same(name, image[:, ::-1].copy(), lambda box: box._replace(left=width - box.left - box.width))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("zoom", [0.5, 0.7, 1.5, 2.0, 3.0])
def test_another_magnification(name: str, zoom: float) -> None:
    image = picture(name)
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    larger = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=how)
    same(name, larger, lambda box: Box(*(round(zoom * value) for value in box)), zoom)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("fall", [0.8, 1.25])
def test_uneven_light(name: str, axis: int, fall: float) -> None:
    image = picture(name)
    slope = np.linspace(1.0, fall, image.shape[axis]) / max(1.0, fall)
    same(name, lit(image, slope[:, None, None] if axis == 0 else slope[None, :, None]))


@pytest.mark.parametrize("name", PICTURES)
def test_jpeg_and_noise(name: str) -> None:
    image = picture(name)
    noisy = lit(image + np.random.default_rng(0).normal(0, 4, image.shape), 1)
    same(name, cv2.imdecode(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("strength", [0.75, 1.2])
def test_paler_and_stronger_stain(name: str, strength: float) -> None:
    image, plasma = picture(name), np.array(plain(name).background)
    same(name, lit(plasma * np.minimum(image / plasma, 1.2) ** strength, 1))
