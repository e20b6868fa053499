"""Acceptance criteria: what a model must show at a site, and whether it does. One TOML file, read strictly.

A criterion is judged on the 95 % limit on its unfavourable side unless the file says otherwise: then a pass
means that so many cells were seen that luck is no explanation.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

from edge.errors import ConfigError
from edge.statistics.evaluation import Evaluation
from edge.statistics.rates import Rate

EXAMPLE: Final = Path(__file__).with_name("criteria.example.toml")
MINIMUM_CELLS: Final = 30
MOST_CELLS: Final = 1_000_000
"""Beyond this, how many cells would be needed is not said."""

Judge = Literal["limit", "estimate"]
Figure = Literal["recall", "accepted_and_wrong", "accepted", "kappa"]

JUDGES: Final[tuple[Judge, ...]] = ("limit", "estimate")
BARS: Final[Mapping[Figure, tuple[str, float, float]]] = {
    "recall": ("minimum_percent", 0.0, 100.0),
    "accepted_and_wrong": ("maximum_percent", 0.0, 100.0),
    "accepted": ("minimum_percent", 0.0, 100.0),
    "kappa": ("minimum", -1.0, 1.0),
}
"""Of each table its key and the interval that its number lies in."""


class Outcome(StrEnum):
    """What became of a criterion."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "not enough cells to tell"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One bar.

    Attributes:
        figure: what is measured.
        cell_class: of which class, for a recall; None stands for every class that has no bar of its own.
        bar: in percent; for kappa -1 to 1.
        judge: on what it is judged.
    """

    figure: Figure
    cell_class: str | None
    bar: float
    judge: Judge


@dataclass(frozen=True, slots=True)
class Criteria:
    """A file of criteria.

    Attributes:
        name: the file's name.
        sha256: of its bytes, in hexadecimal.
        minimum_cells: fewer do not decide a criterion that is judged on the estimate.
        criteria: at least one.
    """

    name: str
    sha256: str
    minimum_cells: int
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A criterion and what became of it.

    Attributes:
        wanted: the criterion, in words.
        found: the figure with its 95 % limits, in words.
        judge: on what it was judged.
        outcome: pass, fail, or not enough cells to tell.
        note: what would help, or an empty string.
    """

    wanted: str
    found: str
    judge: Judge
    outcome: Outcome
    note: str


def read(path: Path) -> Criteria:
    """Read a file of criteria.

    Raises:
        ConfigError: it is missing, is no TOML, or says something it must not say.
    """
    try:
        data = path.read_bytes()
        content = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        minimum, criteria = _parse(content)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Criteria(path.name, hashlib.sha256(data).hexdigest(), minimum, criteria)


def _parse(content: dict[str, Any]) -> tuple[int, tuple[Criterion, ...]]:
    _known(content, ("judged_on", "minimum_cells", *BARS), "")
    judge = _judge(content, "limit", "")
    minimum = content.get("minimum_cells", MINIMUM_CELLS)
    if not isinstance(minimum, int) or isinstance(minimum, bool) or not 1 <= minimum <= MOST_CELLS:
        raise ValueError(f"minimum_cells is {minimum!r} and must be a whole number from 1 to {MOST_CELLS:,}")
    criteria: list[Criterion] = []
    for figure in BARS:
        if figure in content:
            criteria += _table(figure, content[figure], judge)
    if not criteria:
        raise ValueError(f"sets no criterion; the tables are {', '.join(f'[{name}]' for name in BARS)}")
    return minimum, tuple(criteria)


def _table(figure: Figure, table: object, judge: Judge) -> list[Criterion]:
    where = f"[{figure}] "
    if not isinstance(table, dict):
        raise ValueError(f"{figure} must be a table: a line [{figure}], and below it {BARS[figure][0]}")
    key, low, high = BARS[figure]
    _known(table, (key, "judged_on", *(("classes",) if figure == "recall" else ())), where)
    judge = _judge(table, judge, where)
    classes = table.get("classes", {})
    if not isinstance(classes, dict):
        raise ValueError(
            "[recall] classes must be a table: a line [recall.classes], and below it a class each"
        )
    if key not in table and not classes:
        raise ValueError(f"{where}{key} is missing")
    found = [Criterion(figure, name, _number(bar, low, high, f"[recall.classes] {name}"), judge)
             for name, bar in classes.items()]  # fmt: skip
    if key in table:
        found.append(Criterion(figure, None, _number(table[key], low, high, where + key), judge))
    return found


def _known(table: dict[str, Any], keys: Sequence[str], where: str) -> None:
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            raise ValueError(
                f"{where}{key} is unknown; "
                + (f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}")
            )


def _judge(table: dict[str, Any], default: Judge, where: str) -> Judge:
    given = table.get("judged_on", default)
    for judge in JUDGES:
        if given == judge:
            return judge
    raise ValueError(f"{where}judged_on is {given!r} and must be 'limit' or 'estimate'")


