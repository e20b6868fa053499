"""What the model looked at, drawn over the cell. Pure: arrays in, an array out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.records import Image


def overlay(crop: Image, heat: NDArray[np.float32], *, side: int = 360) -> Image:
    """Lay a class activation map over a crop, from clear (nothing) over yellow to red (most).

    Args:
        crop: the model's input, height × width × 3 uint8 R, G, B.
        heat: any size, 0 to 1; it is stretched over the crop.
        side: height and width of the answer, in pixels.

    Returns:
        The crop beside the same with the heat: side × 2·side × 3 uint8.
    """
    import cv2

    large = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    strength = np.clip(cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)[:, :, np.newaxis]
    colour = np.concatenate(
        [np.full_like(strength, 255), 255 * (1 - strength), np.zeros_like(strength)], axis=2
    )
    alpha = 0.65 * strength
    heated = np.round(large * (1 - alpha) + colour * alpha).astype(np.uint8)
    return np.concatenate([large, heated], axis=1)
