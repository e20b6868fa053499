"""Find the white cells of a field: their nuclei by stain, joined and parted, grown to the cell.

The field is reduced to a few pixels a micrometre, which is all that finding needs; boxes come back in
pixels of the frame. What a micrometre is, the calibration says, else the field's red cells, else the
nuclei themselves, which are about 9 µm wide.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import combinations, count
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Background, Box, Field, Frame, Scale, ScaleSource, View
from edge.vision.density import Density, Plane, background, disc, middle_and_rank, optical_density, ranked
from edge.vision.scale import RED_CELL_UM, red_cell_width

_WORK_SIZE = 160  # longest side, in pixels, of the first look at a field of unknown scale
_WORK_PX_PER_UM = 3.0
_LEAST_RED_CELL_PX = 13.0  # under this the first look was too coarse for the ruler
_NUCLEUS_UM = 9.0  # width of the hull of a typical nucleus

_RIM_UM = 1.5  # cytoplasm around the nucleus
_JOIN_UM = 0.65  # half the width of the cracks inside one nucleus
_LOBE_UM2 = 3.0  # smaller specks are not even a lobe
_LARGEST_LOBE_UM2 = 10.0  # a nucleus has at least one lobe of this size; a clump of platelets has none
_NUCLEUS_UM2 = 18.0  # the smallest nucleus; large platelets stay under 12
_LOBE_GAP_UM = 3.5  # lobes of one nucleus lie nearer than this …
_LOBES_SPAN_UM = 15.0  # … and within a circle of this diameter
_TOUCHING_UM2 = 75.0  # from this area on two nuclei may have run together
_CORE_RADIUS_UM = 2.9  # a lobe is thinner than this, a whole nucleus is not
_CORES_APART_UM = 6.5
_LEAST_STAIN = 0.15  # density by which a nucleus exceeds the field …
_ABOVE_RED = 0.29  # … and the red cells, of which empty fields show up to 0.26 more, those with nuclei 0.33

Points = NDArray[np.int32]


class _Part(NamedTuple):
    """A connected piece of stain: its outline (n × 2, x and y), its area and that of its largest lobe, in pixels."""

    outline: Points
    area: float
    largest: float


def locate(frame: Frame, *, view: View = "auto", um_per_pixel: float | None = None) -> Field:
    """Find every white cell of a frame.

    Args:
        frame: any size; at least one white cell's width should fit into it.
        view: with `cell` nothing is searched and the field has no boxes.
        um_per_pixel: the calibrated scale in micrometres per pixel; None to read it off the red cells.

    Returns:
        The field with a box for each white cell, from top to bottom.
    """
    calibrated = Scale(um_per_pixel, ScaleSource.CONFIGURATION) if um_per_pixel else None
    plasma = background(frame.image)
    if view == "cell":
        return Field(frame, plasma, calibrated, ())
    if calibrated:
        factor = max(1, int(1 / (calibrated.um_per_pixel * _WORK_PX_PER_UM)))
        density = optical_density(frame.image, plasma, factor)
        scale: Scale | None = calibrated
    else:
        density, factor, scale = _measured(frame, plasma)
    if scale:
        boxes = _boxes(density, 1 / (scale.um_per_pixel * factor), red_cells=True)
    else:
        px_per_um = _px_per_um_of_nuclei(density.nuclear)
        boxes = _boxes(density, px_per_um, red_cells=False) if px_per_um else []
    height, width = frame.image.shape[:2]
    found = sorted(
        (_enlarge(box, factor, width, height) for box in boxes), key=lambda box: (box.top, box.left)
    )
    return Field(frame, plasma, scale, tuple(found))


def _measured(frame: Frame, plasma: Background) -> tuple[Density, int, Scale | None]:
    """The reduced density, the factor of reduction, and the scale that the red cells give, if any.

    A field with very many cells is looked at twice: once to learn that they are small, once sharply.
    """
    longest = max(frame.image.shape[:2])
    size = _WORK_SIZE if longest <= 1000 else 2 * _WORK_SIZE
    while True:
        factor = -(-longest // size)  # a whole number: whole blocks of pixels are averaged fastest
        density = optical_density(frame.image, plasma, factor)
        width = red_cell_width(density.absorbed, _white_cells(density.nuclear))
        if factor == 1 or size >= 8 * _WORK_SIZE or (width is not None and width >= _LEAST_RED_CELL_PX):
            break
        if width is None and size >= 2 * _WORK_SIZE:
            break
        size *= 2
    if width is None:
        return density, factor, None
    return density, factor, Scale(RED_CELL_UM / (width * factor), ScaleSource.RED_CELLS)


def _rough_mask(stain: Plane) -> NDArray[np.uint8]:
    """Nuclei at unknown scale: stain above the middle between the field's typical and its strongest."""
    sample = stain[::2, ::2].ravel()
    _, typical, strongest = middle_and_rank(sample, int(len(sample) * 0.997))
    middle = typical + max((strongest - typical) / 2, _LEAST_STAIN)
    return np.asarray(stain > middle, np.uint8)


