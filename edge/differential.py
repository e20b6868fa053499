"""Counts and percentages of accepted cells, with exact 95 % confidence limits.

A differential is a sample: 5 eosinophils among 100 cells say that the blood holds between 1.6 and 11.3 %
of them (Rümke's table). The limits are Clopper and Pearson's (Biometrika 1934, 26, 404–413): quantiles of
the beta distribution, found by bisection of the regularised incomplete beta function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import exp, lgamma, log, log1p
from typing import NamedTuple

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Sample:
    """What cells are counted for: one smear, or a day where nobody named one.

    Attributes:
        id: its name.
        started_at: when its first cell was stored; UTC.
        target: how many accepted cells are wanted.
    """

    id: str
    started_at: datetime
    target: int


class Limits(NamedTuple):
    """A confidence interval in percent."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """One class's part in the accepted cells.

    Attributes:
        cell_class: the class.
        count: accepted cells of it.
        percent: of all accepted cells; None while there are none.
        limits: exact 95 % limits of the percentage.
    """

    cell_class: str
    count: int
    percent: float | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Differential:
    """A sample's result so far.

    Attributes:
        shares: the classes in the order asked for.
        accepted: the number of cells that the percentages are of.
        flagged: cells held back for a person; in no percentage.
    """

    shares: tuple[Share, ...]
    accepted: int
    flagged: int


def differential(counts: Mapping[str, int], *, flagged: int) -> Differential:
    """Percentages and limits from the accepted cells of each class.

    Args:
        counts: accepted cells by class; name the classes that have none yet too.
        flagged: cells that wait for a person.

    Raises:
        ValueError: a count is negative.
    """
    total = sum(counts.values())
    shares = tuple(
        Share(name, count, 100 * count / total if total else None, limits(count, total))
        for name, count in counts.items()
    )
    return Differential(shares, total, flagged)


def limits(count: int, total: int) -> Limits:
    """Exact (Clopper–Pearson) 95 % limits of `count` out of `total`, in percent; 0 to 100 of none.

    Raises:
        ValueError: not 0 ≤ count ≤ total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"a count lies between 0 and the total of {total}, not at {count}")
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if count == 0 else _beta_quantile(tail, count, total - count + 1)
    high = 1.0 if count == total else _beta_quantile(1 - tail, count + 1, total - count)
    return Limits(100 * low, 100 * high)


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """The x in 0..1 at which the beta distribution has reached `probability`."""
    low, high = 0.0, 1.0
    for _ in range(60):  # each step halves the interval: 2^-60 is below the precision of a float near 1
        middle = (low + high) / 2
        if _incomplete_beta(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 < x < 1 and a, b ≥ 1 (DLMF 8.17)."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on this side of the mean only
        return 1 - _incomplete_beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of DLMF 8.17.22, evaluated from the front by Lentz's method."""
    tiny = 1e-300  # keeps a vanishing denominator from dividing by zero
    value = numerators = 1.0
    denominators = 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominators = 1 / ((1 + term * denominators) or tiny)
        numerators = (1 + term / numerators) or tiny
        value *= numerators * denominators
        if abs(numerators * denominators - 1) < 1e-14:
            break
    return value
