"""A sample's report as a document, to be read, signed and filed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from edge import __version__
from edge.differential import CANNOT_TELL, NOT_A_WHITE_CELL, OTHER_WHITE_CELL, Limits, place
from edge.records import Verdict
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
)
from edge.report.drawing import shares as drawn
from edge.report.sample import WAITING, SampleReport, standing
from edge.store import Review, StoredCell

MOST_PICTURED: Final = 100
"""Cells of a class that the gallery shows."""

NAMES: Final = {
    OTHER_WHITE_CELL: "other white cell",
    NOT_A_WHITE_CELL: "not a white cell",
    CANNOT_TELL: "cannot be told",
    WAITING: "flagged, waiting",
}
"""What is no class of a model, in words."""

METHODS: Final = (
    "Percentages are of the cells that count: those that the device accepted and nobody changed, and those that a "
    "person named. Limits are exact (Clopper and Pearson 1934): each class's own hold the truth in at least 95 of "
    "100 samples; those for all classes at once (Bonferroni) hold together in as many. Flagged cells that wait for a "
    "person are in no percentage."
)


def document(report: SampleReport, crops: Mapping[str, bytes]) -> Document:
    """Lay out a sample's report.

    Args:
        report: the sample.
        crops: the cells' pictures as JPEG, by the cell's id; those that are kept no longer are missing.
    """
    blocks = (
        _state(report),
        Paragraph(INTENDED_USE),
        *_identity(report),
        *_differential(report),
        *_decided(report),
        *_galleries(report, crops),
        *_skipped(report),
        *_audit(report),
        Heading("Signatures"),
        *_signature(report),
        Signatures(("Examined by", "Result approved by")),
    )
    return Document(
        "Differential count", f"sample {report.sample.id}, device {report.device}", report.made_at, blocks
    )


def named(standing: str) -> str:
    """A class or another reading, in words."""
    return NAMES.get(standing, standing)


def _state(report: SampleReport) -> Paragraph:
    sample = report.sample
    if sample.signed_by is None:
        parts = ["Preliminary: no person has signed this result."]
    else:
        parts = [f"{report.status.capitalize()}: signed by {sample.signed_by}, {when(sample.signed_at)}."]
    if not report.sample.named:
        parts.append(
            "Nobody started this sample: it holds what the device counted on a day while none was open."
        )
    elif report.sample.finished_at is None:
        parts.append("The sample is still open.")
    if report.result.accepted < report.sample.target:
        parts.append(f"{report.result.accepted} of the {report.sample.target} cells wanted are counted.")
    if report.result.flagged:
        parts.append(f"Flagged, waiting for a person: {_cells(report.result.flagged)}.")
    return Paragraph(" ".join(parts), "open" if sample.signed_by is None else "plain")


def _signature(report: SampleReport) -> Iterator[Block]:
    if report.sample.signed_by is not None:
        yield Facts((("signed by", report.sample.signed_by), ("signed at", when(report.sample.signed_at))))
        yield Paragraph(
            "The name is kept as it was given to the device, which does not check who somebody is."
        )


def _identity(report: SampleReport) -> Iterator[Block]:
    sample = report.sample
    models = [
        row
        for m in report.models
        for row in (("model", f"{m.name}, {_cells(m.cells)}"), ("its SHA-256", m.sha256))
    ]
    yield Heading("Sample")
    yield Facts(
        (
            ("sample", sample.id),
            ("device", report.device),
            ("operator", sample.operator or "not named"),
            ("begun", when(sample.started_at)),
            ("target reached", when(sample.reached_at)),
            ("finished", when(sample.finished_at)),
            ("cells seen", f"{when(report.first_at)} to {when(report.last_at)}" if report.cells else "none"),
            *models,
            ("threshold", _by_number({_point(point): n for point, n in report.thresholds().items()})),
            ("decided while the machine was held back", _by_number(report.held_back())),
            ("software", f"leukoscope {__version__}"),
        )
    )


def _differential(report: SampleReport) -> Iterator[Block]:
    result = report.result
    shares = sorted(result.shares, key=lambda share: place(share.cell_class))
    yield Heading(f"Differential, of {_cells(result.accepted)}")
    yield Table(
        ("class", "cells", "%", "95 % limits", "for all classes at once"),
        tuple(
            (
                named(share.cell_class),
                f"{share.count:,}",
                "–" if share.percent is None else f"{share.percent:.1f}",
                _limits(share.limits),
                _limits(share.simultaneous),
            )
            for share in shares
        ),
        "lrrrr",
    )
    if result.accepted:
        yield Chart(
            drawn([(named(share.cell_class), share.percent, share.limits) for share in shares]),
            "Percent of the cells that count, with each class's own 95 % limits.",
        )
    yield Facts(
        (
            ("flagged, waiting for a person", f"{result.flagged:,}"),
            ("decided by a person", f"{result.reviewed:,}"),
            ("of these, not a white cell", f"{result.not_white_cells:,}"),
            ("of these, cannot be told", f"{result.cannot_tell:,}"),
        )
    )
    yield Paragraph(METHODS)


def _decided(report: SampleReport) -> Iterator[Block]:
    cells = [c for c in report.cells if c.verdict is Verdict.FLAGGED or c.id in report.reviews]
    yield Heading("Cells that were flagged or decided by a person")
    if not cells:
        yield Paragraph("None.")
        return
    yield Paragraph(
        "Each with the device's reading and confidence, and everything that persons said of it, in order."
    )
    yield Table(
        ("cell", "device", "flagged for", "persons", "counts as"),
        tuple(
            (
                cell.id,
                f"{cell.cell_class} {cell.confidence:.3f}",
                _reasons(cell) or "accepted",
                "; ".join(map(_said, report.reviews.get(cell.id, ()))) or "–",
                named(standing(cell)),
            )
            for cell in cells
        ),
        "lllll",
        tuple("open" if standing(cell) == WAITING else "plain" for cell in cells),
    )


def _reasons(cell: StoredCell) -> str:
    return ", ".join(reason.replace("_", " ") for reason in cell.reasons)


def _said(review: Review) -> str:
    reading = "the review before withdrawn" if review.reading is None else named(review.reading)
    taken_back = ", withdrawn later" if review.withdrawn else ""
    return f"{reading} ({review.operator or 'not named'}, {when(review.at)}{taken_back})"


def _galleries(report: SampleReport, crops: Mapping[str, bytes]) -> Iterator[Block]:
    for name, cells in _in_order(report):
        shown = cells[:MOST_PICTURED]
        yield Heading(f"{named(name).capitalize()}: {_cells(len(cells))}")
        if len(shown) < len(cells):
            yield Paragraph(f"The first {len(shown)} are shown.")
        yield Gallery(tuple(_picture(cell, crops.get(cell.id)) for cell in shown))


def pictured(report: SampleReport) -> tuple[StoredCell, ...]:
    """The cells that the gallery shows."""
    return tuple(cell for _, cells in _in_order(report) for cell in cells[:MOST_PICTURED])


def _in_order(report: SampleReport) -> list[tuple[str, list[StoredCell]]]:
    found = list(report.by_standing().items())
    return sorted(found, key=lambda item: place(item[0]))  # what is no class keeps its place at the end


def _picture(cell: StoredCell, jpeg: bytes | None) -> Picture:
    lines = [cell.id, f"{cell.cell_class} {cell.confidence:.3f}"]
    if cell.reviewed is not None:
        lines.append(f"person: {named(cell.reviewed)}")
    elif cell.reasons:
        lines.append(_reasons(cell))
    if jpeg is None:
        lines.append("picture not kept")
    return Picture(jpeg, tuple(lines), "open" if standing(cell) == WAITING else "plain")


def _skipped(report: SampleReport) -> Iterator[Block]:
    yield Heading("Frames that were not read")
    if report.skipped:
        rows = tuple((reason.replace("_", " "), f"{count:,}") for reason, count in report.skipped.items())
        yield Table(("reason", "frames"), rows, "lr")
    else:
        yield Paragraph("None.")


def _audit(report: SampleReport) -> Iterator[Block]:
    yield Heading("Audit trail")
    if report.audit:
        rows = tuple((when(e.at), e.author, e.via, e.action, e.detail) for e in report.audit)
        yield Table(("when", "who", "by way of", "what", "detail"), rows, "lllll")
    else:
        yield Paragraph("Nobody has started, finished or reviewed anything in this sample.")


def when(moment: datetime | None) -> str:
    """A moment for reading, in UTC; a dash for none."""
    return "–" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _cells(count: int) -> str:
    return f"{count:,} cell{'' if count == 1 else 's'}"


def _by_number(cells: Mapping[str, int]) -> str:
    return "; ".join(f"{name}: {_cells(count)}" for name, count in cells.items()) or "none"


def _point(threshold: float | None) -> str:
    return "not known" if threshold is None else f"{threshold:.2f}"


def _limits(limits: Limits) -> str:
    return f"{limits.low:.1f}–{limits.high:.1f}"
