"""A camera over a blood smear that does not exist, for demonstrations and for measuring the whole chain.

The smear (`slide_layout`) is made of real cells. The camera goes over it (`slide_scan`) and shows it as cameras
do: smeared by movement, out of focus at times, unevenly lit, with drifting exposure and stain, with noise,
vibrating, with frames lost or repeated, and now and then with nothing for a while. All of it follows from the
settings: equal settings, equal frames. What lies where is known: `truth` and `visible`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SourceError
from edge.records import Box, Frame, Image
from edge.sources.base import SourceEnded
from edge.sources.slide_layout import PLASMA, TILE, Layout, TrueCell, stock
from edge.sources.slide_scan import WAYS, Conditions, Scan, SlideSettings


@dataclass(frozen=True, slots=True)
class VisibleCell:
    """A white cell as far as it lies in a frame.

    Attributes:
        cell: which one.
        box: where, in pixels of the frame, cut at its edges.
        whole: no edge cuts it.
    """

    cell: TrueCell
    box: Box
    whole: bool


class VirtualSlide:
    """The camera. See `SlideSettings` for what it can be told.

    In `step` it is lossless: a field that is not read is not counted. On other ways it is live.
    """

    def __init__(self, settings: SlideSettings) -> None:
        self.settings = settings
        self.live = self.continuous = settings.scan != "step"
        self._scene: _Scene | None = None
        self._number = 0
        self._due = 0.0

    def open(self) -> None:
        """Lay out the slide.

        Raises:
            SourceError: the settings describe no slide.
        """
        self._scene = _Scene(self.settings)
        self._number = 0
        self._due = time.monotonic()

    def close(self) -> None:
        """Forget the slide."""
        self._scene = None

    def read(self, timeout_s: float) -> Frame | None:
        """The next view, or None where it is not yet time for it."""
        scene, number = self._opened(), self._number
        if number >= scene.scan.frames:
            raise SourceEnded
        wait = self._due - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, timeout_s))
            if wait > timeout_s:
                return None
        frame = Frame.of(scene.view(number), number, datetime.now(UTC))
        self._number += 1
        self._due = time.monotonic() + self.settings.interval_s + scene.scan.stall_s(self._number)
        return frame

    def truth(self) -> tuple[TrueCell, ...]:
        """Every white cell on the slide, by number."""
        return self._opened().layout.cells

    def visible(self, number: int) -> tuple[VisibleCell, ...]:
        """The white cells that the frame of that number shows."""
        return tuple(self._opened().visible(number))

    def conditions(self, number: int) -> Conditions:
        """What the frame of that number was taken under."""
        return self._opened().scan.at(number)

    def _opened(self) -> _Scene:
        if self._scene is None:
            raise SourceError("the virtual slide is not open")
        return self._scene


class _Scene:
    """An open slide under the camera."""

    def __init__(self, settings: SlideSettings) -> None:
        _check(settings)
        cells = stock(settings.um_per_pixel)
        unknown = sorted({kind for kind, _ in settings.mix} - set(cells.white))
        if unknown:
            known = ", ".join(sorted(cells.white))
            raise SourceError(f"a virtual slide has no {unknown[0]!r} for its mix; it has {known}")
        self._settings = settings
        self.scan = Scan(settings)
        self.layout = Layout(settings, self.scan, cells)
        height, width = settings.height, settings.width
        # Enough for a view and the way it moves on; the slide may be many times as large.
        self._tile = lru_cache((width // TILE + 3) * (height // TILE + 2))(self.layout.tile)
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)
        light = 255 * (1 - settings.vignetting * (x * x + y * y) / 2)
        self._light = np.repeat(np.rint(light).astype(np.uint8)[..., None], 3, axis=2)
        grain = np.random.default_rng((settings.seed, 5)).normal(0, settings.noise, (TILE, TILE, 3))
        # The same noise tile after tile: nobody sees it, and a view costs one addition.
        repeats = (height + TILE - 1) // TILE + 1, (width + TILE - 1) // TILE + 1, 1
        self._grain = np.tile(np.clip(np.rint(grain), -127, 127).astype(np.int8), repeats)

    def view(self, number: int) -> Image:
        """What the camera gives as the frame of that number."""
        at = self.scan.at(number)
        view = cv2.LUT(self._cut_out(at.left, at.top), _tones(at.light, at.stain))
        if at.smear_x or at.smear_y:
            view = cv2.blur(view, (at.smear_x + 1, at.smear_y + 1))
        if at.blur > 0.2:  # a lesser one changes nothing that a pixel could show
            view = cv2.GaussianBlur(view, (0, 0), at.blur)
        view = cv2.multiply(view, self._light, scale=1 / 255)
        down, right = np.random.default_rng((self._settings.seed, 6, at.moment)).integers(0, TILE, 2)
        grain = self._grain[down : down + view.shape[0], right : right + view.shape[1]]
        return np.asarray(cv2.add(view, grain, dtype=cv2.CV_8U))

    def _cut_out(self, left: int, top: int) -> Image:
        """The view as it lies on the slide, put together of tiles."""
        height, width = self._settings.height, self._settings.width
        view = np.empty((height, width, 3), np.uint8)
        for row in range(top // TILE, (top + height - 1) // TILE + 1):
            for column in range(left // TILE, (left + width - 1) // TILE + 1):
                y, x = row * TILE - top, column * TILE - left
                part = view[max(0, y) : y + TILE, max(0, x) : x + TILE]
                tile = self._tile(column, row)[max(0, -y) :, max(0, -x) :]
                part[...] = tile[: part.shape[0], : part.shape[1]]
        return view

    def visible(self, number: int) -> Iterator[VisibleCell]:
        """The white cells of that frame."""
        at, s = self.scan.at(number), self._settings
        for cell in self.layout.cells:
            left = round((cell.x_um - cell.width_um / 2) / s.um_per_pixel) - at.left
            top = round((cell.y_um - cell.height_um / 2) / s.um_per_pixel) - at.top
            right = left + round(cell.width_um / s.um_per_pixel)
            bottom = top + round(cell.height_um / s.um_per_pixel)
            if right <= 0 or bottom <= 0 or left >= s.width or top >= s.height:
                continue
            inner = max(0, left), max(0, top), min(right, s.width), min(bottom, s.height)
            box = Box(inner[0], inner[1], inner[2] - inner[0], inner[3] - inner[1])
            yield VisibleCell(cell, box, inner == (left, top, right, bottom))


def _tones(light: float, stain: float) -> NDArray[np.uint8]:
    """What each value of each channel becomes: 1 × 256 × 3."""
    plasma = np.array(PLASMA)
    tones = plasma * (np.arange(256)[None, :, None] / plasma) ** stain * light
    return np.asarray(np.clip(np.rint(tones), 0, 255), np.uint8)


def _check(settings: SlideSettings) -> None:
    """Refuse settings that describe no slide.

    Raises:
        SourceError: naming the first that is out of its interval.
    """
    limits = {
        "seed": (0, 2**63),
        "cells": (1, 1_000_000),
        "white_per_mm2": (1, 1000),
        "red_per_mm2": (1000, 20_000),
        "width": (16, 16_384),
        "height": (16, 16_384),
        "um_per_pixel": (0.03, 0.4),
        "interval_s": (0, 3600),
        "overlap": (0, 0.8),
        "dwell_frames": (1, 100_000),
        "move_frames": (0, 100_000),
        "jumps": (0, 1_000_000),
        "blur": (0, 20),
        "vibration": (0, 50),
        "exposure_drift": (0, 0.5),
        "stain_drift": (0, 0.5),
        "vignetting": (0, 0.9),
        "noise": (0, 30),
        "stall_share": (0, 1),
        "stall_s": (0, 3600),
        "drop_share": (0, 0.9),
        "repeat_share": (0, 0.9),
    }
    for name, (least, most) in limits.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise SourceError(f"a virtual slide's {name} is {value} and must lie between {least} and {most}")
    if settings.scan not in WAYS:
        raise SourceError(f"a virtual slide's scan is {settings.scan!r} and must be one of {', '.join(WAYS)}")
    if any(share < 0 for _, share in settings.mix) or not any(share for _, share in settings.mix):
        raise SourceError("a virtual slide's mix must hold shares of 0 or more, and one above 0")
