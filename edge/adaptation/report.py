"""What adapting to a site changed, as tables and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from edge.adaptation.cells import SiteCell
from edge.adaptation.fit import Change
from edge.errors import DataError
from edge.pictures.output import table
from edge.statistics.evaluation import Evaluation
from edge.text import printable

SCHEMA: Final = "leukoscope.adaptation/1"

FEW: Final = 10
"""Cells of a class below which figures say little, and which a person is told."""

TOO_FEW: Final = 5
"""Cells of a class below which it does not count as one that the site shows."""


def check(cells: Sequence[SiteCell], classes: Sequence[str], site: str, folds: int) -> list[str]:
    """Whether there is enough to adapt to.

    Args:
        cells: of the site.
        classes: the model's.
        site: the folder's name, for errors.
        folds: parts to split them into.

    Returns:
        A sentence for each thing that a person should know.

    Raises:
        DataError: there is not.
    """
    counts = Counter(cell.kind for cell in cells)
    shown = [name for name in classes if counts[name] >= TOO_FEW]
    if len(shown) < 2:
        there = (
            ", ".join(f"{counts[name]} {name}" for name in classes if counts[name]) or "none of the classes"
        )
        raise DataError(
            f"{site}: two classes with at least {TOO_FEW} cells each are needed, and about twenty of each are "
            f"wanted; there are {there}"
        )
    units = len({cell.unit for cell in cells if cell.kind in classes})
    if units < folds:
        raise DataError(
            f"{site}: cells of {units} pictures cannot be split into {folds}: label more pictures"
        )
    absent = [name for name in classes if not counts[name]]
    few = [f"{name} ({counts[name]})" for name in classes if 0 < counts[name] < FEW]
    told = []
    if absent:
        told.append(f"no {', no '.join(absent)} is among the cells: the model keeps what it knows of them")
    if few:
        told.append(f"fewer than {FEW} cells of {', '.join(few)}: figures for them say little, label more")
    return told


def text(changes: Sequence[Change]) -> str:
    """Tables of what was before and is after: the site first, then each folder that is to be kept."""
    return "\n".join(_tables(change) for change in changes)


def _tables(change: Change) -> str:
    before, after = change.before, change.after
    found = (("right", "accuracy"), ("accepted", "accepted"), ("accepted and wrong", "accepted_and_wrong"))
    rows: list[tuple[str, object, object]] = [
        (name, getattr(before, figure), getattr(after, figure)) for name, figure in found
    ]
    rows.append(("calibration error", _share(before.ece), _share(after.ece)))
    rows += [
        (f"{name}, right", before.recall(name), after.recall(name))
        for name in before.classes
        if before.recall(name).total
    ]
    rows += [
        (f"{printable(kind)}, flagged", before.other_kinds[kind], after.other_kinds[kind])
        for kind in before.other_kinds
    ]
    lost = f"; no cell was found in {before.without_cell} more pictures" if before.without_cell else ""
    return "\n".join(
        (
            f"{printable(change.site)}: {before.pictures} cells of the classes, with 95 % limits{lost}\n",
            table(("", "before", "after, by cross-validation"), rows),
            _confusion(before, "before"),
            _confusion(after, "after"),
        )
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _confusion(found: Evaluation, when: str) -> str:
    rows = [(name, *row) for name, row in zip(found.classes, found.confusion, strict=True) if sum(row)]
    return table((f"{when}: labelled ↓ read →", *found.classes), rows)


def record(changes: Sequence[Change], parent: str, name: str, directory: str | None) -> dict[str, Any]:
    """The same for other programs: every figure before and after, and where the bundle is, if it was written."""
    return {
        "schema": SCHEMA,
        "parent": parent,
        "name": name,
        "directory": directory,
        "changes": [
            {"site": c.site, "before": c.before.fields(), "after": c.after.fields()} for c in changes
        ],
    }
