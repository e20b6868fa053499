"""Buffers of every format against a picture whose colours are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.sources.pixels import FORMATS, REC601, REC709, SYCC, ColourSpace, rgb

PICTURE = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 6)
PICTURE = cv2.normalize(PICTURE, None, 20, 235, cv2.NORM_MINMAX)
STRIDE = 80


def planes(space: ColourSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y, Cb and Cr by the definitions of Rec. 601 and 709, the latter two of half the size."""
    red, green, blue = np.moveaxis(PICTURE.astype(float) / 255, 2, 0)
    luma = space.red * red + (1 - space.red - space.blue) * green + space.blue * blue
    cb, cr = (blue - luma) / (2 * (1 - space.blue)), (red - luma) / (2 * (1 - space.red))
    if space.full:
        scaled = 255 * luma, 255 * cb + 128, 255 * cr + 128
    else:
        scaled = 219 * luma + 16, 224 * cb + 128, 224 * cr + 128
    y, cb, cr = (np.rint(plane).astype(np.uint8) for plane in scaled)
    half = (32, 24)
    return (
        y,
        cv2.resize(cb, half, interpolation=cv2.INTER_AREA),
        cv2.resize(cr, half, interpolation=cv2.INTER_AREA),
    )


def padded(plane: np.ndarray, stride: int) -> np.ndarray:
    return np.pad(plane, ((0, 0), (0, stride - plane.shape[1])), constant_values=77)


def buffer(pixel_format: str, space: ColourSpace) -> np.ndarray:
    """As picamera2 shapes what a camera wrote: rows may be longer than the picture is wide."""
    y, cb, cr = planes(space)
    first, second = (cr, cb) if pixel_format in ("NV21", "YVU420", "YVYU") else (cb, cr)
    match pixel_format:
        case "BGR888" | "MJPEG":
            return PICTURE.copy()
        case "RGB888":
            return PICTURE[..., ::-1].copy()
        case "XBGR8888":
            return np.dstack([PICTURE, np.full(PICTURE.shape[:2], 9, np.uint8)])
        case "XRGB8888":
            return np.dstack([PICTURE[..., ::-1], np.full(PICTURE.shape[:2], 9, np.uint8)])
        case "NV12" | "NV21":
            chroma = np.dstack([first, second]).reshape(24, 64)
            return np.vstack([padded(y, STRIDE), padded(chroma, STRIDE)])[:, :64]  # picamera2 cuts it
        case "YUV420" | "YVU420":
            chroma = np.vstack([padded(first, STRIDE // 2), padded(second, STRIDE // 2)])
            return np.vstack([padded(y, STRIDE), chroma.reshape(24, STRIDE)])
        case "YUYV" | "YVYU":
            wide = [cv2.resize(plane, (32, 48)) for plane in (first, second)]
            return np.dstack([y, np.dstack(wide).reshape(48, 64)])
    raise AssertionError(pixel_format)


@pytest.mark.parametrize("space", [REC601, SYCC, REC709], ids=["rec601", "sycc", "rec709"])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_format_gives_red_green_and_blue_in_that_order(pixel_format: str, space: ColourSpace) -> None:
    image = rgb(buffer(pixel_format, space), pixel_format, 64, space)
    assert image.shape == PICTURE.shape
    assert image.flags.owndata
    off = np.abs(image.astype(int) - PICTURE)
    assert off.mean() < 4
    assert off.max() < 30  # Cb and Cr of four pixels are one


def test_what_is_not_understood_is_named() -> None:
    with pytest.raises(ValueError, match=r"SRGGB10.*BGR888"):
        rgb(np.zeros((4, 4), np.uint8), "SRGGB10", 4, SYCC)
