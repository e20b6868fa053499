"""A sample's report from what its device said of it: the same report as on the device, as far as messages tell.

Frames that were not read are in no message that names a sample, so that part stays empty. The audit trail is what
follows from messages: begun, target reached, finished, signed, and every review.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from dashboard.mirror import Mirror, MirrorCell, Reading
from edge.differential import Sample, result
from edge.errors import SampleError
from edge.records import Box, Place, Verdict
from edge.report.document import Paragraph
from edge.report.sample import ModelUsed, SampleReport
from edge.store import AuditEntry, Review, StoredCell
from edge.wire.payloads import SamplePayload

Format = Literal["html", "pdf", "csv", "json", "fhir"]

FORMATS: Final[dict[Format, tuple[str, str]]] = {
    "html": ("text/html; charset=utf-8", "html"),
    "pdf": ("application/pdf", "pdf"),
    "csv": ("text/csv; charset=utf-8", "csv"),
    "json": ("application/json", "json"),
    "fhir": ("application/fhir+json", "fhir.json"),
}
"""Media type and the file's ending."""

MOST_CELLS: Final = 1_000_000


def gather(mirror: Mirror, device: str, name: str, *, made_at: datetime) -> SampleReport:
    """Take a sample from the mirror.

    Args:
        mirror: the dashboard's copy, open.
        device: the device's name.
        name: the sample's id.
        made_at: now, in UTC.

    Raises:
        SampleError: nothing was heard of such a sample.
    """
    sample = described(mirror, device, name)
    cells = tuple(map(_cell, mirror.cells(device, name, limit=MOST_CELLS)))
    readings = mirror.readings_of(device, name)
    classes = tuple(dict.fromkeys(each for cell in cells for each in cell.probabilities))
    return SampleReport(
        device=device,
        sample=sample,
        result=result(mirror.tally(device, name), classes),
        models=models_used(mirror, device, name),
        cells=cells,
        reviews={cell: tuple(map(_review, said)) for cell, said in readings.items()},
        skipped={},
        audit=done(mirror, device, sample),
        made_at=made_at,
    )


def described(mirror: Mirror, device: str, name: str) -> Sample:
    """A sample as its device described it last.

    Raises:
        SampleError: nothing was heard of such a sample.
    """
    known = mirror.sample(device, name)
    if known is None:
        raise SampleError(f"nothing was heard of a sample {name!r} of {device!r}")
    return _sample(name, known.started_at, known.record)


def models_used(mirror: Mirror, device: str, name: str) -> tuple[ModelUsed, ...]:
    """What named a sample's cells, in the order of first use."""
    return tuple(ModelUsed(*each) for each in mirror.models(device, name))


def done(mirror: Mirror, device: str, sample: Sample) -> tuple[AuditEntry, ...]:
    """What was done to a sample, in order, as far as messages tell."""
    results, readings = mirror.results(device, sample.id), mirror.readings_of(device, sample.id)
    return tuple(_audit(device, sample, results, readings))


def lacking(mirror: Mirror, device: str, name: str) -> str:
    """What a person must know of a report made here: a sentence, empty where everything arrived."""
    gaps = mirror.missing(device)
    if not gaps:
        return ""
    count = sum(high - low + 1 for low, high in gaps)
    what = "1 message" if count == 1 else f"{count:,} messages"
    return (
        f"Incomplete: {what} of {device} did not arrive here yet, and some may be of sample {name}. "
        "The device itself has the whole of it."
    )


def rendered(report: SampleReport, form: Format, mirror: Mirror, note: str = "") -> bytes:
    """The report as a file.

    Args:
        report: what to say.
        form: how.
        mirror: where the cells' pictures are.
        note: a sentence to begin with, in what is read by people.
    """
    match form:
        case "csv":
            from edge.report.export import csv_text

            return csv_text(report).encode()
        case "json":
            from edge.report.export import json_text

            return json_text(report).encode()
        case "fhir":
            from edge.report.fhir import fhir_text

            return fhir_text(report).encode()
        case "html" | "pdf":
            from edge.report import html, pdf
            from edge.report.sample_page import document, pictured

            pictures = {cell.id: mirror.picture(report.device, cell.id) for cell in pictured(report)}
            page = document(report, {cell: jpeg for cell, jpeg in pictures.items() if jpeg})
            if note:
                page = replace(page, blocks=(Paragraph(note, "bad"), *page.blocks))
            return html.render(page).encode() if form == "html" else pdf.render(page)


def _sample(name: str, started_at: datetime, said: SamplePayload | None) -> Sample:
    if said is None:
        return Sample(name, started_at, 0)
    return Sample(
        name,
        started_at,
        said.target,
        named=said.named,
        operator=said.operator,
        reached_at=_moment(said.reached_at),
        finished_at=_moment(said.finished_at),
        signed_by=said.signed_by,
        signed_at=_moment(said.signed_at),
        first_seq=said.first_seq,
    )


def _cell(cell: MirrorCell) -> StoredCell:
    said = cell.record
    return StoredCell(
        seq=said.seq,
        id=said.id,
        sample=said.sample,
        file=said.file,
        index=said.cell,
        box=None if said.box is None else Box(*said.box),
        cell_class=said.class_,
        confidence=said.confidence,
        verdict=Verdict(said.verdict),
        reasons=tuple(said.reasons),
        probabilities=dict(said.probabilities),
        model=said.model,
        model_sha256=said.model_sha256,
        captured_at=datetime.fromisoformat(said.captured_at),
        place=None if said.place is None else Place(said.place.region, said.place.x, said.place.y),
        views=said.views,
        reviewed=cell.reviewed,
        threshold=said.threshold,
        throttled=tuple(said.throttled),
    )


def _review(said: Reading) -> Review:
    return Review(said.number, said.cell, said.reading, said.operator, said.at, said.withdrawn)


def _audit(
    device: str,
    sample: Sample,
    results: Iterable[SamplePayload],
    readings: dict[str, tuple[Reading, ...]],
) -> Iterator[AuditEntry]:
    """What was done, in order of time, numbered from 1."""
    done: list[tuple[datetime, str, str, str]] = []
    if sample.named:
        done.append((sample.started_at, sample.operator, "sample/start", f"target {sample.target}"))
    if sample.reached_at is not None:
        done.append((sample.reached_at, device, "sample/target", "as many cells as were wanted"))
    if sample.finished_at is not None:
        done.append((sample.finished_at, "", "sample/finish", ""))
    # The same signature is said again when the result is; its withdrawal bears no time of its own.
    signatures = {said.signed_at: said for said in results if said.signed_at is not None}
    for signed_at, said in signatures.items():
        author, detail = said.signed_by or "", f"result of {said.accepted} cells"
        done.append((datetime.fromisoformat(signed_at), author, "sample/sign", detail))
    done += [
        (each.at, each.operator, "review", f"cell {cell}: {each.reading or 'review withdrawn'}")
        for cell, all_said in readings.items()
        for each in all_said
    ]
    for number, (at, author, action, detail) in enumerate(sorted(done, key=lambda entry: entry[0]), start=1):
        yield AuditEntry(number, at, author, "mqtt", action, sample.id, detail)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
