"""Optical density against the field's own background: what stain and light leave once the lamp is divided out.

Beer and Lambert: a stain's density adds up where layers overlap, and does not depend on the lamp's
brightness. The background is each channel's own bright plasma, so white balance cancels too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Background, Image

Plane = NDArray[np.float32]
"""Height × width of densities: natural logarithm, 0 is background."""

_LOG = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)
_COUNTED_EXACTLY = 2**24  # pixels; OpenCV counts in float32
_PLASMA = 92  # percentile of brightness taken as plasma; the brightest few are reflections and dust


class Density(NamedTuple):
    """What stains and pigments take of green and blue light, pixel by pixel.

    Attributes:
        nuclear: green less blue: what nuclei take up and red cells do not. Chromatin binds azure dyes that
            absorb green more than blue, haemoglobin absorbs blue at least as much as green: the difference
            separates them on May-Grünwald-Giemsa, Wright and rapid stains alike. It is also blind to uneven
            illumination, which changes both channels by the same density. A nucleus reaches 0.3 to 1.2.
        absorbed: green and blue together: everything that is not plasma.
    """

    nuclear: Plane
    absorbed: Plane


def background(image: Image) -> Background:
    """Brightness of the plasma between the cells, channel by channel, from a few thousand pixels."""
    stride = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / 4096)))
    planes = np.ascontiguousarray(image[::stride, ::stride].transpose(2, 0, 1))
    rank = int((planes[0].size - 1) * _PLASMA / 100)
    return Background(*(max(1.0, float(level)) for plane in planes for level in levels(plane, rank)))


def optical_density(image: Image, plasma: Background, factor: int = 1) -> Density:
    """Density of each pixel above the field's background.

    Args:
        image: height × width × 3 uint8 R, G, B.
        plasma: the field's background.
        factor: shrink by so much first, each new pixel the mean of a block; what is left over at the right
            and at the bottom is not looked at.
    """
    size = max(1, image.shape[1] // factor), max(1, image.shape[0] // factor)
    whole = image[: size[1] * factor, : size[0] * factor]
    # Plane by plane, because red is of no use here and shrinking is most of the work.
    _, *planes = cv2.split(whole)
    green, blue = (
        _plane_density(plane if factor == 1 else cv2.resize(plane, size, interpolation=cv2.INTER_AREA), level)
        for plane, level in zip(planes, plasma[1:], strict=True)
    )
    return Density(np.asarray(cv2.subtract(green, blue)), np.asarray(cv2.add(green, blue)))


def levels(plane: NDArray[np.uint8], *ranks: int, mask: NDArray[np.uint8] | None = None) -> list[int]:
    """The brightness at each rank, from 0 for the darkest pixel, by counting: sorting takes several times as long.

    Args:
        plane: height × width.
        ranks: each below the number of pixels.
        mask: of the same shape, non-zero where a pixel takes part; None for all.
    """
    return [int(level) for level in np.searchsorted(cumulative(plane, mask), ranks, side="right")]


def cumulative(plane: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> NDArray[np.float64]:
    """How many pixels, of all or of those in a mask, are of each of the 256 brightnesses or darker."""
    rows = max(1, _COUNTED_EXACTLY // plane.shape[1])
    counts = sum(
        cv2.calcHist(
            [plane[top : top + rows]], [0], None if mask is None else mask[top : top + rows], [256], [0, 256]
        )
        for top in range(0, plane.shape[0], rows)
    )
    return np.cumsum(counts, dtype=np.float64)


def ranked(values: NDArray[Any], share: float) -> float:
    """The value that a share, 0 to below 1, of all `values` (one dimension, not empty) does not exceed."""
    rank = int(values.size * share)
    # One rank at a time: for several NumPy leaves its vector instructions, and on pixels that it has not just seen
    # takes ten times as long.
    return float(np.partition(values, rank)[rank])


def middle_and_rank(values: NDArray[Any], rank: int) -> tuple[Any, Any, Any]:
    """The two middle values, which are one where their number is odd, and that at a rank not below the middle.

    Args:
        values: one dimension, not empty.
        rank: from half their number to one less than it.
    """
    half = values.size // 2
    parted = np.partition(values, half)
    upper = parted[half]
    lower = upper if values.size % 2 else parted[:half].max()
    return lower, upper, np.partition(parted[half:], rank - half)[rank - half]


@lru_cache(maxsize=64)
def disc(across: int) -> NDArray[np.uint8]:
    """A round kernel, so many pixels wide, for opening and closing."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)), np.uint8)


def _plane_density(plane: NDArray[np.uint8], plasma: float) -> Plane:
    return np.asarray(
        cv2.LUT(cv2.GaussianBlur(plane, (3, 3), 0), _LOG + np.float32(np.log((plasma + 1) / 256)))
    )
