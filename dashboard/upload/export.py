"""An upload's cells as files that are taken away: CSV, JSON, and a PDF to be read."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from dashboard.upload.found import Found
from dashboard.upload.rows import Picture, Row
from dashboard.upload.summary import evaluation, reasons, tally
from edge.pictures.output import Csv, Json
from edge.report import pdf
from edge.report.document import (
    INTENDED_USE,
    Block,
    Chart,
    Document,
    Facts,
    Gallery,
    Heading,
    Paragraph,
    Table,
)
from edge.report.document import Picture as Shown
from edge.report.drawing import GRID, INK, PALE, Drawing, Label, Line, Shape, shares
from edge.statistics.evaluation import ClassFigures, Evaluation
from edge.wire.cellrecord import CELL_SCHEMA

MOST_PICTURED = 60
"""Cells that the PDF shows; those that wait for a person first."""

_COLOURS = ("#1f4e8c", "#b5561f", "#2c7a3d", "#7a3d9a", "#8a6d00", "#a0304f")


def fields(found: Found, picture: Picture, row: Row, threshold: float) -> dict[str, object]:
    """One cell as `leukoscope classify` writes it, with its label where there is one."""
    label = found.label_of(picture.number) if row.central else None
    return {
        "schema": CELL_SCHEMA,
        "file": picture.name,
        "cell": row.cell,
        "box": None if row.box is None else list(row.box),
        "class": row.best,
        "confidence": round(row.confidence, 4),
        "verdict": row.verdict(threshold).value,
        "reasons": [reason.value for reason in row.reasons(threshold)],
        "probabilities": {name: round(share, 4) for name, share in row.probabilities.items()},
        "model": found.model.name,
        "model_sha256": found.model.sha256,
        "captured_at": row.captured_at,
        "elapsed_ms": round(row.elapsed_ms, 2),
        **({} if found.labels is None else {"label": label}),
    }


def as_csv(found: Found, threshold: float) -> str:
    """A line a cell; no text in it is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = Csv(out)
    for picture, row in found.cells():
        writer.cell(fields(found, picture, row, threshold))
    writer.end(None)
    return out.getvalue()


def as_json(found: Found, threshold: float) -> str:
    """An array of cells, its last element the evaluation where there are labels."""
    out = io.StringIO()
    writer = Json(out)
    for picture, row in found.cells():
        writer.cell(fields(found, picture, row, threshold))
    writer.end(evaluation(found, threshold))
    return out.getvalue()


def as_pdf(found: Found, threshold: float, made_at: datetime) -> bytes:
    """A report to be read."""
    return pdf.render(document(found, threshold, made_at))


def document(found: Found, threshold: float, made_at: datetime) -> Document:
    """Lay the report out."""
    figures = evaluation(found, threshold)
    blocks = (
        Paragraph(INTENDED_USE),
        *_what(found, threshold),
        *_counts(found, threshold),
        *(_figures(figures) if figures else ()),
        *_gallery(found, threshold),
        *_errors(found),
    )
    pictures = len(found.pictures)
    subject = f"{pictures:,} uploaded picture{'' if pictures == 1 else 's'}, model {found.model.name}"
    return Document("Uploaded pictures", subject, made_at, blocks)


def _what(found: Found, threshold: float) -> Iterator[Block]:
    model = found.model
    if not model.calibrated:
        yield Paragraph(
            "This model came without calibration: its confidence was never compared with how often it is right, "
            "and nothing tells whether a cell is unfamiliar to it.",
            "open",
        )
    if not found.over:
        yield Paragraph("Not all pictures were read when this was made.", "open")
    yield Facts(
        (
            ("model", model.name),
            ("its SHA-256", model.sha256),
            ("threshold", f"{threshold:.2f}"),
            ("pictures", f"{len(found.pictures):,}"),
            ("could not be read", f"{sum(bool(p.error) for p in found.pictures):,}"),
            ("white cells", f"{sum(map(len, found.rows.values())):,}"),
        )
    )


def _counts(found: Found, threshold: float) -> Iterator[Block]:
    counts = tally(found, threshold)
    yield Heading(f"Accepted cells: {counts.accepted:,}; flagged for a person: {counts.flagged:,}")
    yield Table(
        ("class", "cells", "%", "95 % limits"),
        tuple(
            (
                share.cell_class,
                f"{share.count:,}",
                "–" if share.percent is None else f"{share.percent:.1f}",
                f"{share.limits.low:.1f}–{share.limits.high:.1f}",
            )
            for share in counts.shares
        ),
        "lrrr",
    )
    if counts.accepted:
        yield Chart(
            shares([(share.cell_class, share.percent, share.limits) for share in counts.shares]),
            "Percent of the accepted cells, with exact (Clopper and Pearson) 95 % limits.",
        )
    if counts.flagged:
        rows = tuple((_words(reason), f"{n:,}") for reason, n in reasons(found, threshold).items())
        yield Table(("flagged for", "cells"), rows, "lr")


