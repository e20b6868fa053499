"""Counts and percentages of the cells that count, with exact 95 % confidence limits.

A differential is a sample: 5 eosinophils among 100 cells say that the blood holds between 1.6 and 11.3 %
of them (Rümke's table). The limits are Clopper and Pearson's (Biometrika 1934, 26, 404–413). Each class's
hold the truth in at least 95 of 100 samples, taken alone; for all classes at once there are wider ones,
each at 1 − 0.05/k for k classes. By Bonferroni's inequality all of them hold together in at least 95 of 100
samples, however few cells there are; Goodman's (1965) and Sison and Glaz's (1995) are narrower, and promise
that for large counts only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from edge.statistics.beta import incomplete_beta, quantile

CONFIDENCE = 0.95
PRECISION = 5.0
"""Percentage points: how far from a class's share its limits may lie, where it counts as known."""
LARGEST_TOTAL = 10**7
"""No smear holds as many; the search for a sufficient number of cells ends here."""

LABORATORY_ORDER = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")
"""As laboratories list the classes; a model's others follow."""
OTHER_WHITE_CELL = "other_white_cell"
"""A person's reading: a white cell of none of the model's classes (a blast, a plasma cell). It counts."""
NOT_A_WHITE_CELL = "not_a_white_cell"
"""A person's reading: an erythroblast, a platelet, dirt. It leaves the count."""
CANNOT_TELL = "cannot_tell"
"""A person's reading: not to be named from this picture. It leaves the count, and is told apart."""


def place(cell_class: str) -> int:
    """Where a class stands in a laboratory's list, from 0; all others at its end."""
    order = LABORATORY_ORDER
    return order.index(cell_class) if cell_class in order else len(order)


@dataclass(frozen=True, slots=True)
class Sample:
    """What cells are counted for: one smear, or a day where nobody started one.

    Attributes:
        id: its name.
        started_at: when it was started, or its first cell was stored; UTC.
        target: how many accepted cells are wanted.
        named: a person started it; False for a device's day.
        operator: who started it, as far as they said.
        reached_at: when it had as many accepted cells as wanted; None before.
        finished_at: when it was finished; None while it is not.
        signed_by: who signed the result; None while nobody has, or where that was withdrawn.
        signed_at: when.
        first_seq: the lowest number of its cells in the device's count; None while it has none. Follows from
            the cells, so that two samples are not told apart by it.
    """

    id: str
    started_at: datetime
    target: int
    named: bool = False
    operator: str = ""
    reached_at: datetime | None = None
    finished_at: datetime | None = None
    signed_by: str | None = None
    signed_at: datetime | None = None
    first_seq: int | None = field(default=None, compare=False)


class Tally(NamedTuple):
    """A sample's cells. A cell that a person has decided is counted as that person says.

    Attributes:
        accepted: cells that count, by class: accepted by the device or named by a person.
        flagged: cells that wait for a person.
        reviewed: cells that a person has decided, however.
        not_white_cells: of the reviewed ones, those that are no white cells.
        cannot_tell: of the reviewed ones, those that the person could not name either.
        thresholds: that its cells were decided at, in rising order, as far as they are known.
    """

    accepted: Mapping[str, int]
    flagged: int
    reviewed: int = 0
    not_white_cells: int = 0
    cannot_tell: int = 0
    thresholds: tuple[float, ...] = ()


