"""A training under way: the record of its epochs, the best model so far, and what a later run needs to go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from models.architectures import Stage
from models.plan import LABELS, Best, Plan

Report = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """How one epoch went.

    Attributes:
        stage: its stage's name.
        number: within the stage, from 1.
        loss: mean over the training pictures as augmented, with what the model's own penalties add; nats.
        validation_loss: mean cross-entropy over the validation crops, located and whole; nats.
        validation_accuracy: share right of the five classes' located crops, by the best of the five, as the device
            names a cell.
        confusion: the same crops and those of other kinds, counted by label (row) and by the best of all outputs
            (column), both in the order of `labels`.
        learning_rate: at its end.
        seconds: how long it took.
        labels: what the outputs stand for, see `Plan.labels`.
    """

    stage: str
    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    confusion: tuple[tuple[int, ...], ...]
    learning_rate: float
    seconds: float
    labels: tuple[str, ...] = LABELS

    @property
    def recall(self) -> dict[str, float]:
        """Share found of each label that validation has, 0 to 1. A cell taken for another kind is missed."""
        return {
            label: row[at] / sum(row)
            for at, (label, row) in enumerate(zip(self.labels, self.confusion, strict=True))
            if sum(row)
        }

    @property
    def precision(self) -> dict[str, float]:
        """Share right of what was taken for each label, 0 to 1; labels that nothing was taken for are left out."""
        columns = zip(self.labels, zip(*self.confusion, strict=True), strict=True)
        return {label: column[at] / sum(column) for at, (label, column) in enumerate(columns) if sum(column)}

    @property
    def macro_f1(self) -> float:
        """Mean over the labels that validation has of the harmonic mean of recall and precision, 0 to 1."""
        precision = self.precision
        pairs = [(recall, precision.get(label, 0.0)) for label, recall in self.recall.items()]
        return float(np.mean([2 * r * p / (r + p) if r + p else 0.0 for r, p in pairs]))

    def score(self, best_by: Best) -> tuple[float, ...]:
        """What epochs are compared by; less is better."""
        if best_by == "loss":
            return (self.validation_loss,)
        return -self.macro_f1, self.validation_loss

    def __str__(self) -> str:
        recalls = ", ".join(f"{label} {recall:.1%}" for label, recall in self.recall.items())
        return (
            f"{self.stage}: epoch {self.number}: loss {self.loss:.4f}, validation {self.validation_loss:.4f}, "
            f"{self.validation_accuracy:.2%} right, macro F1 {self.macro_f1:.2%}, "
            f"rate {self.learning_rate:.1e}, {self.seconds:.0f} s; recall: {recalls}"
        )


def read_history(path: Path) -> list[Epoch]:
    """The epochs of a run's `history.json`, in their order; none where there is no such file.

    Raises:
        DataError: it is not such a file.
    """
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text("utf-8"))
        return [
            Epoch(**row | {"confusion": tuple(map(tuple, row["confusion"])), "labels": tuple(row["labels"])})
            for row in rows
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is not the record of a training that this version can go on with: choose another --output"
        ) from error


def best_of(epochs: Sequence[Epoch], best_by: Best) -> Epoch:
    """The epoch whose weights are kept: the last of those that no other beats."""
    return min(reversed(epochs), key=lambda epoch: epoch.score(best_by))


def note_plan(path: Path, plan: Plan) -> None:
    """Write the plan, or see that it is the one that was written.

    Raises:
        DataError: the folder holds a training by another plan; the text names what differs.
    """
    now = json.loads(json.dumps(asdict(plan)))
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
        changed = [
            f"{key} was {before.get(key)}, is {now.get(key)}"
            for key in sorted(before.keys() | now.keys())
            if key not in before or key not in now or before[key] != now[key]
        ]
        if changed:
            raise DataError(
                f"{path.parent} holds a training by another plan; choose another --output ({'; '.join(changed)})"
            )
    path.write_text(json.dumps(now, indent=1), "utf-8")


class Run:
    """A training under way, in the folder that it leaves behind.

    Args:
        plan: what is trained.
        kept: a twin of the network in full precision, in which the best weights are saved.
        output: the folder.
        report: takes a line of progress.
    """

    def __init__(self, plan: Plan, kept: Any, output: Path, report: Report) -> None:
        self.plan, self.kept, self.output, self.report = plan, kept, output, report
        self.history = output / "history.json"
        self.epochs = read_history(self.history)

    def of(self, stage: Stage) -> list[Epoch]:
        """The finished epochs of a stage."""
        return [epoch for epoch in self.epochs if epoch.stage == stage.name]

    def scores(self, stage: Stage) -> list[tuple[float, ...]]:
        """What the finished epochs of a stage are compared by; less is better."""
        return [epoch.score(self.plan.best_by) for epoch in self.of(stage)]

    def ended(self, stage: Stage) -> bool:
        """Whether a stage has had its epochs, or its last ones brought nothing better."""
        scores = self.scores(stage)
        if len(scores) >= stage.epochs:
            return True
        if not scores or len(scores) - scores.index(min(scores)) <= self.plan.patience:
            return False
        self.report(f"{stage.name}: no better {self._score_in_words} for {self.plan.patience} epochs")
        return True

    @property
    def _score_in_words(self) -> str:
        return "validation loss" if self.plan.best_by == "loss" else "macro F1"

    def restore(self, state: Any, number: int, epoch: int) -> None:
        """Bring variables back to where an epoch of the stage with this number left them.

        Raises:
            DataError: its checkpoint is gone.
        """
        path = self._checkpoint(number, epoch)
        if not Path(f"{path}.index").exists():
            raise DataError(
                f"{path} is missing, without which this training cannot go on: choose another --output"
            )
        state.read(path).expect_partial()

    def _checkpoint(self, number: int, epoch: int) -> str:
        """Where the state after an epoch is kept: a file for each, so that one is whole at any moment."""
        return str(self.output / "checkpoint" / f"{number}-{epoch}")

    def watch(self, stage: Stage, epoch: int, done: int, of: int) -> None:
        """Say now and then how far an epoch is."""
        if done == of or (done // self.plan.batch) % 50 == 0:
            self.report(f"{stage.name}: epoch {epoch} of {stage.epochs}, {done} of {of} pictures")

    def add(self, epoch: Epoch, weights: Sequence[NDArray[np.float32]]) -> None:
        """Note an epoch; the best so far becomes the model.

        Args:
            epoch: how it went.
            weights: the network's, as they were validated.
        """
        self.epochs.append(epoch)
        if best_of(self.epochs, self.plan.best_by) is epoch:
            # A twin in full precision is what is kept: half-width operations cannot be converted.
            self.kept.set_weights(weights)
            partial = self.output / "partial.keras"
            self.kept.save(partial)
            partial.replace(self.output / "model.keras")
        self.report(str(epoch))

    def save(self, state: Any, number: int, epoch: int) -> None:
        """Keep what a later run goes on from, then the record that points to it, then forget what came before."""
        state.write(self._checkpoint(number, epoch))
        partial = self.history.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(e) for e in self.epochs], indent=1), "utf-8")
        partial.replace(self.history)
        for file in (self.output / "checkpoint").iterdir():
            if not file.name.startswith(f"{number}-{epoch}."):
                file.unlink()
