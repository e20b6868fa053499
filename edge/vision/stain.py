"""One stain for all sites: the colours of a field brought to those of a reference, by two things every smear has.

In optical density a stain is a direction, and a field shows two of them pure: its red cells and the nuclei of its
white cells. The linear map that takes this field's two to the reference's takes everything between them along,
cytoplasm and granules too. (Macenko et al. 2009, ISBI, and Reinhard et al. 2001 match whole pictures, and so
mix what is stained with how many of which cells happen to lie in view; anchors do not.)
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Background, Box, Field, Image
from edge.vision.density import cumulative, disc, ranked

Vector = NDArray[np.float32]
"""Optical densities of red, green and blue light; natural logarithm."""

Map = NDArray[np.float32]
"""3 × 3, from a field's densities to the reference's."""

Part = tuple[slice, slice]
"""Rows and columns of a picture."""

_WHOLE: Final = slice(None), slice(None)

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
    strength = np.sqrt(_length(stains.nucleus) / _length(_NUCLEUS))
    here = _frame_of(stains.nucleus, stains.red_cell)
    there = _frame_of(_NUCLEUS * strength, _RED_CELL)
    # OpenBLAS leaves floating-point flags behind on arm64, which NumPy takes for an overflow in this product.
    with np.errstate(all="ignore"):
        found = there @ np.linalg.inv(here)
    if not np.isfinite(found).all() or _gain_exceeds(found, _LARGEST_GAIN):
        return None
    return np.asarray(found, np.float32)


def stains_of(field: Field) -> Stains | None:
    """The densities of a field's nuclei and red cells; None where either cannot be told."""
    if field.scale is None or not field.boxes:
        return None
    image = field.frame.image
    factor = max(1, int(1 / (field.scale.um_per_pixel * _WORK_PX_PER_UM)))
    # Single pixels in place of means: a middle over thousands comes out the same, at a tenth of the time.
    planes = np.ascontiguousarray(image[::factor, ::factor].transpose(2, 0, 1))
    small = _Planes(planes, _of_levels(field.background))
    px_per_um = 1 / (field.scale.um_per_pixel * factor)
    shape = planes.shape[1:]
    nucleus = _nucleus(small, [_scaled(box, factor, 0, shape) for box in field.boxes])
    if nucleus is None:
        return None
    red_cell = _red_cell(
        small, [_scaled(b, factor, _AROUND_UM * px_per_um, shape) for b in field.boxes], px_per_um
    )
    if red_cell is None:
        return None
    cosine = float(nucleus @ red_cell / (_length(nucleus) * _length(red_cell)))
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


def _of_levels(plasma: Background) -> NDArray[np.float32]:
    """The density of each of the 256 levels, by channel."""
    levels = np.log(np.array(plasma, np.float32) + 1) - np.log(np.arange(256, dtype=np.float32) + 1)[:, None]
    return np.ascontiguousarray(levels.T, np.float32)


class _Planes:
    """A picture by its channels, as brightness and as density.

    Densities are ranked by counting levels: a channel's density falls with its level, strictly.

    Args:
        levels: 3 × height × width, uint8.
        of_levels: 3 × 256, the density of each level.
    """

    def __init__(self, levels: NDArray[np.uint8], of_levels: NDArray[np.float32]) -> None:
        self._levels = levels
        self._of_levels = of_levels
        self.green, self.blue = (
            np.asarray(cv2.LUT(levels[channel], of_levels[channel]), np.float32) for channel in (1, 2)
        )

    def middle(self, parts: list[tuple[Part, NDArray[np.uint8]]]) -> Vector:
        """The median of each channel's density.

        Args:
            parts: of the picture, each with a mask of its shape, non-zero where a pixel counts. Where they overlap
                it counts as often. At least one pixel must count.
        """
        found = []
        for channel, table in zip(self._levels, self._of_levels, strict=True):
            up_to = np.sum([cumulative(channel[part], mask) for part, mask in parts], axis=0)
            count = int(up_to[-1])
            a, b = table[np.searchsorted(up_to, [(count - 1) // 2, count // 2], side="right")]
            found.append((a + b) / 2)
        return np.array(found, np.float32)


def _nucleus(picture: _Planes, boxes: list[Part]) -> Vector | None:
    """The middle of what takes most nuclear stain, green less blue, in the white cells' boxes."""
    boxes = [box for box in boxes if picture.green[box].size]
    stains = [picture.green[box] - picture.blue[box] for box in boxes]
    if sum(stain.size for stain in stains) < 16:
        return None
    every = np.concatenate([stain.ravel() for stain in stains])
    least = 0.6 * ranked(every, 0.9)
    if not (every > least).any():
        return None
    chosen = [(box, (stain > least).astype(np.uint8)) for box, stain in zip(boxes, stains, strict=True)]
    middle = picture.middle(chosen)
    return middle if middle[1] > _LEAST_NUCLEUS else None


def _red_cell(picture: _Planes, boxes: list[Part], px_per_um: float) -> Vector | None:
    """The middle of what is solid, dense and no white cell."""
    green = picture.green.copy()
    for box in boxes:
        green[box] = 0
    # Nuclei of cells that were not located and platelets take green light and little blue.
    nuclear = green - picture.blue > np.maximum(0.5 * green, 0.2)
    mask = ((green > _LEAST_RED) & ~nuclear).view(np.uint8)
    solid = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(max(1, round(_SOLID_UM * px_per_um)))).view(bool)
    if np.count_nonzero(solid) < _LEAST_RED_UM2 * px_per_um**2:
        return None
    dense = solid & (green > 0.6 * ranked(green[solid], 0.9))
    middle = picture.middle([(_WHOLE, dense.view(np.uint8))])
    return middle if middle[0] > _LEAST_RED_IN_RED else None


def _scaled(box: Box, factor: int, around: float, shape: tuple[int, ...]) -> Part:
    left, top = box.left / factor - around, box.top / factor - around
    right, bottom = (box.left + box.width) / factor + around, (box.top + box.height) / factor + around
    return (
        slice(max(0, int(top)), min(shape[0], int(bottom) + 1)),
        slice(max(0, int(left)), min(shape[1], int(right) + 1)),
    )


def _frame_of(nucleus: Vector, red_cell: Vector) -> Map:
    """The anchors and the direction across both, as columns."""
    (a, b, c), (d, e, f) = nucleus, red_cell
    across = np.array([b * f - c * e, c * d - a * f, a * e - b * d], np.float32)
    return np.stack([nucleus, red_cell, 0.3 * across / _length(across)], axis=1)


def _length(vector: Vector) -> np.float32:
    """Of a vector; `np.linalg.norm` says the same and asks more."""
    length: np.float32 = np.sqrt(vector @ vector)
    return length


def _gain_exceeds(change: Map, limit: float) -> bool:
    """Whether a map lengthens any direction by more than so much."""
    # The root of the squares' sum is no less, and mostly settles it.
    return float(_length(change.ravel())) > 0.999 * limit and bool(np.linalg.norm(change, 2) > limit)