def _figures(figures: Evaluation) -> Iterator[Block]:
    yield Heading(f"Against the labels of {figures.pictures:,} pictures")
    yield Facts(
        (
            ("accuracy", str(figures.accuracy)),
            ("accuracy among the accepted", str(figures.accuracy_accepted)),
            ("accepted and wrong", str(figures.accepted_and_wrong)),
            ("macro F1", _number(figures.macro_f1)),
            ("labelled pictures without a cell", f"{figures.without_cell:,}"),
        )
    )
    yield Table(
        ("class", "pictures", "precision", "recall", "F1", "ROC AUC"),
        tuple(
            (c.name, f"{c.support:,}", _number(c.precision), _number(c.recall), _number(c.f1), _number(c.auc))
            for c in figures.by_class
        ),
        "lrrrrr",
    )
    most = max((max(row) for row in figures.confusion), default=0) or 1
    yield Paragraph("Rows: the label. Columns: what was read.")
    yield Table(
        ("", *figures.classes),
        tuple(
            (name, *(f"{n:,}" for n in row))
            for name, row in zip(figures.classes, figures.confusion, strict=True)
        ),
        "l" + "r" * len(figures.classes),
        shades=tuple((0.0, *(n / most for n in row)) for row in figures.confusion),
    )
    if any(c.roc for c in figures.by_class):
        yield Chart(
            roc(figures.by_class),
            "Receiver operating characteristic of each class against all others, by the class's probability.",
        )
    if figures.other_kinds:
        rows = tuple((kind, str(rate)) for kind, rate in figures.other_kinds.items())
        yield Table(("other kinds", "flagged, which is right"), rows, "lr")


def roc(classes: Sequence[ClassFigures]) -> Drawing:
    """Each class's true positive rate against its false positive rate."""
    left, top, side = 40.0, 12.0, 210.0
    shapes: list[Shape] = []
    for step in range(0, 11, 2):
        share = step / 10
        x, y = left + side * share, top + side * (1 - share)
        shapes += [Line(left, y, left + side, y, GRID, 0.5), Line(x, top, x, top + side, GRID, 0.5)]
        shapes.append(Label(left - 4, y + 3, f"{share:.1f}", "end"))
        shapes.append(Label(x, top + side + 12, f"{share:.1f}", "middle"))
    shapes.append(Line(left, top + side, left + side, top, PALE, 0.8))
    for number, each in enumerate(classes):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(left + side * x, top + side * (1 - y)) for x, y in each.roc]
        shapes += [Line(*start, *end, colour, 1.4) for start, end in pairwise(points)]
        y = top + 14 + 14 * number
        shapes.append(Line(left + side + 12, y - 3, left + side + 28, y - 3, colour, 2))
        shapes.append(Label(left + side + 33, y, f"{each.name} {_number(each.auc)}"))
    shapes.append(Line(left, top + side, left + side, top + side, INK))
    shapes.append(Line(left, top, left, top + side, INK))
    shapes.append(Label(left + side / 2, top + side + 26, "false positive rate", "middle"))
    shapes.append(Label(left, top - 3, "true positive rate"))
    return Drawing(left + side + 150, top + side + 32, tuple(shapes))


def _gallery(found: Found, threshold: float) -> Iterator[Block]:
    cells = sorted(
        found.cells(), key=lambda each: (not each[1].reasons(threshold), each[0].number, each[1].cell)
    )
    if not cells:
        return
    yield Heading("Cells, those that wait for a person first")
    if len(cells) > MOST_PICTURED:
        yield Paragraph(f"The first {MOST_PICTURED} of {len(cells):,} are shown.")
    yield Gallery(tuple(_shown(picture, row, threshold) for picture, row in cells[:MOST_PICTURED]))


def _shown(picture: Picture, row: Row, threshold: float) -> Shown:
    why = row.reasons(threshold)
    lines = [picture.name.rsplit("/", 1)[-1][-40:], f"{row.best} {row.confidence:.3f}"]
    if why:
        lines.append(", ".join(map(_words, why)))
    return Shown(row.portrait.read(), tuple(lines), "open" if why else "plain")


def _errors(found: Found) -> Iterator[Block]:
    wrong = [picture for picture in found.pictures if picture.error]
    if wrong:
        yield Heading(f"Could not be read: {len(wrong):,}")
        yield Table(("picture", "why"), tuple((p.name[-80:], p.error) for p in wrong[:200]), "ll")


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
