"""The field's own ruler: the width of its red cells, 7.2 µm wherever there are red cells.

Every point of an outline votes for a centre at distance r along its inward normal. With the right r the
votes of one red cell meet in a point; the radius at which votes are most concentrated is the red cells'.
Overlapping cells, pale centres and rouleaux keep most of their outer outline, so they vote too. (The idea
is the circular Hough transform with gradient direction: Kimme, Ballard and Sklansky 1975, CACM 18, 120-122.)
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.density import Density

RED_CELL_UM = 7.2
"""Diameter of a red cell on a smear, in micrometres."""

# The steepest slope of a red cell's edge lies inside of the outline that a person draws around it. Measured
# on the red-cell boxes of BCCD; Raabin's, of other microscopes, give the same within 2 %.
_OUTLINE_TO_SLOPE = 1.15
_MIN_RADIUS = 3.0  # pixels; below this an outline has too few directions
_BINS = 4  # votes are counted in squares of a quarter radius
_COARSE, _FINE = 1.16, 1.06  # ratios between the radii tried
_MAX_OUTLINE = 2500  # outline points looked at; more adds time and no precision
_MIN_OUTLINE = 120
_MIN_RED_CELLS = 4  # one round thing may be the white cell itself, or dirt
_SEEN = 0.35  # share of its outline that a red cell must show to be counted
_MIN_CONTRAST = 0.02  # density step a pixel pair must show to be an outline


def red_cell_width(density: Density, ignore: NDArray[np.uint8]) -> float | None:
    """Width of the field's red cells.

    Args:
        density: height × width × 3, reduced so that a red cell is about 10 to 60 pixels wide.
        ignore: height × width, non-zero where white cells lie; their outlines do not vote.

    Returns:
        The outer width in pixels of `density`, or None where fewer than three round cells agree on one.
    """
    absorbed = cv2.add(density[..., 1], density[..., 2])
    dx = cv2.Sobel(absorbed, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(absorbed, cv2.CV_32F, 0, 1)
    steepness = cv2.magnitude(dx, dy)
    steepness[ignore > 0] = 0
    candidates = steepness[steepness > 0]
    if candidates.size < _MIN_OUTLINE:
        return None
    rank = int(candidates.size * 0.7)
    y, x = np.nonzero(steepness > max(float(np.partition(candidates, rank)[rank]), _MIN_CONTRAST))
    if x.size < _MIN_OUTLINE:
        return None
    stride = -(-x.size // _MAX_OUTLINE)
    y, x = y[::stride], x[::stride]
    steep = steepness[y, x]
    points = np.stack([x, y]).astype(np.float32)
    inward = np.stack([dx[y, x], dy[y, x]]) / steep
    height, width = absorbed.shape

    largest = 0.25 * max(height, width)
    radii = _MIN_RADIUS * _COARSE ** np.arange(int(np.log(largest / _MIN_RADIUS) / np.log(_COARSE)) + 1)
    best = radii[int(np.argmax(_concentration(points, inward, radii, (height, width), stride)))]
    steps = np.arange(-4, 5)
    score = _concentration(points, inward, best * _FINE**steps, (height, width), stride)
    # The least-squares parabola through all nine evens out what the counting squares do to single radii.
    slope, bend = (steps * score).sum() / 60, ((steps**2 - 20 / 3) * score).sum() / 308
    top = float(np.clip(-slope / (2 * bend), -4, 4)) if bend < 0 else float(steps[np.argmax(score)])
    radius = float(best * _FINE**top)
    if _count(points, inward, radius, (height, width), stride) < _MIN_RED_CELLS:
        return None
    return 2 * radius * _OUTLINE_TO_SLOPE


def _votes(
    points: NDArray[np.float32],
    inward: NDArray[np.float32],
    radius: float,
    side: float,
    shape: tuple[int, int],
) -> NDArray[np.int64]:
    """How many points of an outline have their centre in each square of a grid over the field."""
    height, width = shape
    rows, columns = int(height / side) + 1, int(width / side) + 1
    centre = points + inward * np.float32(radius)
    inside = (centre[0] >= 0) & (centre[1] >= 0) & (centre[0] < width) & (centre[1] < height)
    square = (centre[:, inside] / np.float32(side)).astype(np.int32)
    return np.bincount(square[1] * columns + square[0], minlength=rows * columns).reshape(rows, columns)


def _concentration(
    points: NDArray[np.float32],
    inward: NDArray[np.float32],
    radii: NDArray[np.floating[Any]],
    shape: tuple[int, int],
    stride: int,
) -> NDArray[np.float64]:
    """How well votes at each radius meet: the company that a vote finds in its square, less what chance
    brings, as a share of a full circle."""
    score = np.empty(len(radii))
    for i, radius in enumerate(radii):
        side = radius / _BINS
        votes = _votes(points, inward, radius, side, shape).ravel().astype(np.float64)
        total = max(votes.sum(), 1.0)
        by_chance = 1 + total * side * side / (shape[0] * shape[1])
        score[i] = ((votes * votes).sum() / total - by_chance) * stride / (2 * np.pi * radius)
    return score


def _count(
    points: NDArray[np.float32],
    inward: NDArray[np.float32],
    radius: float,
    shape: tuple[int, int],
    stride: int,
) -> int:
    """How many separate centres a good part of an outline of this radius agrees on."""
    votes = _votes(points, inward, radius, radius / 2, shape)
    centres = (votes > _SEEN * 2 * np.pi * radius / stride).astype(np.uint8)
    return cv2.connectedComponents(centres)[0] - 1
