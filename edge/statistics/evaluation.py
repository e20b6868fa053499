"""Predictions and labels → figures. Pure: no drawing, no files.

Pictures labelled with a kind that the model does not know (immature cells, platelets, dirt) are kept apart:
on them the only right answer is to flag, and they count in none of the figures by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.datasets.taxonomy import among, kind_of
from edge.records import Reason
from edge.statistics.rates import Kappa, Rate

SCHEMA: Final = "leukoscope.evaluation/1"
BINS: Final = 15
THRESHOLDS: Final = tuple(round(0.50 + step / 100, 2) for step in range(50))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One labelled picture, and what was said of it.

    Attributes:
        label: its class by any of its names (`edge.datasets.taxonomy`); what is none of the model's is an other kind.
        probabilities: calibrated, by class of the model.
        reasons: why it was flagged; empty where it was accepted.
    """

    label: str
    probabilities: dict[str, float]
    reasons: tuple[Reason, ...]

    @property
    def best(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return max(self.probabilities.values())


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class against all others. Each figure is 0 to 1, or None where it would divide by nothing.

    Attributes:
        support: pictures labelled with it.
        roc: corners of the receiver operating characteristic, as (false positive rate, true positive rate).
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None
    roc: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures whose confidence lies in one of the equal parts of 0 to 1, upper edge included."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What would be accepted at a threshold, all other reasons for flagging kept. Shares are 0 to 1."""

    threshold: float
    accepted: float
    accuracy: float | None
    accepted_and_wrong: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one model on one set of labelled pictures.

    Attributes:
        pictures: labelled with one of the classes, and a cell was found.
        without_cell: labelled pictures in which no cell was found; they are in no other figure.
        confusion: pictures by label (row) and prediction (column), both in the order of `classes`.
        accuracy: right, whether flagged or not.
        kappa: agreement of label and reading beyond chance, whether flagged or not; None where undefined.
        accepted: the share that was accepted.
        accuracy_accepted: right, among the accepted.
        accepted_and_wrong: of all pictures; what could harm.
        reasons: how often each reason was given; a picture may carry several.
        ece: expected calibration error of the best class's probability, `BINS` equal bins, 0 to 1.
        other_kinds: by kind, how many were flagged, which is right.
    """

    classes: tuple[str, ...]
    pictures: int
    without_cell: int
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Rate
    kappa: Kappa | None
    accepted: Rate
    accuracy_accepted: Rate
    accepted_and_wrong: Rate
    reasons: dict[str, int]
    by_class: tuple[ClassFigures, ...]
    macro_f1: float | None
    ece: float | None
    reliability: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]
    other_kinds: dict[str, Rate]

    def recall(self, cell_class: str) -> Rate:
        """Of the pictures labelled with a class, those read as it, flagged or not."""
        at = self.classes.index(cell_class)
        return Rate.of(self.confusion[at][at], sum(self.confusion[at]))

    def precision(self, cell_class: str) -> Rate:
        """Of the pictures read as a class, flagged or not, those labelled with it."""
        at = self.classes.index(cell_class)
        return Rate.of(self.confusion[at][at], sum(row[at] for row in self.confusion))

    def fields(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        return {"schema": SCHEMA, **asdict(self)}


def evaluate(outcomes: Sequence[Outcome], classes: Sequence[str], *, without_cell: int = 0) -> Evaluation:
    """Work out every figure.

    Args:
        outcomes: in any order.
        classes: the model's, in its order; every outcome has a probability for each.
        without_cell: labelled pictures in which no cell was found.
    """
    outcomes = [replace(o, label=among(o.label, classes) or kind_of(o.label)) for o in outcomes]
    known = [outcome for outcome in outcomes if outcome.label in classes]
    labels = np.array([classes.index(outcome.label) for outcome in known], int)
    shape = (len(known), len(classes))
    probabilities = np.array([[o.probabilities[c] for c in classes] for o in known], float).reshape(shape)
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1, initial=0.0)
    right = best == labels
    accepted = np.array([not outcome.reasons for outcome in known], bool)
    # Of the reasons only this one moves with the threshold.
    otherwise = np.array([not set(o.reasons) - {Reason.LOW_CONFIDENCE} for o in known], bool)
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (labels, best), 1)
    by_class = tuple(
        _class_figures(name, confusion, index, probabilities[:, index], labels == index)
        for index, name in enumerate(classes)
    )
    f1 = [figures.f1 for figures in by_class if figures.support and figures.f1 is not None]
    reliability = _reliability(confidence, right)
    gaps = [
        b.count * abs(b.accuracy - b.confidence)
        for b in reliability
        if b.accuracy is not None and b.confidence
    ]
    total = len(known)
    return Evaluation(
        classes=tuple(classes),
        pictures=total,
        without_cell=without_cell,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        accuracy=Rate.of(int(right.sum()), total),
        kappa=Kappa.of(confusion),
        accepted=Rate.of(int(accepted.sum()), total),
        accuracy_accepted=Rate.of(int((right & accepted).sum()), int(accepted.sum())),
        accepted_and_wrong=Rate.of(int((~right & accepted).sum()), total),
        reasons={r.value: n for r in Reason if (n := sum(r in outcome.reasons for outcome in known))},
        by_class=by_class,
        macro_f1=sum(f1) / len(f1) if f1 else None,
        ece=sum(gaps) / total if total else None,
        reliability=reliability,
        coverage=tuple(_coverage(t, confidence >= t, otherwise, right) for t in THRESHOLDS) if total else (),
        other_kinds=_other_kinds([outcome for outcome in outcomes if outcome.label not in classes]),
    )


def _class_figures(
    name: str,
    confusion: NDArray[np.int_],
    index: int,
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
) -> ClassFigures:
    hits, support, said = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
    auc, roc = _roc(scores, positive)
    return ClassFigures(
        name=name,
        support=int(support),
        precision=float(hits / said) if said else None,
        recall=float(hits / support) if support else None,
        f1=float(2 * hits / (support + said)) if support + said else None,
        auc=auc,
        roc=roc,
    )


def _roc(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[float | None, tuple[tuple[float, float], ...]]:
    """The area under the curve, ties counted as half, and the curve's corners."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None, ()
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # equal scores move together
    true = np.concatenate([[0], np.cumsum(positive[order])[ends]])
    false = np.concatenate([[0], np.cumsum(~positive[order])[ends]])
    area = np.sum(np.diff(false) * (true[1:] + true[:-1])) / 2 / positives / negatives
    # A point between two neighbours on one line tells nothing.
    turns = np.diff(false)[:-1] * np.diff(true)[1:] != np.diff(false)[1:] * np.diff(true)[:-1]
    keep = np.concatenate([[True], turns, [True]])
    corners = zip(false[keep] / negatives, true[keep] / positives, strict=True)
    return float(area), tuple((float(x), float(y)) for x, y in corners)


def _reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = place == number
        count = int(inside.sum())
        mean = float(confidence[inside].mean()) if count else None
        share = float(right[inside].mean()) if count else None
        bins.append(Bin(number / BINS, (number + 1) / BINS, count, mean, share))
    return tuple(bins)


def _coverage(
    threshold: float, above: NDArray[np.bool_], otherwise: NDArray[np.bool_], right: NDArray[np.bool_]
) -> Coverage:
    accepted = above & otherwise
    accuracy = float(right[accepted].mean()) if accepted.any() else None
    return Coverage(threshold, float(accepted.mean()), accuracy, float((accepted & ~right).mean()))


def _other_kinds(outcomes: Sequence[Outcome]) -> dict[str, Rate]:
    kinds = sorted({outcome.label for outcome in outcomes})
    flagged = {kind: [bool(o.reasons) for o in outcomes if o.label == kind] for kind in kinds}
    return {kind: Rate.of(sum(flags), len(flags)) for kind, flags in flagged.items()}
