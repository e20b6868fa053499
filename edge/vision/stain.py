"""One stain for all sites: the colours of a field brought to those of a reference, by two things every smear has.

In optical density a stain is a direction, and a field shows two of them pure: its red cells and the nuclei of its
white cells. The linear map that takes this field's two to the reference's takes everything between them along,
cytoplasm and granules too. (Macenko et al. 2009, ISBI, and Reinhard et al. 2001 match whole pictures, and so
mix what is stained with how many of which cells happen to lie in view; anchors do not.)
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Background, Box, Field, Image
from edge.vision.density import ranked

Vector = NDArray[np.float32]
"""Optical densities of red, green and blue light; natural logarithm."""

Map = NDArray[np.float32]
"""3 × 3, from a field's densities to the reference's."""

# Medians over validation pictures of Acevedo, May-Grünwald-Giemsa on a CellaVision DM96 (bench/stain.py).
_NUCLEUS = np.array([1.10, 1.78, 0.405], np.float32)
_RED_CELL = np.array([0.228, 0.333, 0.205], np.float32)

_WHITE = 240  # what plasma is in a crop, see `vision.crop`
_WORK_PX_PER_UM = 2.5
_AROUND_UM = 2.0  # kept clear of red cells around a white cell's box
_SOLID_UM = 1.6  # a red cell is solid over this width at least, a bare outline or dirt is not
_LEAST_RED_UM2 = 60.0  # of solid red cell, one and a half cells, or the field has too few to tell
_LEAST_RED = 0.08  # density of green light in a red cell …
_LEAST_RED_IN_RED = 0.03  # … and of red light; washed out, red cells are ghosts that tell nothing
_LEAST_NUCLEUS = 0.3  # and in a nucleus
_LEAST_ANGLE = 0.2  # radians between the two directions; nearer, and the map would invent colours
_LARGEST_GAIN = 6.0  # of the map in any direction; beyond it mostly noise would be seen


class Stains(NamedTuple):
    """The two anchors of a field."""

    nucleus: Vector
    red_cell: Vector


def stain_map(field: Field) -> Map | None:
    """What brings a field's stain to the reference's; None where it does not show enough of either anchor.

    How dense its nuclei are is kept by half (in the logarithm): some of it is how the site stains, and some
    which cells these are.
    """
    stains = stains_of(field)
    if stains is None:
        return None
    strength = np.sqrt(np.linalg.norm(stains.nucleus) / np.linalg.norm(_NUCLEUS))
    here = _frame_of(stains.nucleus, stains.red_cell)
    there = _frame_of(_NUCLEUS * strength, _RED_CELL)
    # OpenBLAS leaves floating-point flags behind on arm64, which NumPy takes for an overflow in this product.
    with np.errstate(all="ignore"):
        found = there @ np.linalg.inv(here)
    if not np.isfinite(found).all() or np.linalg.norm(found, 2) > _LARGEST_GAIN:
        return None
    return np.asarray(found, np.float32)


def stains_of(field: Field) -> Stains | None:
    """The densities of a field's nuclei and red cells; None where either cannot be told."""
    if field.scale is None or not field.boxes:
        return None
    image = field.frame.image
    factor = max(1, int(1 / (field.scale.um_per_pixel * _WORK_PX_PER_UM)))
    # Single pixels in place of means: a middle over thousands comes out the same, at a tenth of the time.
    small = np.ascontiguousarray(image[::factor, ::factor])
    density = _density(small, field.background)
    px_per_um = 1 / (field.scale.um_per_pixel * factor)
    nucleus = _nucleus(density, [_scaled(box, factor, 0, small.shape) for box in field.boxes])
    red_cell = _red_cell(
        density, [_scaled(b, factor, _AROUND_UM * px_per_um, small.shape) for b in field.boxes], px_per_um
    )
    if nucleus is None or red_cell is None:
        return None
    cosine = float(nucleus @ red_cell / (np.linalg.norm(nucleus) * np.linalg.norm(red_cell)))
    return Stains(nucleus, red_cell) if np.arccos(np.clip(cosine, -1, 1)) > _LEAST_ANGLE else None


def matched(crop: Image, change: Map) -> Image:
    """A crop, its plasma at white, in the reference's stain.

    Returns:
        The same shape, uint8, read-only.
    """
    density = cv2.LUT(crop, _DENSITY)
    light = cv2.exp(cv2.transform(density, -change))
    picture = np.asarray(cv2.convertScaleAbs(light, alpha=_WHITE + 1.0, beta=-1.0), np.uint8)
    picture.flags.writeable = False
    return picture


_DENSITY = (np.log(_WHITE + 1.0) - np.log(np.arange(256) + 1.0)).astype(np.float32)[None]


def _density(image: Image, plasma: Background) -> NDArray[np.float32]:
    levels = np.log(np.array(plasma, np.float32) + 1) - np.log(np.arange(256, dtype=np.float32) + 1)[:, None]
    return np.asarray(cv2.LUT(image, levels[None].astype(np.float32)), np.float32)


def _nucleus(density: NDArray[np.float32], boxes: list[tuple[slice, slice]]) -> Vector | None:
    """The middle of what takes most nuclear stain, green less blue, in the white cells' boxes."""
    pixels = np.concatenate([density[box].reshape(-1, 3) for box in boxes])
    if len(pixels) < 16:
        return None
    stain = pixels[:, 1] - pixels[:, 2]
    chosen = pixels[stain > 0.6 * ranked(stain, 0.9)]
    middle = _middle(chosen) if len(chosen) else np.zeros(3, np.float32)
    return middle if middle[1] > _LEAST_NUCLEUS else None


def _red_cell(
    density: NDArray[np.float32], boxes: list[tuple[slice, slice]], px_per_um: float
) -> Vector | None:
    """The middle of what is solid, dense and no white cell."""
    green = density[..., 1].copy()
    for box in boxes:
        green[box] = 0
    # Nuclei of cells that were not located and platelets take green light and little blue.
    nuclear = green - density[..., 2] > np.maximum(0.5 * green, 0.2)
    mask = ((green > _LEAST_RED) & ~nuclear).astype(np.uint8)
    reach = max(1, round(_SOLID_UM * px_per_um))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    solid = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel) > 0
    if np.count_nonzero(solid) < _LEAST_RED_UM2 * px_per_um**2:
        return None
    dense = solid & (green > 0.6 * ranked(green[solid], 0.9))
    middle = _middle(density[dense])
    return middle if middle[0] > _LEAST_RED_IN_RED else None


def _middle(pixels: NDArray[np.float32]) -> Vector:
    """The median of each channel, of n × 3."""
    return np.asarray(np.median(np.ascontiguousarray(pixels.T), axis=1), np.float32)


def _scaled(box: Box, factor: int, around: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    left, top = box.left / factor - around, box.top / factor - around
    right, bottom = (box.left + box.width) / factor + around, (box.top + box.height) / factor + around
    return (
        slice(max(0, int(top)), min(shape[0], int(bottom) + 1)),
        slice(max(0, int(left)), min(shape[1], int(right) + 1)),
    )


def _frame_of(nucleus: Vector, red_cell: Vector) -> Map:
    """The anchors and the direction across both, as columns."""
    across = np.cross(nucleus, red_cell)
    return np.stack([nucleus, red_cell, 0.3 * across / np.linalg.norm(across)], axis=1)
