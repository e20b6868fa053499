"""The one crop: a located cell as every model sees it, in training, conversion and on the device.

A square of 20 µm around the cell, its plasma brought to one white, at the model's input size. Where no
scale is known, the cell's own width stands in for it; where no cell was located, the picture is the cell.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.records import Background, Box, Cell, Field, Image, Scale, ScaleSource, View
from edge.vision.quality import quality

CROP_UM = 20.0
"""Side of the crop in micrometres: a large monocyte with its surroundings."""

_CELL_UM = 13.3  # width of a typical white cell on a smear, where nothing else gives the scale
_WHITE = 240  # what plasma becomes; the headroom keeps bright granules and halos from clipping
_SINGLE_CELL_PX = 400  # a picture no larger than this, in which no cell is found, is one cell's portrait


def cells_of(field: Field, *, view: View = "auto", size: int) -> tuple[Cell, ...]:
    """Cut every located cell out of a field.

    Args:
        field: as `locate` made it.
        view: with `cell`, or with `auto` on a small picture without located cells, the whole picture is
            taken as one cell.
        size: side of the model's input in pixels.
    """
    if field.boxes:
        return tuple(_cell(field, index, box, size) for index, box in enumerate(field.boxes))
    height, width = field.frame.image.shape[:2]
    if view == "cell" or (view == "auto" and max(height, width) <= _SINGLE_CELL_PX):
        return (_whole(field, size),)
    return ()


def central(cells: tuple[Cell, ...]) -> Cell | None:
    """The cell nearest the middle of its frame: the one that a picture's single label speaks of."""

    def off_centre(cell: Cell) -> float:
        height, width = cell.field.frame.image.shape[:2]
        x, y = cell.box.centre if cell.box else (width / 2, height / 2)
        return float((x - width / 2) ** 2 + (y - height / 2) ** 2)

    return min(cells, key=off_centre, default=None)


def _cell(field: Field, index: int, box: Box, size: int) -> Cell:
    image = field.frame.image
    height, width = image.shape[:2]
    scale = field.scale or Scale(_CELL_UM / max(box.width, box.height), ScaleSource.CELL)
    x, y = box.centre
    crop = square(image, x, y, CROP_UM / scale.um_per_pixel, size, field.background)
    cut_off = not (
        box.left > 0 and box.top > 0 and box.left + box.width < width and box.top + box.height < height
    )
    return Cell(field, index, box, crop, scale, cut_off, quality(crop, field.background))


def _whole(field: Field, size: int) -> Cell:
    image = field.frame.image
    height, width = image.shape[:2]
    crop = square(image, width / 2, height / 2, max(height, width), size, field.background)
    return Cell(field, 0, None, crop, None, False, quality(crop, field.background))


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
    levels = np.arange(256, dtype=np.float32)[:, None] * (_WHITE / np.array(plasma, np.float32))
    return np.asarray(np.clip(levels + 0.5, 0, 255), np.uint8)[None]
