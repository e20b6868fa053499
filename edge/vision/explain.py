"""What the model looked at: as a map, and drawn over the cell. Pure: arrays in, an array out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.records import Image

Floats = NDArray[np.float32]

_GRID = 8  # patches side by side
_PLASMA = 240  # the grey that every crop's plasma is brought to, see `vision.crop`


def strength(evidence: Floats) -> Floats:
    """Evidence for a class as a map of 0 (none, or against it) to 1 (most)."""
    positive = np.maximum(evidence, 0)
    return np.asarray(positive / max(float(positive.max()), 1e-6), np.float32)


def occlusion(crop: Image, score: Callable[[Image], float]) -> Floats:
    """Which parts of a crop a score rests on: those without which it falls (Zeiler & Fergus 2014, arXiv:1311.2901).

    Patches as wide as a quarter of the crop are laid over it, an eighth apart, in the colour of plasma: as
    if that part of the cell were not there. Each point gets the mean loss over the patches that cover it.

    Args:
        crop: the model's input, size × size × 3 uint8 R, G, B.
        score: what the model gives a crop; called 82 times at most.

    Returns:
        8 × 8, or size × size where the crop is smaller, 0 to 1.
    """
    size = len(crop)
    grid = min(_GRID, size)
    edges = np.linspace(0, size, grid + 1).round().astype(int)
    whole = score(crop)
    loss, covered = np.zeros((grid, grid)), np.zeros((grid, grid))
    # A patch covers two cells of the grid either way; one that hangs over the border covers a single one.
    for row in range(-1, grid):
        for column in range(-1, grid):
            rows, columns = slice(max(row, 0), row + 2), slice(max(column, 0), column + 2)
            patched = crop.copy()
            bottom, right = min(row + 2, grid), min(column + 2, grid)
            patched[edges[rows.start] : edges[bottom], edges[columns.start] : edges[right]] = _PLASMA
            loss[rows, columns] += whole - score(patched)
            covered[rows, columns] += 1
    return strength(np.asarray(loss / covered, np.float32))


def overlay(crop: Image, heat: Floats, *, side: int = 360) -> Image:
    """Lay a map over a crop, from clear (nothing) over yellow to red (most).

    Args:
        crop: the model's input, height × width × 3 uint8 R, G, B.
        heat: any size, 0 to 1; it is stretched over the crop.
        side: height and width of the answer, in pixels.

    Returns:
        The crop beside the same with the heat: side × 2·side × 3 uint8.
    """
    import cv2

    large = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    opacity = np.clip(cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)[:, :, np.newaxis]
    colour = np.concatenate([np.full_like(opacity, 255), 255 * (1 - opacity), np.zeros_like(opacity)], axis=2)
    alpha = 0.65 * opacity
    heated = np.round(large * (1 - alpha) + colour * alpha).astype(np.uint8)
    return np.concatenate([large, heated], axis=1)
