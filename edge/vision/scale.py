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

from edge.vision.density import Plane, ranked

Points = NDArray[np.float32]  # n × 2, x and y

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
_MIN_CONTRAST = 0.05  # density step a pixel pair must show to be an outline; a sensor's noise stays under it


def red_cell_width(absorbed: Plane, ignore: NDArray[np.uint8]) -> float | None:
    """Width of the field's red cells.

    Args:
        absorbed: see `Density`, reduced so that a red cell is about 10 to 60 pixels wide.
        ignore: height × width, non-zero where white cells lie; their outlines do not vote.

    Returns:
        The outer width in pixels of `absorbed`, or None where fewer than four round cells agree on one.
    """
    dx = cv2.Sobel(absorbed, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(absorbed, cv2.CV_32F, 0, 1)
    steepness = cv2.magnitude(dx, dy)
    steepness[ignore > 0] = 0
    candidates = steepness[steepness > 0]
    if candidates.size < _MIN_OUTLINE:
        return None
    outline = np.flatnonzero(steepness > max(ranked(candidates, 0.7), _MIN_CONTRAST))
    if outline.size < _MIN_OUTLINE:
        return None
    stride = -(-outline.size // _MAX_OUTLINE)
    outline = outline[::stride]
    height, width = absorbed.shape
    points = np.empty((outline.size, 2), np.float32)
    points[:, 1], points[:, 0] = np.divmod(outline, width)
    inward = np.empty_like(points)
    steep = steepness.ravel()[outline]
    np.divide(dx.ravel()[outline], steep, out=inward[:, 0])
    np.divide(dy.ravel()[outline], steep, out=inward[:, 1])

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


def _centres(
    points: Points, inward: Points, radii: NDArray[np.floating[Any]], shape: tuple[int, int]
) -> tuple[Points, NDArray[np.uint8]]:
    """Where each point of an outline has its centre, radii × n × 2, and whether it is in the field, radii × n × 1."""
    height, width = shape
    centres = np.empty((len(radii), *points.shape), np.float32)
    for row, radius in zip(centres, radii.tolist(), strict=True):
        cv2.scaleAdd(inward, radius, points, dst=row)
    inside = np.asarray(cv2.inRange(centres, (0, 0, 0, 0), (width, height, 0, 0)), np.uint8)
    return centres, inside[..., np.newaxis]


def _votes(
    centres: Points, inside: NDArray[np.uint8], side: float, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """How many of the centres inside of the field lie in each square of a grid over it."""
    rows, columns = int(shape[0] / side) + 1, int(shape[1] / side) + 1
    limits = [0, rows * side, 0, columns * side]
    votes = cv2.calcHist([centres[:, np.newaxis]], [1, 0], inside, [rows, columns], limits)
    return np.asarray(votes, np.float32)


def _concentration(
    points: Points, inward: Points, radii: NDArray[np.floating[Any]], shape: tuple[int, int], stride: int
) -> NDArray[np.float64]:
    """How well votes at each radius meet: the company that a vote finds in its square, less what chance
    brings, as a share of a full circle."""
    score = np.empty(len(radii))
    every, inside = _centres(points, inward, radii, shape)
    for i, radius in enumerate(radii.tolist()):
        side = radius / _BINS
        votes, count = _votes(every[i], inside[i], side, shape), cv2.countNonZero(inside[i])
        by_chance = 1 + count * side * side / (shape[0] * shape[1])
        company = cv2.norm(votes, cv2.NORM_L2SQR) / max(count, 1)
        score[i] = (company - by_chance) * stride / (2 * np.pi * radius)
    return score


def _count(points: Points, inward: Points, radius: float, shape: tuple[int, int], stride: int) -> int:
    """How many separate centres a good part of an outline of this radius agrees on."""
    (centres,), (inside,) = _centres(points, inward, np.array([radius]), shape)
    votes = _votes(centres, inside, radius / 2, shape)
    centres = (votes > _SEEN * 2 * np.pi * radius / stride).astype(np.uint8)
    return int(cv2.connectedComponents(centres)[0]) - 1
