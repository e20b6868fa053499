"""`leukoscope data`: what labelled pictures hold, before anything is trained on them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edge.cli import options
from edge.cli.files import atomic
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced

if TYPE_CHECKING:
    from models.split import By


@click.command(
    epilog=examples(
        "leukoscope data our-lab/",
        "leukoscope data our-lab/ --map segs=neutrophil --output report.html",
    )
)
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    metavar="FOLDER...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@options.names
@options.split_by
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How the report is written.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="REPORT.html",
    help="Write a page, too, with the pictures that look alike or stand under two classes.",
)
@click.pass_context
def command(
    context: click.Context,
    folders: tuple[Path, ...],
    names: tuple[str, ...],
    split_by: By,
    form: Literal["table", "json"],
    output: Path | None,
) -> None:
    """Report on labelled pictures before a model is trained on them.

    Counts by site, class and side of the split; sizes; what cannot be read; copies and look-alikes; pictures
    under two classes; what is missing or out of balance, with a sentence on what to do. FOLDER holds a folder
    a class (at any depth), pictures with a CSV of labels (filename,class), or fields with Pascal VOC's XML.

    Exit status: 0 all read, 1 some pictures could not be read, 2 the command line is wrong.
    """
    from edge.datasets.taxonomy import Names
    from edge.pictures.inputs import Inputs
    from edge.report.html import render
    from models.datareport import document, record, text
    from models.examine import STEPS, examine

    with (
        libraries_silenced(),
        Progress(lambda: STEPS * Inputs([str(folder) for folder in folders]).count()) as progress,
    ):
        seen = examine(folders, Names.of(names), split_by, progress.step)
    if form == "json":
        click.echo(json.dumps(record(seen, folders), indent=1))
    else:
        click.echo(text(seen), nl=False)
    if output:
        with atomic(output) as out:
            out.write(render(document(seen, folders, datetime.now(UTC))))
    context.exit(1 if seen.found.unreadable else 0)
