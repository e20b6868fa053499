"""A model's evaluation at a site, as a document that a laboratory files and signs by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge import __version__
from edge.report.criteria import Criteria, Judgement, Outcome
from edge.report.document import (
    INTENDED_USE,
    Block,
    Chart,
    Document,
    Facts,
    Gallery,
    Heading,
    Paragraph,
    Picture,
    Signatures,
    Table,
    Tone,
)
from edge.report.drawing import reliability
from edge.report.measure import Measured, Misread
from edge.statistics.evaluation import BINS, Evaluation

if TYPE_CHECKING:
    from edge.inference.decide import OperatingPoint

LISTING: Final = "data.csv"
"""The file that lists the pictures."""

CAUTION: Final = (
    "These figures hold for these pictures. Another stain, camera or laboratory needs its own, "
    "and pictures that a model was trained on say nothing about it."
)

METHODS: Final = (
    "Limits of shares are exact (Clopper and Pearson, Biometrika 1934, 26, 404–413). Kappa is Cohen's (Educational "
    "and Psychological Measurement 1960, 20, 37–46); its limits are the exact ones of the observed agreement, with "
    "the chance agreement taken as known. Precision is of the cells read as a class, recall of the cells that a "
    "person named so, F1 their harmonic mean; all three, the confusion matrix, accuracy and kappa are over all cells, "
    f"flagged or not. The calibration error is of the best class's probability, in {BINS} equal parts."
)

TONES: Final[dict[Outcome, Tone]] = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.UNDECIDED: "open"}


@dataclass(frozen=True, slots=True)
class Examined:
    """What was examined, and with what.

    Attributes:
        folders: the data, as the user named it.
        split: `all`, or the part of the split that was read.
        view: how the pictures were taken, see `records.View`.
        um_per_pixel: the scale that was given; None where it was read off the red cells.
        model: the bundle's name, or its folder's.
        version: the bundle's version.
        sha256: the hash of its model file.
        point: where accepted ends and flagged begins.
    """

    folders: tuple[str, ...]
    split: str
    view: str
    um_per_pixel: float | None
    model: str
    version: str
    sha256: str
    point: OperatingPoint

    @property
    def part(self) -> str:
        """The part of the pictures, in words."""
        if self.split == "all":
            return "all pictures"
        return f"the {self.split} part of the pictures, by SHA-256 of their bytes"


@dataclass(frozen=True, slots=True)
class Run:
    """One model's evaluation.

    Attributes:
        examined: the data, the model and how it read.
        measured: what came of it.
        judgements: what became of each criterion; empty where none was set.
    """

    examined: Examined
    measured: Measured
    judgements: tuple[Judgement, ...]


def validation(
    run: Run, pictures: Sequence[tuple[Misread, bytes]], criteria: Criteria | None, made_at: datetime
) -> Document:
    """Lay out a validation report.

    Args:
        run: the evaluation.
        pictures: misread cells with their crops as JPEG, the worst first.
        criteria: what was asked for; None where nothing was.
        made_at: now, in UTC.
    """
    blocks = (
        _summary(criteria, run.judgements),
        Paragraph(INTENDED_USE),
        *_examined(run),
        *_criteria(criteria, run.judgements),
        *_figures(run.measured.evaluation),
        *_misread(pictures, run.measured.misread_count),
        Heading("How to read it"),
        Paragraph(METHODS),
        Paragraph(CAUTION),
        Heading("Signatures"),
        Signatures(("Examined by", "Approved by")),
    )
    return Document("Validation report", f"{run.examined.model} {run.examined.version}", made_at, blocks)


def worst(judgements: Sequence[Judgement]) -> Outcome:
    """What became of all criteria together: one failed fails all, one undecided leaves all undecided."""
    outcomes = {judgement.outcome for judgement in judgements}
    return next((o for o in (Outcome.FAIL, Outcome.UNDECIDED) if o in outcomes), Outcome.PASS)


def verdict(criteria: Criteria | None, judgements: Sequence[Judgement]) -> str:
    """The outcome in one sentence."""
    if criteria is None:
        return "No acceptance criteria were set: this report states figures and passes no judgement."
    counts = Counter(judgement.outcome for judgement in judgements)
    words = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.UNDECIDED: "lack the cells to tell"}
    parts = [f"{counts[outcome]} {words[outcome]}" for outcome in Outcome if counts[outcome]]
    return f"{worst(judgements).value.upper()}. Of {len(judgements)} acceptance criteria {', '.join(parts)}."


def _summary(criteria: Criteria | None, judgements: Sequence[Judgement]) -> Paragraph:
    tone: Tone = "open" if criteria is None else TONES[worst(judgements)]
    return Paragraph(verdict(criteria, judgements), tone)


def _examined(run: Run) -> Iterator[Block]:
    examined, items, point = run.examined, run.measured.items, run.examined.point
    labels = Counter(item.label for item in items)
    scale = examined.um_per_pixel
    yield Heading("What was examined")
    yield Facts(
        (
            ("data", ", ".join(examined.folders)),
            ("part", examined.part),
            ("pictures", f"{len(items):,}: " + ", ".join(f"{n:,} {k}" for k, n in sorted(labels.items()))),
            (
                "list of the pictures",
                f"{LISTING}, SHA-256 {sha256(run.measured.listing.encode()).hexdigest()}",
            ),
            ("could not be read", f"{run.measured.unreadable:,}"),
            ("model", f"{examined.model}, version {examined.version}"),
            ("SHA-256 of the model", examined.sha256),
            (
                "accepted is",
                f"confidence ≥ {point.threshold:.2f}, the best two classes ≥ {point.margin:.2f} apart, familiar, "
                f"sharpness ≥ {point.sharpness:.3g}, contrast ≥ {point.contrast:.3g}, brightness ≥ "
                f"{point.brightness:.3g}, not cut off",
            ),
            (
                "view and scale",
                f"{examined.view}; " + (f"{scale:g} µm a pixel" if scale else "read off the red cells"),
            ),
            ("software", f"leukoscope {__version__}"),
        )
    )


def _criteria(criteria: Criteria | None, judgements: Sequence[Judgement]) -> Iterator[Block]:
    if criteria is None:
        return
    yield Heading("Acceptance criteria")
    yield Table(
        ("criterion", "found (95 % limits)", "judged on the", "outcome"),
        tuple(
            (j.wanted, j.found, j.judge, j.outcome + (f": {j.note}" if j.note else "")) for j in judgements
        ),
        "llll",
        tuple(TONES[j.outcome] for j in judgements),
    )
    yield Paragraph(f"Set in {criteria.name}, SHA-256 {criteria.sha256}.")


def _figures(evaluation: Evaluation) -> Iterator[Block]:
    total = f"{evaluation.pictures:,}"
    yield Heading(f"Figures, of {total} cells of the model's classes")
    rows = [
        ("right, flagged or not", str(evaluation.accuracy)),
        ("Cohen's kappa", "not defined" if evaluation.kappa is None else str(evaluation.kappa)),
        ("accepted", str(evaluation.accepted)),
        ("right of the accepted", str(evaluation.accuracy_accepted)),
        ("accepted and wrong", str(evaluation.accepted_and_wrong)),
        ("macro F1", _number(evaluation.macro_f1)),
        ("expected calibration error", _number(evaluation.ece)),
        ("pictures in which no cell was found, in no figure", f"{evaluation.without_cell:,}"),
    ]
    yield Table(("figure", "with 95 % limits"), tuple(rows), "ll")
    if evaluation.reasons:
        yield Heading("Flagged, by reason")
        reasons = tuple((reason, f"{count:,}") for reason, count in evaluation.reasons.items())
        yield Table(("reason (a cell may have several)", "cells"), reasons, "lr")
    yield Heading("By class")
    yield Table(
        ("class", "cells", "precision", "recall", "F1"),
        tuple(
            (c.name, f"{c.support:,}", str(evaluation.precision(c.name)), str(evaluation.recall(c.name)), _number(c.f1))
            for c in evaluation.by_class
        ),
        "lrlll",
    )  # fmt: skip
    yield Heading("Confusion matrix")
    yield Table(
        ("labelled ↓ read →", *evaluation.classes),
        tuple(
            (name, *(f"{count:,}" for count in row))
            for name, row in zip(evaluation.classes, evaluation.confusion, strict=True)
        ),
        "l" + "r" * len(evaluation.classes),
        shades=tuple((0.0, *(count / max(1, sum(row)) for count in row)) for row in evaluation.confusion),
    )
    if evaluation.other_kinds:
        yield Heading("Other kinds, of which only flagged is right")
        kinds = tuple((kind, str(rate)) for kind, rate in evaluation.other_kinds.items())
        yield Table(("kind", "flagged"), kinds, "ll")
    yield Heading("Confidence against what was right")
    yield Chart(
        reliability(evaluation.reliability),
        "Of the cells with about one confidence, the share that was right, and how many they were. On the line, "
        "confidence says what it means; below it, the model is too sure.",
    )


def _misread(misread: Sequence[tuple[Misread, bytes]], count: int) -> Iterator[Block]:
    yield Heading(f"Misread cells: {count:,}" if count else "Misread cells: none")
    if not count:
        return
    yield Paragraph(
        "What the person said → what was read. Framed in red: accepted and wrong. Other kinds are shown where "
        "they were accepted." + (f" The worst {len(misread):,} are shown." if len(misread) < count else "")
    )
    yield Gallery(tuple(_picture(each, jpeg) for each, jpeg in misread))


def _picture(misread: Misread, jpeg: bytes) -> Picture:
    outcome = misread.outcome
    said = "accepted" if not outcome.reasons else ", ".join(reason.value for reason in outcome.reasons)
    lines = (
        f"{outcome.label} →",
        f"{outcome.best} {outcome.confidence:.3f}",
        said,
        Path(misread.picture.name).name,
    )
    return Picture(jpeg, lines, "plain" if outcome.reasons else "bad")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
