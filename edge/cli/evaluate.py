"""`leukoscope evaluate`: how well models do on labelled pictures."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge.cli import options
from edge.cli.files import atomic, folder, write_bytes, writing
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.errors import InputError, MissingExtra
from edge.records import View
from edge.text import printable

if TYPE_CHECKING:
    from edge.datasets.labelled import LabelledFolder, Part
    from edge.pictures.reading import Settings
    from edge.report.criteria import Criteria
    from edge.report.measure import Measured
    from edge.report.validation import Run

FAILED: Final = 3
UNDECIDED: Final = 4


def _template(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from edge.report.criteria import EXAMPLE

        click.echo(EXAMPLE.read_text("utf-8"), nl=False)
        context.exit()


@click.command(
    epilog=examples(
        "leukoscope evaluate mobilenet_v2-int8 cnn-int8 --data our-lab/",
        "leukoscope evaluate --criteria-template > criteria.toml",
        "leukoscope evaluate mobilenet_v2-int8 --data our-lab/ \\",
        "    --criteria criteria.toml --output report/",
    )
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labelled pictures: a folder a class, or pictures with a labels.csv (filename,class). "
    "Classes that the model does not know count as other kinds, which it must flag. May be repeated.",
)
@options.names
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write to this folder report.html and report.pdf, to be filed and signed, data.csv, which lists the "
    "pictures, report.md, report.json and figures.",
)
@click.option(
    "--criteria",
    "criteria_toml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Acceptance criteria, a TOML file: what a model must show to pass.",
)
@click.option(
    "--criteria-template",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_template,
    help="Print an example of such a file and exit.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "all"]),
    default="all",
    show_default=True,
    help="Only pictures of this part, 70, 15 and 15 in 100, by the SHA-256 of their bytes.",
)
@click.option(
    "--split-record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="SPLIT.json",
    help="The split.json of a training: pictures that it names are on the side that they had there.",
)
@options.threshold
@options.view
@options.um_per_pixel
@click.pass_context
def command(
    context: click.Context,
    models: tuple[str, ...],
    folders: tuple[Path, ...],
    output: Path | None,
    criteria_toml: Path | None,
    names: tuple[str, ...],
    split: str,
    split_record: Path | None,
    view: View,
    threshold: float | None,
    um_per_pixel: float | None,
) -> None:
    """Measure how well models read labelled pictures, and compare them.

    MODEL is a name of the zoo or a bundle's folder. Of several cells in a picture, the one nearest to its
    centre is the labelled one.

    Exit status: 0 all read and every criterion passed, 1 some picture could not be read, 2 the command line is
    wrong, 3 a criterion failed, 4 none failed and some lack the cells to tell.
    """
    from edge.datasets.labelled import LabelledFolder, recorded
    from edge.datasets.taxonomy import Names
    from edge.inference.bundle import Bundle
    from edge.inference.decide import OperatingPoint
    from edge.pictures.reading import Settings
    from edge.report.comparison import markdown
    from edge.report.criteria import Outcome, check, judge, read
    from edge.report.validation import Examined, Run, worst

    into = folder(output) if output else None
    criteria = read(criteria_toml) if criteria_toml else None
    known, record = Names.of(names), recorded(split_record) if split_record else None
    data = [LabelledFolder(path, known, record) for path in folders]
    for source in data:
        source.settle()
    part: Part | None = None if split == "all" else split  # type: ignore[assignment]
    bundles = [Bundle.load(model) for model in models]
    named = Counter(bundle.name for bundle in bundles)
    if criteria:
        for bundle in bundles:
            check(criteria, bundle.classes)
    runs, errors = list[tuple[Run, Settings]](), set[str]()
    for model, bundle in zip(models, bundles, strict=True):
        # Two sites may each have made a bundle of the same name.
        name = bundle.name if named[bundle.name] == 1 else str(Path(model)).strip("/").replace("/", "-")
        settings = Settings(bundle, threshold, view, um_per_pixel)
        examined = Examined(
            tuple(map(str, folders)),
            split,
            view,
            um_per_pixel,
            name,
            bundle.version,
            bundle.sha256,
            OperatingPoint.of(bundle, threshold),
        )
        measured = _measure(data, part, settings, errors)
        judgements = judge(criteria, measured.evaluation) if criteria else ()
        runs.append((Run(examined, measured, judgements), settings))
    text = markdown([run for run, _ in runs], criteria)
    click.echo(text, nl=False)
    if into:
        _write(runs, into, text, criteria)
    outcome = worst([judgement for run, _ in runs for judgement in run.judgements])
    status = {Outcome.FAIL: FAILED, Outcome.UNDECIDED: UNDECIDED}.get(outcome, 1 if errors else 0)
    context.exit(status)


def _measure(data: list[LabelledFolder], part: Part | None, settings: Settings, errors: set[str]) -> Measured:
    """Read all pictures with one model; unreadable ones go to `errors`, said once."""
    from edge.report.measure import measure

    def unreadable(name: str, error: InputError) -> None:
        if name not in errors:
            progress.clear()
            click.echo(f"Error: {printable(str(error))}", err=True)
        errors.add(name)

    def count() -> int:
        return sum(1 for source in data for _ in source.pictures(part))

    with libraries_silenced(), Progress(count) as progress:
        return measure(data, part, settings, step=progress.step, unreadable=unreadable)


def _write(runs: list[tuple[Run, Settings]], into: Path, text: str, criteria: Criteria | None) -> None:
    """Write the report's files; without Matplotlib, all but the figures, and say so."""
    from edge.report import html, pdf
    from edge.report.comparison import json_text
    from edge.report.measure import crops
    from edge.report.validation import LISTING, validation
    from edge.statistics.figures import write_figures

    now = datetime.now(UTC)
    try:
        with writing(into):
            figures = write_figures({run.examined.model: run.measured.evaluation for run, _ in runs}, into)
        text += "\n## Figures\n\n" + "".join(f"![{path.stem}]({path.name})\n" for path in figures)
    except MissingExtra as error:
        click.echo(f"No figures: {error}", err=True)
    files = {
        "report.md": text,
        "report.json": json_text([run for run, _ in runs], now),
        LISTING: runs[0][0].measured.listing,
    }
    for name, content in files.items():
        with atomic(into / name) as out:
            out.write(content)
    for run, settings in runs:
        with libraries_silenced():
            pictures = crops(run.measured.misread, settings)
        document = validation(run, pictures, criteria, now)
        stem = "report" if len(runs) == 1 else f"report-{run.examined.model}"
        write_bytes(into / f"{stem}.html", html.render(document).encode())
        write_bytes(into / f"{stem}.pdf", pdf.render(document))
    stems = ", ".join("report" if len(runs) == 1 else f"report-{run.examined.model}" for run, _ in runs)
    click.echo(
        printable(
            f"Written to {into}: {stems} as .pdf and .html, to file and sign; report.md, report.json, {LISTING}"
        ),
        err=True,
    )
