"""Fields to look at: the packaged ones with what people annotated, and drawn ones whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

import edge
from edge.pictures.images import load
from edge.records import Box, Frame, Image

SAMPLES = Path(edge.__file__).parent / "samples"

# The white cell's box and the median width of the whole red cells, as BCCD's annotations give them.
ANNOTATED = {
    "BloodImage_00042.jpg": (Box(116, 192, 162, 127), 96.5),
    "BloodImage_00076.jpg": (Box(98, 235, 113, 116), 92.0),
    "BloodImage_00239.jpg": (Box(242, 266, 215, 205), 101.5),
    "BloodImage_00255.jpg": (Box(283, 42, 268, 252), 89.0),
    "BloodImage_00275.jpg": (Box(270, 192, 146, 134), 104.0),
    "BloodImage_00288.jpg": (Box(153, 263, 217, 211), 102.75),
}
PORTRAITS = sorted(path.name for path in (SAMPLES / "acevedo").glob("*.jpg"))

Lobe = tuple[float, float, float]  # x, y and radius in micrometres

PLASMA = (212.0, 208.0, 196.0)
_RED_CELL, _NUCLEUS, _CYTOPLASM = (0.05, 0.40, 0.48), (1.0, 1.3, 0.6), (0.12, 0.16, 0.08)


def frame(image: Image) -> Frame:
    return Frame.of(image, 0, datetime(2026, 1, 31, tzinfo=UTC), "drawn")


def field(name: str) -> Image:
    return load(SAMPLES / "bccd" / name)


def portrait(name: str) -> Image:
    return load(SAMPLES / "acevedo" / name)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    both = max(0, width) * max(0, height)
    return both / (a.width * a.height + b.width * b.height - both)


def drawn(
    nuclei: Sequence[Sequence[Lobe]] = (),
    *,
    um_per_pixel: float = 0.1,
    width_um: float = 64,
    height_um: float = 48,
    red_cells: bool = True,
    noise: float = 1.5,
) -> Image:
    """A field of white cells, each a nucleus of one or more lobes, among red cells.

    Red cells are 7.2 µm wide where their colour begins; as in real ones it is steepest further in.
    """
    width, height = round(width_um / um_per_pixel), round(height_um / um_per_pixel)
    density = np.zeros((height, width, 3), np.float32)

    def disc(x: float, y: float, radius: float, colour: tuple[float, float, float]) -> None:
        across, down, reach = (value / um_per_pixel for value in (x, y, radius))
        left, top = max(0, int(across - reach)), max(0, int(down - reach))
        part = density[top : int(down + reach) + 2, left : int(across + reach) + 2]
        rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        inside = np.hypot(columns - across, rows - down) < reach
        part[inside] = np.maximum(part[inside], np.array(colour, np.float32))

    rng = np.random.default_rng(0)
    lobes = [lobe for nucleus in nuclei for lobe in nucleus]
    for row in np.arange(4.5, height_um, 9) if red_cells else ():
        for column in np.arange(4.5, width_um, 9):
            at_x, at_y = column + rng.uniform(-0.8, 0.8), row + rng.uniform(-0.8, 0.8)
            if all(np.hypot(at_x - a, at_y - b) > r + 6 for a, b, r in lobes):
                disc(at_x, at_y, 3.6 / 1.15, _RED_CELL)
    for a, b, r in lobes:
        disc(a, b, r + 1.5, _CYTOPLASM)
    for a, b, r in lobes:
        disc(a, b, r, _NUCLEUS)
    blurred = cv2.GaussianBlur(density, (0, 0), 0.25 / um_per_pixel)
    light = np.array(PLASMA) * np.exp(-blurred) + rng.normal(0, noise, blurred.shape)
    return np.clip(light, 0, 255).astype(np.uint8)