def _number(value: object, low: float, high: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{where} is {value!r} and must be a number from {low:g} to {high:g}")
    return float(value)


def check(criteria: Criteria, classes: Sequence[str]) -> None:
    """Make sure that criteria name no class but a model's.

    Raises:
        ConfigError: one is named that the model does not have.
    """
    for name in sorted(_named(criteria) - set(classes)):
        near = difflib.get_close_matches(name, classes, 1)
        raise ConfigError(
            f"{criteria.name}: [recall.classes] {name} is no class of the model; "
            + (f"did you mean {near[0]}?" if near else f"its classes: {', '.join(classes)}")
        )


def judge(criteria: Criteria, evaluation: Evaluation) -> tuple[Judgement, ...]:
    """Judge every criterion; one that is for every class comes once a class.

    Args:
        criteria: which `check` has let pass for the model's classes.
        evaluation: the figures.
    """
    named = _named(criteria)
    judged = []
    for criterion in criteria.criteria:
        if criterion.figure != "recall":
            judged.append(_judged(criterion, None, evaluation, criteria.minimum_cells))
            continue
        own = (criterion.cell_class,) if criterion.cell_class else evaluation.classes
        for name in own:
            if criterion.cell_class or name not in named:
                judged.append(_judged(criterion, name, evaluation, criteria.minimum_cells))
    return tuple(judged)


def _named(criteria: Criteria) -> set[str]:
    return {c.cell_class for c in criteria.criteria if c.cell_class is not None}


def _judged(
    criterion: Criterion, cell_class: str | None, evaluation: Evaluation, minimum_cells: int
) -> Judgement:
    bar, at_least = criterion.bar, criterion.figure != "accepted_and_wrong"
    unit = "" if criterion.figure == "kappa" else " %"
    match criterion.figure:
        case "recall":
            assert cell_class is not None
            what = f"recall of {cell_class}"
            rate = evaluation.recall(cell_class)
            found = str(rate)
        case "accepted":
            what, rate = "accepted", evaluation.accepted
            found = str(rate)
        case "accepted_and_wrong":
            what, rate = "accepted and wrong", evaluation.accepted_and_wrong
            found = str(rate)
        case "kappa":
            what, kappa = "Cohen's kappa", evaluation.kappa
            found = "not defined" if kappa is None else f"{kappa}, of {kappa.observed.total} cells"
            # Kappa rises with the observed agreement: the bar on one is a bar on the other.
            rate = Rate.of(0, 0) if kappa is None else kappa.observed
            bar = 0.0 if kappa is None else 100 * (bar * (1 - kappa.chance) + kappa.chance)
    outcome = _outcome(rate, bar, at_least, criterion.judge, minimum_cells)
    return Judgement(
        f"{what} {'≥' if at_least else '≤'} {criterion.bar:g}{unit}",
        found,
        criterion.judge,
        outcome,
        _note(rate, bar, at_least, criterion.judge, minimum_cells) if outcome is Outcome.UNDECIDED else "",
    )


def _reaches(value: float, bar: float, at_least: bool) -> bool:
    # A share of exactly the bar must not miss it by a rounding error.
    return value >= bar - 1e-9 if at_least else value <= bar + 1e-9


def _outcome(rate: Rate, bar: float, at_least: bool, judge: Judge, minimum_cells: int) -> Outcome:
    if rate.percent is None or (judge == "estimate" and rate.total < minimum_cells):
        return Outcome.UNDECIDED
    if not _reaches(rate.percent, bar, at_least):
        return Outcome.FAIL
    limit = rate.low if at_least else rate.high
    return Outcome.PASS if judge == "estimate" or _reaches(limit, bar, at_least) else Outcome.UNDECIDED


def _note(rate: Rate, bar: float, at_least: bool, judge: Judge, minimum_cells: int) -> str:
    if rate.percent is None:
        return "there are none in the data"
    if judge == "estimate":
        return f"{minimum_cells} cells are asked for"
    needed = _needed(rate, bar, at_least)
    return f"about {needed:,} cells would do at this share" if needed else "the share lies too near the bar"


def _needed(rate: Rate, bar: float, at_least: bool) -> int | None:
    """About how many cells would decide it were the share the same: two digits, rounded up."""

    def enough(total: int) -> bool:
        # The share must not be rounded to the favourable side.
        share = rate.count * total / rate.total
        possible = Rate.of(math.floor(share) if at_least else math.ceil(share), total)
        return _reaches(possible.low if at_least else possible.high, bar, at_least)

    high = rate.total
    while not enough(high):
        high *= 2
        if high > MOST_CELLS:
            return None
    low = high // 2
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    step: int = 10 ** max(0, len(str(high)) - 2)
    return -(-high // step) * step
