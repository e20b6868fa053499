"""What a bundle does on labelled pictures, read as the device reads them: for its manifest and its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.datasets.labelled import LabelledFolder, Part
from edge.datasets.taxonomy import Names
from edge.inference.bundle import Bundle
from edge.pictures.reading import Settings, read_all
from edge.records import View
from edge.statistics.evaluation import evaluate


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one set of cells, in percent.

    Attributes:
        site: the data set's name.
        split: which part of it, or `all`.
        view: see `records.View`.
        trained: whether other cells of this set were in the training.
        cells: of the classes.
        right: named right, flagged or not.
        accepted: of all cells.
        accepted_wrong: accepted and wrong, of all cells.
        ece: expected calibration error, 0 to 1, 15 bins.
        others: cells of other kinds.
        others_flagged: of those; None without any.
    """

    site: str
    split: str
    view: str
    trained: bool
    cells: int
    right: float | None
    accepted: float | None
    accepted_wrong: float | None
    ece: float | None
    others: int
    others_flagged: float | None

    def record(self) -> dict[str, Any]:
        """As JSON, rounded to what the numbers can bear."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def measure(
    bundle: Bundle,
    folder: Path,
    part: Part | None,
    view: View,
    names: Names | None = None,
    record: Mapping[str, Part] | None = None,
) -> Measured:
    """Read every labelled picture of a folder, or of one part of it; `names` and `record` as `LabelledFolder`."""
    source = LabelledFolder(folder, names, record)
    source.settle()
    outcomes = []
    without_cell = 0
    for answer in read_all(source.pictures(part), Settings(bundle, view=view)):
        label = source.label(answer.name)
        if answer.central is not None and label is not None:
            outcomes.append(answer.central.outcome(label))
        elif answer.error is None:
            without_cell += 1
    found = evaluate(outcomes, bundle.classes, without_cell=without_cell)
    flagged = sum(rate.count for rate in found.other_kinds.values())
    others = sum(rate.total for rate in found.other_kinds.values())
    return Measured(
        folder.name,
        part or "all",
        view,
        False,
        found.pictures,
        found.accuracy.percent,
        found.accepted.percent,
        found.accepted_and_wrong.percent,
        found.ece,
        others,
        100 * flagged / others if others else None,
    )