def _hulls(mask: NDArray[np.uint8]) -> list[tuple[Points, float]]:
    """Convex outlines of the pieces that are more than specks, with their enclosing circles' radii."""
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    hulls = [np.asarray(cv2.convexHull(c), np.int32) for c in contours if cv2.contourArea(c) >= 8]
    return [(h, cv2.minEnclosingCircle(h)[1]) for h in hulls]


def _white_cells(stain: Plane) -> NDArray[np.uint8]:
    """Where white cells lie, generously, so that their outlines are not taken for red cells'."""
    cover = np.zeros(stain.shape, np.uint8)
    for hull, radius in _hulls(_rough_mask(stain)):
        cv2.drawContours(cover, [hull], -1, 1, cv2.FILLED)
        cv2.drawContours(cover, [hull], -1, 1, int(0.8 * radius) + 1)
    return cover


def _px_per_um_of_nuclei(stain: Plane) -> float | None:
    """The scale, where nothing else tells it, from the largest nucleus in view. None for an empty field."""
    mask = _rough_mask(stain)
    reach = max(1, max(stain.shape) // 40)
    radii = [radius for _, radius in _hulls(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(2 * reach + 1)))]
    return 2 * max(radii) / _NUCLEUS_UM if radii else None


def _boxes(density: Density, px_per_um: float, *, red_cells: bool) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each white cell, in pixels of the density.

    A field with red cells is empty unless something takes more stain than they do.
    """
    stain = density.nuclear
    um2 = px_per_um * px_per_um
    # The strongest 15 µm² are less than one nucleus: their edge is nuclear stain whenever there is a nucleus.
    rank = min(stain.size - 1, max(int(stain.size - 15 * um2), int(stain.size * 0.9)))
    lower, upper, strong = middle_and_rank(stain.ravel(), rank)
    typical = (lower + upper) / 2
    mask = (stain > (strong + typical) / 2).astype(np.uint8)
    if strong - typical < _LEAST_STAIN or (red_cells and _red_cells_take(strong - _ABOVE_RED, density, mask)):
        return []
    reach = max(1, round(_JOIN_UM * px_per_um))
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(2 * reach + 1)), np.uint8)
    parts = _joined(_parts(mask, px_per_um), px_per_um)
    rim = _RIM_UM * px_per_um
    boxes = []
    for part in parts:
        if part.area >= _NUCLEUS_UM2 * um2 and part.largest >= _LARGEST_LOBE_UM2 * um2:
            (left, top), (right, bottom) = part.outline.min(0), part.outline.max(0) + 1
            boxes.append((left - rim, top - rim, right + rim, bottom + rim))
    return boxes


def _red_cells_take(stain: float, density: Density, mask: NDArray[np.uint8]) -> bool:
    """Whether red cells, the densest 30 % outside of the masked nuclei, take so much nuclear stain in a twentieth."""
    outside = mask == 0
    more = outside & (density.nuclear > stain)
    if np.count_nonzero(more) < 0.05 * 0.3 * np.count_nonzero(outside):
        return False  # as nearly always: then it does not matter which pixels the densest are
    dense = outside & (density.absorbed > ranked(density.absorbed[outside], 0.7))
    return bool(np.count_nonzero(more & dense) > 0.05 * np.count_nonzero(dense))


def _parts(mask: NDArray[np.uint8], px_per_um: float) -> list[_Part]:
    """The connected pieces of a mask, with nuclei that merely touch taken apart."""
    x, y, across, down = cv2.boundingRect(mask)  # nothing needs labels where nothing is
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask[y : y + down, x : x + across])
    parts = []
    for i in range(1, count):
        left, top, width, height, area = stats[i]
        if area < _LOBE_UM2 * px_per_um**2:
            continue
        piece = (labels[top : top + height, left : left + width] == i).astype(np.uint8)
        for split in _taken_apart(piece, area, px_per_um):
            contours = cv2.findContours(split, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
            outline = np.concatenate(contours)[:, 0] + np.array([x + left, y + top])
            size = float(np.count_nonzero(split))
            parts.append(_Part(outline, size, size))
    return parts


def _taken_apart(piece: NDArray[np.uint8], area: int, px_per_um: float) -> list[NDArray[np.uint8]]:
    """One mask for each nucleus in a piece: it has several where it has several thick cores far apart."""
    if area < _TOUCHING_UM2 * px_per_um**2:
        return [piece]
    depth = cv2.distanceTransform(np.pad(piece, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    cores = (depth > max(0.65 * float(depth.max()), 0.9 * _CORE_RADIUS_UM * px_per_um)).astype(np.uint8)
    count, labels, _, centres = cv2.connectedComponentsWithStats(cores)
    thick = [i for i in range(1, count) if depth[labels == i].max() > _CORE_RADIUS_UM * px_per_um]
    apart = [np.hypot(*(centres[i] - centres[j])) for i, j in combinations(thick, 2)]
    if not apart or min(apart) < _CORES_APART_UM * px_per_um:
        return [piece]
    y, x = np.nonzero(piece)
    nearest = np.argmin([np.hypot(x - centres[i][0], y - centres[i][1]) for i in thick], axis=0)
    split = []
    for k in range(len(thick)):
        one = np.zeros_like(piece)
        one[y[nearest == k], x[nearest == k]] = 1
        split.append(one)
    return split


def _joined(parts: list[_Part], px_per_um: float) -> list[_Part]:
    """Bring the lobes of one nucleus together, the nearest first, as long as they make one cell's size.

    A pair is measured once, and only where it is near: noise that passes for stain has hundreds of parts.
    """
    reach = _LOBE_GAP_UM * px_per_um
    numbers = count()
    corners = np.zeros((2 * len(parts), 2, 2))  # the least and the greatest x and y, by the part's number
    left: dict[int, _Part] = {}
    pairs: list[tuple[float, int, int]] = []

    def add(part: _Part) -> None:
        number = next(numbers)
        corners[number] = part.outline.min(0), part.outline.max(0)
        before, (least, greatest) = corners[:number], corners[number]
        apart = np.maximum(before[:, 0] - greatest, least - before[:, 1]).max(1)
        for other in np.flatnonzero(apart <= reach).tolist():
            if other in left:
                gap = _gap(left[other].outline, part.outline)
                both = np.concatenate([left[other].outline, part.outline])
                if gap <= reach and 2 * cv2.minEnclosingCircle(both)[1] <= _LOBES_SPAN_UM * px_per_um:
                    heappush(pairs, (gap, other, number))
        left[number] = part

    for part in parts:
        add(part)
    while pairs:
        _, i, j = heappop(pairs)
        if i in left and j in left:
            a, b = left.pop(i), left.pop(j)
            outline = np.concatenate([a.outline, b.outline])
            add(_Part(outline, a.area + b.area, max(a.largest, b.largest)))
    return list(left.values())


def _gap(a: Points, b: Points) -> float:
    """The distance between two outlines."""
    return float(np.sqrt(((a[:, None].astype(np.float32) - b[None]) ** 2).sum(-1).min()))


def _enlarge(box: tuple[float, float, float, float], factor: float, width: int, height: int) -> Box:
    """From the reduced picture to the frame, cut at its edges."""
    left, top = max(0, round(box[0] * factor)), max(0, round(box[1] * factor))
    right, bottom = min(width, round(box[2] * factor)), min(height, round(box[3] * factor))
    return Box(left, top, right - left, bottom - top)
