"""Optical density against the field's own background: what stain and light leave once the lamp is divided out.

Beer and Lambert: a stain's density adds up where layers overlap, and does not depend on the lamp's
brightness. The background is each channel's own bright plasma, so white balance cancels too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Background, Image

Density = NDArray[np.float32]
"""Height × width × 3, natural logarithm; 0 is background, a nucleus reaches 0.5 to 2.5."""

_LOG = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)
_PLASMA = 92  # percentile of brightness taken as plasma; the brightest few are reflections and dust


def reduce(image: Image, factor: float) -> Image:
    """Shrink by `factor` (at least 1), each new pixel the mean of those it covers."""
    if factor <= 1:
        return image
    height, width = image.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def background(image: Image) -> Background:
    """Brightness of the plasma between the cells, channel by channel, from a few thousand pixels."""
    stride = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / 4096)))
    sample = image[::stride, ::stride].reshape(-1, 3)
    rank = int((len(sample) - 1) * _PLASMA / 100)
    plasma = np.partition(sample, rank, axis=0)[rank].astype(float)
    return Background(*np.maximum(plasma, 1.0))


def optical_density(image: Image, plasma: Background) -> Density:
    """Density of each pixel and channel above the field's background.

    Args:
        image: height × width × 3 uint8 R, G, B.
        plasma: the field's background.
    """
    tables = np.stack([_LOG + np.float32(np.log((level + 1) / 256)) for level in plasma], axis=-1)
    return np.asarray(cv2.LUT(cv2.GaussianBlur(image, (3, 3), 0), tables[None]), np.float32)


def nuclear_stain(density: Density) -> NDArray[np.float32]:
    """What nuclei take up and red cells do not, height × width.

    Chromatin binds azure dyes that absorb green more than blue, haemoglobin absorbs blue at least as
    much as green: the difference separates them on May-Grünwald-Giemsa, Wright and rapid stains alike.
    It is also blind to uneven illumination, which changes both channels by the same density.
    """
    return np.asarray(cv2.subtract(density[..., 1], density[..., 2]), np.float32)
