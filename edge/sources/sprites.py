"""Cells cut out of real pictures, as what they do to the light that passes through them.

A picture of a smear is its background (plasma on glass, lit by the lamp) times the share of light that
each cell lets through. Dividing a picture by its background leaves that share, so a cell can be laid on
any background without a seam, and where two cells overlap they darken each other as they do on a slide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Image

NEUTRAL: Final = 230
"""The value in a sprite that leaves the light unchanged; above it is the bright rim around a cell."""

_CELL_DENSITY: Final = 0.13  # optical density from which a pixel belongs to a cell
_NUCLEUS_DENSITY: Final = 0.45  # green over blue density that nuclei and platelets reach, red cells never
_RED_AREA: Final = (3200, 5600)  # pixels of the samples, whose red cells are 74 wide
_PLATELET_AREA: Final = (150, 1500)
_WHITE_AREA: Final = (4500, 34000)


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One cell or platelet without its surroundings.

    Attributes:
        light: height × width × 3 uint8, R, G, B: the share of light that passes, times `NEUTRAL`.
        outline: points × 2 float32, x and y in pixels from the middle of `light`.
    """

    light: Image
    outline: NDArray[np.float32]

    def scaled(self, factor: float) -> Sprite:
        """The same cell with `factor` times as many pixels across."""
        if factor == 1:
            return self
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        light = cv2.resize(self.light, None, fx=factor, fy=factor, interpolation=how)
        return Sprite(light, self.outline * factor)

    def turned(self, degrees: float) -> NDArray[np.float32]:
        """The outline after a turn about the middle."""
        angle = np.deg2rad(degrees)
        sine, cosine = np.sin(angle), np.cos(angle)
        turn = np.array([[cosine, -sine], [sine, cosine]], np.float32)
        return self.outline @ turn.T

    def lay_on(self, ground: Image, x: float, y: float, degrees: float) -> None:
        """Take the cell's light out of `ground`, in place; what lies outside of it is left out.

        Args:
            ground: height × width × 3 uint8.
            x: where the middle of the sprite comes to lie, in pixels of `ground`.
            y: likewise, downwards.
            degrees: turn about the middle.
        """
        height, width = self.light.shape[:2]
        side = int(np.hypot(height, width)) + 2
        left, top = int(np.floor(x - side / 2)), int(np.floor(y - side / 2))
        bottom, right = min(top + side, ground.shape[0]), min(left + side, ground.shape[1])
        if bottom <= 0 or right <= 0 or top >= ground.shape[0] or left >= ground.shape[1]:
            return
        move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
        move[:, 2] += (x - left - (width - 1) / 2, y - top - (height - 1) / 2)
        patch = cv2.warpAffine(
            self.light, move, (side, side), flags=cv2.INTER_LINEAR, borderValue=(NEUTRAL, NEUTRAL, NEUTRAL)
        )
        patch = patch[max(0, -top) : bottom - top, max(0, -left) : right - left]
        part = ground[max(0, top) : bottom, max(0, left) : right]
        part[...] = cv2.multiply(part, patch, scale=1 / NEUTRAL)


class Cuttings(NamedTuple):
    """What one picture gives.

    Attributes:
        white: the nucleated cell in the middle if it is whole and touches nothing, else None.
        red: whole red cells that touch nothing.
        platelets: whole platelets that touch nothing.
    """

    white: Sprite | None
    red: tuple[Sprite, ...]
    platelets: tuple[Sprite, ...]


def background(image: Image) -> NDArray[np.float64]:
    """The colour where nothing lies: R, G, B of the brightest frequent green, 0 to 255."""
    green = image[..., 1]
    counts = np.convolve(np.bincount(green.ravel(), minlength=256), np.ones(5), "same")
    peak = np.flatnonzero(counts > 0.3 * counts.max())[-1]
    return np.asarray(np.median(image[np.abs(green.astype(int) - peak) <= 6], axis=0), np.float64)


def nuclear(light: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where a nucleus or a platelet lies.

    Args:
        light: height × width × 3, R, G, B, the share of light that passes; the background is 1.
    """
    density = _density(light)
    return np.asarray(density[..., 1] - density[..., 2] > _NUCLEUS_DENSITY)


def cut(image: Image) -> Cuttings:
    """Find and cut out the whole, free-lying cells of a picture of about 0.1 µm a pixel.

    Args:
        image: height × width × 3 uint8, R, G, B, a white cell in its middle.
    """
    light = image / np.maximum(background(image), 1)
    stained = (_density(light).max(axis=2) > _CELL_DENSITY).astype(np.uint8)
    stained = cv2.morphologyEx(stained, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    nucleus = nuclear(light)
    height, width = stained.shape
    white: Sprite | None = None
    red, platelets = [], []
    outlines, _ = cv2.findContours(stained, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        left, top, across, down = cv2.boundingRect(outline)
        area = cv2.contourArea(outline)
        if min(left, top, width - left - across, height - top - down) < 4 or area < _PLATELET_AREA[0]:
            continue
        solid = area / cv2.contourArea(cv2.convexHull(outline))
        mask = cv2.drawContours(np.zeros_like(stained), [outline], -1, 1, cv2.FILLED)
        dark = int(np.count_nonzero(nucleus & (mask == 1)))
        if mask[height // 2, width // 2] and dark > 800 and solid > 0.95 and _in(area, _WHITE_AREA):
            white = _sprite(light, mask, outline)
        elif dark < 10 and solid > 0.965 and _in(area, _RED_AREA):
            red.append(_sprite(light, mask, outline))
        elif dark > 60 and solid > 0.85 and _in(area, _PLATELET_AREA):
            platelets.append(_sprite(light, mask, outline))
    return Cuttings(white, tuple(red), tuple(platelets))


def alike(sprites: tuple[Sprite, ...]) -> tuple[Sprite, ...]:
    """Give sprites of many pictures one stain: each picture's preparation left its own tint on its cells."""
    densities = np.array([_mean_density(sprite.light) for sprite in sprites])
    target = np.median(densities, axis=0)
    return tuple(
        replace(sprite, light=_pass(np.power(sprite.light / NEUTRAL, target / density)))
        for sprite, density in zip(sprites, densities, strict=True)
    )


def _density(light: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(-np.log(np.clip(light, 0.01, None)), np.float32)


def _in(area: float, limits: tuple[int, int]) -> bool:
    return limits[0] <= area <= limits[1]


def _pass(light: NDArray[np.float64]) -> Image:
    return np.clip(np.rint(light * NEUTRAL), 0, 255).astype(np.uint8)


def _mean_density(light: Image) -> NDArray[np.float64]:
    """The mean optical density of a sprite's stained pixels, by channel."""
    stained = light[light[..., 1] < 0.9 * NEUTRAL]
    return np.asarray(-np.log(np.maximum(stained, 1) / NEUTRAL).mean(axis=0).clip(0.01), np.float64)


def _sprite(light: NDArray[np.float64], mask: NDArray[np.uint8], outline: NDArray[np.int32]) -> Sprite:
    """Cut a cell out with a margin in which it fades into nothing."""
    margin = 8
    left, top, across, down = cv2.boundingRect(outline)
    rows = slice(max(0, top - margin), top + down + margin)
    columns = slice(max(0, left - margin), left + across + margin)
    wide = cv2.dilate(mask[rows, columns], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    share = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 1.5)[..., None]
    own = _pass(1 + (light[rows, columns] - 1) * share)
    middle = columns.start + (own.shape[1] - 1) / 2, rows.start + (own.shape[0] - 1) / 2
    return Sprite(own, (outline[:, 0, :] - np.array(middle)).astype(np.float32))
