"""The virtual slide's settings, and the camera's way over the slide: pure functions of a frame's number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

ADULT: Final = (
    ("neutrophil", 0.56),
    ("lymphocyte", 0.27),
    ("monocyte", 0.07),
    ("eosinophil", 0.04),
    ("basophil", 0.02),
    ("ig", 0.02),
    ("erythroblast", 0.02),
)
"""Shares of white cells: an adult's, with a few cells that a device should leave to a person."""

SAMPLE_UM_PER_PIXEL: Final = 0.0984
"""The scale of the sample pictures: a red cell is 7.2 µm wide, and 73.2 pixels at the median of them."""


@dataclass(frozen=True, slots=True)
class SlideSettings:
    """A virtual slide and the camera's way over it.

    Attributes:
        seed: of everything that is left to chance, from 0.
        cells: white cells on the slide, from 1; they and their density say how large it is.
        mix: kinds of white cells and their shares, in any unit.
        white_per_mm2: white cells on a square millimetre, 1 to 1000. A real smear has some 20: with more,
            a short way shows enough of them.
        red_per_mm2: places for red cells on a square millimetre, 1000 to 20000; some stay empty.
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        um_per_pixel: micrometres that a pixel covers, 0.03 to 0.4.
        scan: `step` shows each field once, in one frame, with a gap to the next that no cell bridges;
            `pan` dwells on fields and moves on to the next, which overlaps, in many frames.
        interval_s: the least time from one frame to the next, in seconds; 0 is as fast as it is read.
        blur: the most by which focus is lost on the way, as the sigma of a Gaussian in pixels.
        exposure_drift: the most by which the light changes, as a share, 0 to 0.5.
        stain_drift: the most by which the density of the stain changes, as a share, 0 to 0.5.
        noise: of the sensor, as a standard deviation in grey levels of 255, 0 to 30.
        stall_share: the share of frames before which the camera gives nothing for a while, 0 to 1.
        stall_s: how long it then gives nothing, in seconds.
    """

    seed: int = 1
    cells: int = 300
    mix: tuple[tuple[str, float], ...] = ADULT
    white_per_mm2: float = 150
    red_per_mm2: float = 12_500
    width: int = 1280
    height: int = 960
    um_per_pixel: float = SAMPLE_UM_PER_PIXEL
    scan: Literal["step", "pan"] = "step"
    interval_s: float = 0.5
    blur: float = 0.8
    exposure_drift: float = 0.05
    stain_drift: float = 0.08
    noise: float = 1.5
    stall_share: float = 0.01
    stall_s: float = 2.0


class Conditions(NamedTuple):
    """What a frame was taken under.

    Attributes:
        left: of the view on the slide, in pixels.
        top: likewise.
        smear_x: how far the slide moved during the exposure, in pixels to the side.
        smear_y: likewise, down or up.
        blur: the sigma of the lost focus, in pixels.
        light: by what the light is multiplied.
        stain: by what the stain's optical density is multiplied.
        stall_s: how long the camera gives nothing before this frame, in seconds.
    """

    left: int
    top: int
    smear_x: int
    smear_y: int
    blur: float
    light: float
    stain: float
    stall_s: float


_GAP_UM: Final = 25.0  # between fields in `step`: wider than any white cell
_STEERED_UM: Final = 4.0  # in `step`, how far inside of its field a white cell's middle lies at least
_OVERLAP: Final = 0.25  # of successive fields in `pan`
_DWELL, _MOVE = 8, 12  # frames on a field, and on the way to the next
_OPEN_SHUTTER: Final = 0.2  # of the time between frames
_USUAL_LIGHT: Final = 0.96  # leaves room below the sensor's white


class Scan:
    """A meander over fields: to the right, one row down, to the left, and so on.

    Attributes:
        frames: how many there are; their numbers run from 0.
        width: of the slide, in pixels.
        height: of the slide, in pixels.
    """

    def __init__(self, settings: SlideSettings) -> None:
        s = self._settings = settings
        field_mm2 = s.width * s.height * (s.um_per_pixel * 1e-3) ** 2
        if s.scan == "step":
            gap = round(_GAP_UM / s.um_per_pixel)
            self._pitch = s.width + gap, s.height + gap
        else:
            self._pitch = math.ceil(s.width * (1 - _OVERLAP)), math.ceil(s.height * (1 - _OVERLAP))
            field_mm2 *= (1 - _OVERLAP) ** 2
        fields = max(1, math.ceil(s.cells / (s.white_per_mm2 * field_mm2)))
        self._columns = math.ceil(math.sqrt(fields))
        fields = self._columns * math.ceil(fields / self._columns)
        self.frames = fields if s.scan == "step" else fields * (_DWELL + _MOVE) - _MOVE
        self.width = (self._columns - 1) * self._pitch[0] + s.width
        self.height = (fields // self._columns - 1) * self._pitch[1] + s.height
        self._phases = np.random.default_rng((s.seed, 3)).uniform(0, 2 * math.pi, 9)

    def may_hold(self, x: float, y: float) -> bool:
        """Whether a white cell may have its middle at a place on the slide, in pixels.

        A pan comes over every place. In steps there are gaps; and whoever goes over a slide in steps
        steers the fields so that they cut few cells.
        """
        s = self._settings
        if s.scan == "pan":
            return True
        margin = min(_STEERED_UM / s.um_per_pixel, s.width / 4, s.height / 4)
        in_x, in_y = x % self._pitch[0], y % self._pitch[1]
        return margin <= in_x < s.width - margin and margin <= in_y < s.height - margin

    def at(self, number: int) -> Conditions:
        """Where and how the frame of that number was taken."""
        s = self._settings
        left, top = self._corner(number)
        before = self._corner(max(0, number - 1))
        stall = np.random.default_rng((s.seed, 4, number)).uniform() < s.stall_share
        return Conditions(
            left,
            top,
            round(abs(left - before[0]) * _OPEN_SHUTTER) if s.scan == "pan" else 0,
            round(abs(top - before[1]) * _OPEN_SHUTTER) if s.scan == "pan" else 0,
            s.blur * abs(self._drift(number, 0)),
            _USUAL_LIGHT * (1 + s.exposure_drift * self._drift(number, 1)),
            1 + s.stain_drift * self._drift(number, 2),
            s.stall_s if stall else 0.0,
        )

    def _corner(self, number: int) -> tuple[int, int]:
        if self._settings.scan == "step":
            return self._field(number)
        field, step = divmod(number, _DWELL + _MOVE)
        left, top = self._field(field)
        if step < _DWELL:
            return left, top
        share = (step - _DWELL + 1) / (_MOVE + 1)
        share = share * share * (3 - 2 * share)  # the stage speeds up and slows down
        to_left, to_top = self._field(field + 1)
        return round(left + share * (to_left - left)), round(top + share * (to_top - top))

    def _field(self, field: int) -> tuple[int, int]:
        row, column = divmod(field, self._columns)
        if row % 2:
            column = self._columns - 1 - column
        return column * self._pitch[0], row * self._pitch[1]

    def _drift(self, number: int, which: int) -> float:
        """A slow wander between -1 and 1."""
        first, second, third = self._phases[3 * which : 3 * which + 3]
        waves = math.sin(number / 7 + first) + math.sin(number / 17 + second) + math.sin(number / 41 + third)
        return waves / 3
