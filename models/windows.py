"""Pictures → the windows that training draws its crops from.

A window is the device's own crop, `vision.crop.square`, one and a half times as wide and at the same
pixels a micrometre: turning, shifting and zooming then find real surroundings, and the middle of a window
is what the device would feed the model. Where the stain is matched, one window in four is left as it came: a
device meets pictures that show no red cells, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError, InputError
from edge.pictures.images import load
from edge.records import Box, Frame, Image
from edge.vision.crop import CROP_UM, PORTRAIT_PX, cells_of, central, square
from edge.vision.locate import locate
from edge.vision.stain import matched, stain_map
from models.datasets import Item

MARGIN = 1.5
"""Width of a window over the width of a crop."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of a set of pictures.

    Attributes:
        items: what each was cut from.
        images: n × side × side × 3 uint8, plasma balanced to white; side is `MARGIN` × the input size.
        crops: n × size × size × 3 uint8, exactly what the device feeds the model with `--view auto`.
        whole: n × size × size × 3 uint8, the same for `--view cell`; of a picture too large to be a portrait, the
            located crop again.
        boxed: n booleans, whether the cell was located.
    """

    items: tuple[Item, ...]
    images: Image
    crops: Image
    whole: Image
    boxed: NDArray[np.bool_]


def cut(items: Sequence[Item], size: int, *, match_stain: bool = False, workers: int = 2) -> Windows:
    """Locate the labelled cell of every picture and cut its window.

    In a picture with several cells the one nearest the middle is the labelled one, or the one in the label's
    box; where nothing was located in that, the box itself is the cell. Pictures that cannot be read are left out.

    Args:
        items: labelled pictures.
        size: side of the model's input, in pixels.
        match_stain: as the model will see its crops, see `vision.stain`.
        workers: threads that share the work.

    Raises:
        DataError: there are no pictures, or none of them can be read.
    """
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(workers) as pool:
        rows = [row for row in pool.map(lambda item: _cut(item, size, match_stain), items) if row]
    if not rows:
        raise DataError(f"none of {len(items)} labelled pictures can be read")
    kept, windows, crops, whole, boxed = zip(*rows, strict=True)
    return Windows(kept, np.stack(windows), np.stack(crops), np.stack(whole), np.array(boxed))


def inside(box: Box, height: int, width: int) -> Box | None:
    """The part of a box that is in a picture; None where none is."""
    left, top = max(0, box.left), max(0, box.top)
    right, bottom = min(width, box.left + box.width), min(height, box.top + box.height)
    return Box(left, top, right - left, bottom - top) if left < right and top < bottom else None


def _cut(item: Item, size: int, match_stain: bool) -> tuple[Item, Image, Image, Image, bool] | None:
    try:
        frame = Frame.of(load(item.path), 0, datetime.now(UTC), item.path.name)
    except InputError:
        return None
    field = locate(frame)
    height, width = frame.image.shape[:2]
    cells = cells_of(field, size=size, match_stain=match_stain)
    if item.box is None:
        portrait = cells_of(replace(field, boxes=()), view="cell", size=size)[0]
        cell = central(cells) or portrait
        if max(height, width) > PORTRAIT_PX:
            portrait = cell
    else:
        marked = inside(item.box, height, width)
        if marked is None:
            return None
        cell = (
            central(cells, marked)
            or cells_of(replace(field, boxes=(marked,)), size=size, match_stain=match_stain)[0]
        )
        portrait = cell  # a field is never one cell, whole
    if cell.box is not None and cell.scale is not None:
        (x, y), side = cell.box.centre, CROP_UM / cell.scale.um_per_pixel
    else:
        x, y, side = width / 2, height / 2, float(max(height, width))
    window = square(frame.image, x, y, MARGIN * side, round(MARGIN * size), field.background)
    left_alone = int(item.digest[-2:], 16) % 4 == 0
    change = stain_map(field) if match_stain and cell.box is not None and not left_alone else None
    window = window if change is None else matched(window, change)
    return item, window, cell.crop, portrait.crop, cell.box is not None