class Limits(NamedTuple):
    """A confidence interval in percent."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """One class's part in the cells that count.

    Attributes:
        cell_class: the class.
        count: cells of it.
        percent: of all that count; None while there are none.
        limits: exact 95 % limits of the percentage, for this class alone.
        simultaneous: exact limits that hold for all classes at once in 95 % of samples.
        more: how many more cells until `limits` lie within `PRECISION` points of the percentage, if that
            stays as it is; None while there are no cells.
    """

    cell_class: str
    count: int
    percent: float | None
    limits: Limits
    simultaneous: Limits
    more: int | None


@dataclass(frozen=True, slots=True)
class Differential:
    """A sample's result so far.

    Attributes:
        shares: the classes in the order asked for.
        accepted: the number of cells that the percentages are of.
        flagged: cells held back for a person; in no percentage.
        reviewed: cells that a person has decided; see `Tally`.
        not_white_cells: of these, the ones that are no white cells; in no percentage.
        cannot_tell: of these, the ones that stay without a name; in no percentage.
        thresholds: that its cells were decided at; see `Tally`.
    """

    shares: tuple[Share, ...]
    accepted: int
    flagged: int
    reviewed: int = 0
    not_white_cells: int = 0
    cannot_tell: int = 0
    thresholds: tuple[float, ...] = ()


def result(tally: Tally, classes: Sequence[str]) -> Differential:
    """A sample's differential.

    Args:
        tally: its cells.
        classes: in the order wanted; classes without a cell are listed, others follow where they have cells.
    """
    counts = dict.fromkeys(classes, 0) | dict(sorted(tally.accepted.items()))
    plain = differential(counts, flagged=tally.flagged)
    return replace(
        plain,
        reviewed=tally.reviewed,
        not_white_cells=tally.not_white_cells,
        cannot_tell=tally.cannot_tell,
        thresholds=tally.thresholds,
    )


def differential(counts: Mapping[str, int], *, flagged: int) -> Differential:
    """Percentages and limits from the accepted cells of each class.

    Args:
        counts: accepted cells by class; name the classes that have none yet too.
        flagged: cells that wait for a person.

    Raises:
        ValueError: a count is negative.
    """
    total = sum(counts.values())
    together = 1 - (1 - CONFIDENCE) / max(1, len(counts))
    shares = tuple(
        Share(
            name,
            count,
            100 * count / total if total else None,
            limits(count, total),
            limits(count, total, confidence=together),
            more_cells(count, total) if total else None,
        )
        for name, count in counts.items()
    )
    return Differential(shares, total, flagged)


def limits(count: int, total: int, *, confidence: float = CONFIDENCE) -> Limits:
    """Exact (Clopper–Pearson) limits of `count` out of `total`, in percent; 0 to 100 of none.

    Args:
        count: cells of a class.
        total: cells.
        confidence: 0 to 1: the part of all samples whose limits hold the truth, at least.

    Raises:
        ValueError: not 0 ≤ count ≤ total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"a count lies between 0 and the total of {total}, not at {count}")
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else quantile(tail, count, total - count + 1)
    high = 1.0 if count == total else quantile(1 - tail, count + 1, total - count)
    return Limits(100 * low, 100 * high)


def more_cells(count: int, total: int, *, precision: float = PRECISION) -> int:
    """How many more cells until the exact 95 % limits lie within `precision` points of the share.

    The least N for which Clopper and Pearson's limits of the share p = count/total among N cells lie within
    p ± precision, less the cells that there are. p·N need not be whole: the limits are quantiles of beta
    distributions, which take any number. What is found holds as far as the share stays what it is.

    Args:
        count: cells of the class.
        total: cells, at least 1.
        precision: percentage points, above 0.

    Raises:
        ValueError: not 0 ≤ count ≤ total, or there are no cells.
    """
    if not 0 <= count <= total or not total:
        raise ValueError(f"{count} of {total} cells say nothing of how many more are needed")
    share = count / total
    if _known(share, total, precision / 100):
        return 0
    low, high = total, 2 * total
    while high < LARGEST_TOTAL and not _known(share, high, precision / 100):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _known(share, middle, precision / 100) else (middle, high)
    return high - total


def _known(share: float, total: int, precision: float) -> bool:
    """Whether the limits of a share of so many cells lie within `precision` of it, both from 0 to 1.

    A quantile lies above x where the distribution has not reached its probability at x, so that neither
    limit need be computed.
    """
    tail, count = (1 - CONFIDENCE) / 2, share * total
    low, high = share - precision, share + precision
    return (low <= 0 or incomplete_beta(low, count, total - count + 1) <= tail) and (
        high >= 1 or incomplete_beta(high, count + 1, total - count) >= 1 - tail
    )
