"""Which frames of a live source are good enough to be read, by what the running sample has shown to be possible."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.records import SkipReason
from edge.vision.framequality import FrameQuality

_WINDOW: Final = 600  # frames over which the sharpest are remembered: a minute
_SHARPEST: Final = 0.1  # share of them that tells what sharp is
_FIRST_FIELDS: Final = 8  # good frames that tell what colour and stain are


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """Within which a frame is read. `config.Frames` has the defaults.

    Attributes:
        lost_focus_um: by how much blur a frame may be less sharp than the sample's sharpest, as the sigma of
            a Gaussian in micrometres.
        softest_um: the width of edges beyond which no frame is read, whatever the sample's sharpest are.
        darkest: the least brightness of the plasma, 0 to 255.
        burnt: the largest share of pixels at the sensor's end.
        evenness: the least brightness of the dimmest part relative to the brightest.
        white_drift: the largest change of the plasma's colour, as a natural logarithm.
        stain_drift: the largest change of the stain's density, as a natural logarithm.
        stained: the least share of pixels that are more than plasma.
    """

    lost_focus_um: float
    softest_um: float
    darkest: float
    burnt: float
    evenness: float
    white_drift: float
    stain_drift: float
    stained: float


class FrameJudge:
    """Judges one frame after another of a sample, and learns from them what its good frames are like."""

    def __init__(self, limits: FrameLimits) -> None:
        self._limits = limits
        self.begin()

    def begin(self) -> None:
        """Forget: another sample may be stained otherwise."""
        self._softness: deque[float] = deque(maxlen=_WINDOW)
        self._first: list[FrameQuality] = []

    def judge(self, quality: FrameQuality, *, moving: bool) -> SkipReason | None:
        """Why a frame should not be read; None where it should.

        Args:
            quality: what was measured on it.
            moving: the stage moved, or the frame cannot be followed from the one before.
        """
        limits = self._limits
        if quality.stained < limits.stained:
            return SkipReason.EMPTY
        if quality.brightness < limits.darkest:
            return SkipReason.TOO_DARK
        if quality.burnt > limits.burnt:
            return SkipReason.TOO_BRIGHT
        if quality.evenness < limits.evenness:
            return SkipReason.UNEVEN_LIGHT
        self._softness.append(quality.softness)
        if quality.softness > self.softest_um:
            return SkipReason.MOVING if moving else SkipReason.OUT_OF_FOCUS
        if len(self._first) < _FIRST_FIELDS:
            self._first.append(quality)
        else:
            return self._drift(quality)
        return None

    @property
    def softest_um(self) -> float:
        """The width of edges up to which a frame is read at present, in micrometres."""
        if not self._softness:
            return self._limits.softest_um
        values = np.array(self._softness)
        sharpest = float(np.partition(values, int(len(values) * _SHARPEST))[int(len(values) * _SHARPEST)])
        return min(math.hypot(sharpest, self._limits.lost_focus_um), self._limits.softest_um)

    def _drift(self, quality: FrameQuality) -> SkipReason | None:
        """Whether colour or stain are others than in the first good fields."""
        white = np.median([first.white for first in self._first], axis=0)
        if np.abs(white - quality.white).max() > self._limits.white_drift:
            return SkipReason.WHITE_BALANCE
        stain = float(np.median([sum(first.stain) for first in self._first]))
        if abs(math.log(max(sum(quality.stain), 1e-3) / max(stain, 1e-3))) > self._limits.stain_drift:
            return SkipReason.STAIN
        return None
