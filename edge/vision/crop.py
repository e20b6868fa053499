"""The one crop: a located cell as every model sees it, in training, conversion and on the device.

A square of 20 µm around the cell, its plasma brought to one white and, for models that want it, its stain
to the reference's (`vision.stain`), at the model's input size. Where no scale is known, the cell's own width
stands in for it; where no cell was located, the picture is the cell.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edge.records import Background, Box, Cell, Field, Image, Scale, ScaleSource, View
from edge.vision.quality import quality
from edge.vision.stain import Map, matched, stain_map

CROP_UM = 20.0
"""Side of the crop in micrometres: a large monocyte with its surroundings."""

_CELL_UM = 13.3  # width of a typical white cell on a smear, where nothing else gives the scale
_WHITE = 240  # what plasma becomes; the headroom keeps bright granules and halos from clipping
PORTRAIT_PX = 400
"""Longest side of a portrait: a picture no larger, in which no cell is found, is one cell."""

# So is one with a cell of this share of its side and no red cell to tell the scale: a camera's portraits
# are all taken at one zoom, which keeps a monocyte larger than a lymphocyte; scaling by the cell does not.
_PORTRAIT_SHARE = 0.25, 0.85


def cells_of(field: Field, *, view: View = "auto", size: int, match_stain: bool = False) -> tuple[Cell, ...]:
    """Cut every located cell out of a field.

    Args:
        field: as `locate` made it.
        view: with `cell`, or with `auto` on a small picture that shows a cell or none that can be located and
            nothing to tell the scale, the whole picture is taken as one cell.
        size: side of the model's input in pixels.
        match_stain: bring the stain to the reference's where the field shows enough of its own.
    """
    if view == "auto" and _is_portrait(field):
        return (_whole(field, size),)
    if field.boxes:
        change = stain_map(field) if match_stain else None
        return tuple(_cell(field, index, box, size, change) for index, box in enumerate(field.boxes))
    height, width = field.frame.image.shape[:2]
    if view == "cell" or (view == "auto" and max(height, width) <= PORTRAIT_PX):
        return (_whole(field, size),)
    return ()


def central(cells: tuple[Cell, ...], within: Box | None = None) -> Cell | None:
    """The cell that a label speaks of.

    Args:
        cells: of one frame.
        within: where the labelled cell is: the cell whose middle is in it, and nearest to its middle. None
            where the picture has a single label, which speaks of the cell nearest the middle of the frame.
    """

    def off_centre(cell: Cell) -> float:
        height, width = cell.field.frame.image.shape[:2]
        x, y = cell.box.centre if cell.box else (width / 2, height / 2)
        middle_x, middle_y = within.centre if within else (width / 2, height / 2)
        return float((x - middle_x) ** 2 + (y - middle_y) ** 2)

    return min(
        (cell for cell in cells if within is None or _is_in(cell, within)), key=off_centre, default=None
    )


def _is_in(cell: Cell, box: Box) -> bool:
    """Whether a located cell's middle is in a box."""
    if cell.box is None:
        return False
    x, y = cell.box.centre
    return box.left <= x <= box.left + box.width and box.top <= y <= box.top + box.height


def _is_portrait(field: Field) -> bool:
    """Whether the only thing that tells the scale of a picture is the picture."""
    height, width = field.frame.image.shape[:2]
    if field.scale is not None or not field.boxes or max(height, width) > PORTRAIT_PX:
        return False
    # Without a scale the lobes of one nucleus may pass for cells: what counts is what they cover together.
    across = max(box.left + box.width for box in field.boxes) - min(box.left for box in field.boxes)
    down = max(box.top + box.height for box in field.boxes) - min(box.top for box in field.boxes)
    low, high = _PORTRAIT_SHARE
    return bool(low <= max(across, down) / max(height, width) <= high)


def _cell(field: Field, index: int, box: Box, size: int, change: Map | None) -> Cell:
    image = field.frame.image
    height, width = image.shape[:2]
    scale = field.scale or Scale(_CELL_UM / max(box.width, box.height), ScaleSource.CELL)
    x, y = box.centre
    picture = square(image, x, y, CROP_UM / scale.um_per_pixel, size, field.background)
    crop = picture if change is None else matched(picture, change)
    return Cell(
        field,
        index,
        box,
        crop,
        scale,
        _touches_edge(box, width, height),
        quality(picture, field.background),
        picture,
    )


def _whole(field: Field, size: int) -> Cell:
    image = field.frame.image
    height, width = image.shape[:2]
    crop = square(image, width / 2, height / 2, max(height, width), size, field.background)
    cut_off = any(_touches_edge(box, width, height) for box in field.boxes)
    return Cell(field, 0, None, crop, None, cut_off, quality(crop, field.background), crop)


def _touches_edge(box: Box, width: int, height: int) -> bool:
    return not (
        box.left > 0 and box.top > 0 and box.left + box.width < width and box.top + box.height < height
    )


def square(image: Image, x: float, y: float, side: float, size: int, plasma: Background) -> Image:
    """A square of a picture at another size, with its plasma brought to one white.

    Args:
        image: height × width × 3 uint8 R, G, B.
        x: middle of the square, in pixels from the left.
        y: middle of the square, in pixels from the top.
        side: of the square, in pixels of `image`; what lies outside is plasma.
        size: of the result, in pixels.
        plasma: the field's background.

    Returns:
        size × size × 3 uint8, read-only.
    """
    height, width = image.shape[:2]
    edge = max(1, round(side))
    left, top = round(x - side / 2), round(y - side / 2)
    right, bottom = left + edge, top + edge
    inside = image[max(0, top) : max(0, min(height, bottom)), max(0, left) : max(0, min(width, right))]
    if inside.shape[:2] != (edge, edge):
        margins = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
        inside = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_CONSTANT, value=plasma)
    crop = _resized(inside, size)
    balanced = np.asarray(cv2.LUT(crop, _balance(plasma)), np.uint8)
    balanced.flags.writeable = False
    return balanced


def _resized(image: Image, size: int) -> Image:
    """A square picture at another size. Averaging whole blocks of pixels is five times as fast as averaging
    fractions of them, so a picture is first brought to a multiple of the size, twice at least, that is near."""
    if image.shape[0] <= size:
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)
    blocks = max(2, image.shape[0] // size) * size
    spread = cv2.resize(image, (blocks, blocks), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(spread, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _balance(plasma: Background) -> Image:
    """A lookup table, 1 × 256 × 3, that scales each channel so that the plasma becomes white."""
    return np.stack([_scaled_levels(level) for level in plasma], axis=-1)[None]


@lru_cache(maxsize=1024)  # a plasma's brightness is nearly always a whole number
def _scaled_levels(plasma: float) -> Image:
    """What each level of a channel becomes."""
    levels = np.arange(256, dtype=np.float32) * (_WHITE / np.array([plasma], np.float32))
    return np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)
