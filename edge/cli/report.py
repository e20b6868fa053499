"""`leukoscope report`: a sample's result, to be read, signed, filed, or taken over by another program."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from edge.cli.config import config_option
from edge.cli.files import write_bytes
from edge.cli.groups import examples
from edge.text import printable

if TYPE_CHECKING:
    from edge.report.sample import SampleReport
    from edge.store import Store

Format = Literal["html", "pdf", "csv", "json", "fhir"]

SUFFIXES: Final[dict[str, Format]] = {
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".csv": "csv",
    ".json": "json",
}


@click.command(
    epilog=examples(
        "leukoscope report S-001 --output S-001.pdf",
        "leukoscope report S-001 --output S-001.fhir.json",
        "leukoscope report bench-1-2026-01-31 --format csv --config leukoscope.toml",
    )
)
@click.argument("sample", metavar="SAMPLE")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "pdf", "csv", "json", "fhir"]),
    help="html and pdf: to be read and signed. csv: the differential, for a spreadsheet. json: everything but the "
    "pictures. fhir: an R4 transaction with a DiagnosticReport. Default: by the ending of the file (.fhir.json too), "
    "else html.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, all or nothing, not to standard output.",
)
@config_option
def command(sample: str, form: Format | None, output: Path | None, config: Path) -> None:
    """Write the report of a sample: counts with their limits, flagged cells, pictures, who did what.

    SAMPLE is an ID as given to `leukoscope sample start`, or a device's day such as bench-1-2026-01-31. The
    daemon may run or not. The result is preliminary: a person signs it.
    """
    from edge.config import load
    from edge.report.sample import gather
    from edge.store import Store

    chosen = form or _by_name(output)
    if chosen == "pdf" and output is None and sys.stdout.isatty():
        raise click.UsageError("A PDF is not for a terminal: name a file with --output.")
    settings = load(config)
    with Store(settings.store.path, shared=True) as store:
        report = gather(store, sample, device=settings.device.name, made_at=datetime.now(UTC))
        data = _rendered(report, chosen, store)
    if output:
        write_bytes(output, data)
        click.echo(printable(f"{output}: {_standing(report)}"), err=True)
    else:
        click.echo(data, nl=False)


def _by_name(output: Path | None) -> Format:
    """What the name of the file says, else HTML."""
    if output is None:
        return "html"
    if output.name.lower().endswith(".fhir.json"):
        return "fhir"
    return SUFFIXES.get(output.suffix.lower(), "html")


def _standing(report: SampleReport) -> str:
    """Say whether a report is final, and if not, what it waits for."""
    if report.sample.signed_by:
        return f"final, signed by {report.sample.signed_by}"
    waits = report.result.flagged
    cells = f"; {waits} flagged cell{' waits' if waits == 1 else 's wait'} for a person" if waits else ""
    return f"preliminary: nobody has signed it{cells}"


def _rendered(report: SampleReport, form: Format, store: Store) -> bytes:
    if form == "csv":
        from edge.report.export import csv_text

        return csv_text(report).encode()
    if form == "json":
        from edge.report.export import json_text

        return json_text(report).encode()
    if form == "fhir":
        from edge.report.fhir import fhir_text

        return fhir_text(report).encode()
    from edge.report import html, pdf
    from edge.report.document import JPEG_MAGIC
    from edge.report.sample_page import document, pictured

    crops = {cell.id: store.crop(cell.id) for cell in pictured(report)}
    # Whoever wrote the database: what is no picture is left out.
    page = document(
        report, {cell: crop for cell, crop in crops.items() if crop and crop.startswith(JPEG_MAGIC)}
    )
    return html.render(page).encode() if form == "html" else pdf.render(page)
