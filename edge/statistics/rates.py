"""Shares and agreement with their 95 % limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.differential import limits


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its exact 95 % limits, all in percent; `percent` is None of nothing."""

    count: int
    total: int
    percent: float | None
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> Rate:
        """Take `count` out of `total`, 0 ≤ count ≤ total."""
        low, high = limits(count, total)
        return cls(count, total, 100 * count / total if total else None, low, high)

    def __str__(self) -> str:
        if self.percent is None:
            return "–"
        return f"{self.percent:.2f} % ({self.low:.1f}–{self.high:.1f}), {self.count} of {self.total}"


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa: agreement beyond what chance alone would bring (Educ. Psychol. Meas. 1960, 20, 37–46).

    Its 95 % limits are the exact (Clopper–Pearson) limits of the observed agreement, carried through Cohen's
    formula with the chance agreement taken as known, as his own standard error takes it. The limits of Fleiss,
    Cohen and Everitt (Psychol. Bull. 1969, 72, 323–327) are narrower than they should be near full agreement,
    and have no width at all where everything agrees: see ``bench/kappa_limits.py``.

    Attributes:
        value: the estimate, -1 to 1.
        low: lower limit.
        high: upper limit.
        observed: pictures on which label and reading agree.
        chance: the share on which they would agree if they knew nothing of each other, 0 to below 1.
    """

    value: float
    low: float
    high: float
    observed: Rate
    chance: float

    @classmethod
    def of(cls, confusion: NDArray[np.int_]) -> Kappa | None:
        """Work it out from pictures by label (row) and reading (column).

        Returns:
            None where it is not defined: of no pictures, or where all are one class to both.
        """
        total = int(confusion.sum())
        chance = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / total**2 if total else 1.0
        if chance >= 1:
            return None
        observed = Rate.of(int(confusion.trace()), total)
        share = int(confusion.trace()) / total
        value, low, high = (
            (s - chance) / (1 - chance) for s in (share, observed.low / 100, observed.high / 100)
        )
        return cls(value, low, high, observed, chance)

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"
