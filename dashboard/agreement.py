"""Two samples side by side, and two readers of one sample: how far they differ, and how much of it is chance.

The difference of two percentages has limits after Newcombe (Statist. Med. 1998, 17, 873–890; his "square and add"),
here with the exact limits of each percentage in the place of Wilson's, so that they fit those shown for each sample.
Whether a difference may be chance is told by Fisher's exact test (two-sided: all tables no likelier than the one seen),
corrected for the number of classes after Holm (Scand. J. Statist. 1979, 6, 65–70).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma, sqrt
from typing import Final, NamedTuple

import numpy as np

from dashboard.mirror import MirrorCell, Reading
from edge.differential import Differential, Limits, limits
from edge.statistics.rates import Kappa

_SAME: Final = 1e-7
"""Probabilities that differ by less, relatively, are the same, as in R's fisher.test."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One class in two samples.

    Attributes:
        cell_class: the class.
        counts: cells of it in each.
        percents: of the cells that count, in each; None of none.
        limits: each percentage's exact 95 % limits.
        points: the second percentage less the first; None where either is.
        between: 95 % limits of that, in percentage points.
        p: of Fisher's test, as it stands.
        p_corrected: the same, corrected for all classes.
    """

    cell_class: str
    counts: tuple[int, int]
    percents: tuple[float | None, float | None]
    limits: tuple[Limits, Limits]
    points: float | None
    between: Limits | None
    p: float
    p_corrected: float


class Readers(NamedTuple):
    """Two readers of the same cells.

    Attributes:
        names: who; None for the device.
        classes: the rows and columns of `confusion`.
        confusion: cells by what the first (row) and the second (column) read.
        kappa: their agreement beyond chance; None where it is not defined.
        differing: the ids of the cells that they read differently, in order.
    """

    names: tuple[str | None, str | None]
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    kappa: Kappa | None
    differing: tuple[str, ...]


def compare(one: Differential, other: Differential) -> tuple[Difference, ...]:
    """Two samples, class by class, in the order of the first."""
    first = {share.cell_class: share for share in one.shares}
    second = {share.cell_class: share for share in other.shares}
    names = list(dict.fromkeys([*first, *second]))
    totals = one.accepted, other.accepted
    counts = [(first[n].count if n in first else 0, second[n].count if n in second else 0) for n in names]
    raw = [fisher(a, totals[0] - a, b, totals[1] - b) for a, b in counts]
    found: list[Difference] = []
    for name, (a, b), p, corrected in zip(names, counts, raw, holm(raw), strict=True):
        bounds = limits(a, totals[0]), limits(b, totals[1])
        percents = (_percent(a, totals[0]), _percent(b, totals[1]))
        points, between = None, None
        if percents[0] is not None and percents[1] is not None:
            points = percents[1] - percents[0]
            between = difference_limits(percents[0], bounds[0], percents[1], bounds[1])
        found.append(Difference(name, (a, b), percents, bounds, points, between, p, corrected))
    return tuple(found)


def fisher(a: int, b: int, c: int, d: int) -> float:
    """The two-sided p of Fisher's exact test on the table a b / c d; 1 where a row or column is empty."""
    row, column, total = a + b, a + c, a + b + c + d
    low, high = max(0, row + column - total), min(row, column)

    def log_probability(x: int) -> float:
        return _log_choose(column, x) + _log_choose(total - column, row - x) - _log_choose(total, row)

    limit = log_probability(a) + _SAME
    return min(1.0, sum(exp(each) for x in range(low, high + 1) if (each := log_probability(x)) <= limit))


def holm(ps: Sequence[float]) -> list[float]:
    """Each p, corrected for all of them."""
    corrected, largest = [1.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return corrected


def readers_of(readings: Mapping[str, tuple[Reading, ...]]) -> tuple[str, ...]:
    """Whose readings of a sample stand, those with the most first."""
    count: dict[str, int] = {}
    for said in readings.values():
        for name in {each.operator for each in said if stands(each)}:
            count[name] = count.get(name, 0) + 1
    return tuple(sorted(count, key=lambda name: (-count[name], name)))


def stands(reading: Reading) -> bool:
    """It was neither withdrawn, nor is it a withdrawal."""
    return reading.reading is not None and not reading.withdrawn


def first_and_second(said: Sequence[Reading]) -> tuple[Reading | None, Reading | None]:
    """The first reading of a cell that stands, and the newest by another person."""
    standing = [each for each in said if stands(each)]
    if not standing:
        return None, None
    first = standing[0]
    return first, next((each for each in reversed(standing) if each.operator != first.operator), None)


def agree(
    cells: Sequence[MirrorCell],
    readings: Mapping[str, tuple[Reading, ...]],
    one: str | None,
    other: str | None,
) -> Readers:
    """Two readers, over the cells that both have read.

    A person's reading is the newest that stands. The device's is its class, on flagged cells its best guess: they
    are what persons read most.

    Args:
        cells: of the sample.
        readings: of the sample, by cell.
        one: a person's name; None: the device.
        other: likewise.
    """
    pairs: list[tuple[str, str, str]] = []
    for cell in cells:
        said = readings.get(cell.record.id, ())
        a, b = (_read_by(name, cell, said) for name in (one, other))
        if a is not None and b is not None:
            pairs.append((cell.record.id, a, b))
    classes = tuple(sorted({each for _, a, b in pairs for each in (a, b)}))
    place = {name: index for index, name in enumerate(classes)}
    confusion = np.zeros((len(classes), len(classes)), np.int_)
    for _, a, b in pairs:
        confusion[place[a], place[b]] += 1
    rows = tuple(tuple(int(n) for n in row) for row in confusion)
    differing = tuple(cell for cell, a, b in pairs if a != b)
    return Readers((one, other), classes, rows, Kappa.of(confusion), differing)


def _read_by(name: str | None, cell: MirrorCell, said: Sequence[Reading]) -> str | None:
    if name is None:
        return cell.record.class_
    return next((each.reading for each in reversed(said) if each.operator == name and stands(each)), None)


def difference_limits(first: float, limits1: Limits, second: float, limits2: Limits) -> Limits:
    """95 % limits of the second percentage less the first, in points, from each one's own limits.

    They hold the truth in at least 95.4 % of pairs of 50 to 400 cells: see ``bench/difference_limits.py``.
    """
    points = second - first
    down = sqrt((second - limits2.low) ** 2 + (limits1.high - first) ** 2)
    up = sqrt((limits2.high - second) ** 2 + (first - limits1.low) ** 2)
    return Limits(max(-100.0, points - down), min(100.0, points + up))


def _percent(count: int, total: int) -> float | None:
    return 100 * count / total if total else None


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
