"""`leukoscope classify`: name the white cells of pictures that the user points at."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import click

from edge.cli import options
from edge.cli.files import atomic, folder, writing
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.records import Decision, Image, Verdict, View
from edge.text import CAUTION, printable

if TYPE_CHECKING:
    from edge.datasets.labels import Labels
    from edge.pictures.reading import Answer
    from edge.statistics.evaluation import Evaluation, Outcome

Form = Literal["table", "csv", "json", "jsonl"]

SUFFIXES: Final[dict[str, Form]] = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""What a file's ending says of how cells are written to it."""


FEW: Final = 10
"""Of fewer accepted cells no percentages of the classes are told: their limits would span nearly everything."""


@dataclass(slots=True)
class Summary:
    """Counts over the whole run."""

    pictures: int = 0
    errors: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    flagged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        """Count one picture."""
        self.pictures += 1
        self.errors += answer.error is not None
        for cell in answer.cells:
            if cell["verdict"] == Verdict.ACCEPTED:
                self.accepted[cast(str, cell["class"])] += 1
            else:
                self.flagged += 1
                self.reasons.update(cast("list[str]", cell["reasons"]))

    def text(self, classes: tuple[str, ...], skipped: int, seconds: float) -> str:
        """Lay it out for a person."""
        from edge.differential import differential

        result = differential({name: self.accepted[name] for name in classes}, flagged=self.flagged)
        cells = result.accepted + result.flagged
        parts = [f"pictures {self.pictures:,}, cells {cells:,}"]
        parts += [f"errors {self.errors:,}"] if self.errors else []
        parts += [f"other files skipped {skipped:,}"] if skipped else []
        rate = f", {self.pictures / seconds:,.0f} pictures/s" if self.pictures > 1 else ""
        lines = [f"{', '.join(parts)}; {seconds:.1f} s{rate}"]
        if not cells:
            return lines[0]
        of_all = [f"{100 * count / cells:5.1f} % of the cells" for count in (result.accepted, result.flagged)]
        few = result.accepted < FEW
        if result.accepted:
            of_these = ":" if few else "; of these, with 95 % limits:"
            lines.append(f"accepted       {result.accepted:>6,}  {of_all[0]}{of_these}")
        for share in result.shares:
            if few and share.count:
                lines.append(f"  {share.cell_class:<12} {share.count:>6,}")
            elif not few and share.percent is not None:
                low, high = share.limits
                percent = f"{share.percent:5.1f} %  {low:.1f} to {high:.1f}"
                lines.append(f"  {share.cell_class:<12} {share.count:>6,}  {percent}")
        if result.flagged:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.most_common())
            lines.append(
                f"flagged        {result.flagged:>6,}  {of_all[1]}, for a person to decide: {reasons}"
            )
        return "\n".join([*lines, CAUTION])


class _Labelled:
    """Gathers what is to be compared with the labels."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._outcomes: list[Outcome] = []
        self._without_cell = 0
        self._without_label: list[str] = []

    def add(self, answer: Answer) -> None:
        """Take one picture that was read."""
        label = self._labels.of(answer.name)
        if label is None:
            self._without_label.append(answer.name)
        elif answer.central is None:
            self._without_cell += 1
        else:
            self._outcomes.append(answer.central.outcome(label))

    def report(self, classes: tuple[str, ...]) -> Evaluation:
        """Work out the figures."""
        from edge.statistics.evaluation import evaluate

        return evaluate(self._outcomes, classes, without_cell=self._without_cell)

    def gaps(self) -> str:
        """Say which pictures and labels have no counterpart; empty where all have."""
        lines = []
        for one, many, names in (
            ("picture has no label", "pictures have no label", self._without_label),
            (
                "label names a picture that was not read",
                "labels name pictures that were not read",
                self._labels.unused(),
            ),
        ):
            if names:
                shown = ", ".join(printable(name) for name in names[:5])
                what = one if len(names) == 1 else many
                lines.append(f"{len(names):,} {what}: {shown}{', …' if len(names) > 5 else ''}\n")
        return "".join(lines)


class _Explanations:
    """Writes what the model looked at as ``NUMBER-NAME-CELL-CLASS-CONFIDENCE.jpg``."""

    def __init__(self, into: Path) -> None:
        self._into = folder(into)

    def __call__(self, decision: Decision, picture: Image) -> None:
        """Write one cell's; called from several threads."""
        import cv2

        frame = decision.cell.field.frame
        stem = re.sub(r"[^A-Za-z0-9_]+", "_", Path(frame.name).stem)[:60]
        reading = f"{decision.cell.index}-{decision.cell_class}-{decision.confidence:.2f}"
        path = self._into / f"{frame.number:05d}-{stem}-{reading}.jpg"
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        with writing(path):
            path.write_bytes(encoded.tobytes())


@click.command(
    epilog=examples(
        "leukoscope classify blood.jpg",
        "leukoscope classify slide-17/ --output cells.csv",
        "leukoscope classify slide-17/ --labels labels.csv --explain why/",
        "leukoscope classify --model cnn-int8 --threshold 0.95 blood.jpg slides.zip",
    )
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@options.model
@options.threshold
@options.view
@options.um_per_pixel
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "jsonl"]),
    help="How cells are written. Default: by the ending of the file (.csv, .json, .jsonl), else a table.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write to this file, all or nothing, not to standard output.",
)
@click.option(
    "--labels",
    "labels_csv",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV with the columns filename and class: the output ends with how well they agree. "
    "Of several cells in a picture, the one nearest to its centre is the labelled one. In JSON the report is "
    "the last object, with a schema of its own; beside a CSV it goes to standard error.",
)
@click.option(
    "--explain",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write to this folder, for each cell, a picture of what the model looked at.",
)
@click.pass_context
def command(
    context: click.Context,
    paths: tuple[str, ...],
    model: str | None,
    threshold: float | None,
    view: View,
    um_per_pixel: float | None,
    form: Form | None,
    output: Path | None,
    labels_csv: Path | None,
    explain: Path | None,
) -> None:
    """Find and name the white blood cells in pictures.

    PATH is an image (JPEG, PNG, BMP, TIFF), a folder (searched with all below it, in name order), a ZIP, or
    an http(s) address. What cannot be read is named on standard error, and the others are still classified.

    Exit status: 0 all read, 1 some input could not be read, 2 the command line is wrong.
    """
    if "" in paths:  # as from a variable of the shell that is not set; it would name this very folder
        raise click.BadParameter(
            "an empty name is none; for the folder that you are in write .", param_hint="PATH"
        )
    from edge.datasets.labels import Labels
    from edge.inference.bundle import DEFAULT_MODEL, Bundle
    from edge.pictures.inputs import Inputs
    from edge.pictures.output import WRITERS, evaluation_text
    from edge.pictures.reading import Settings, read_all

    form = form or (SUFFIXES.get(output.suffix.lower(), "table") if output else "table")
    bundle = Bundle.load(model or DEFAULT_MODEL)
    labelled = _Labelled(Labels.read(labels_csv)) if labels_csv else None
    inputs = Inputs(paths)
    settings = Settings(bundle, threshold, view, um_per_pixel, _Explanations(explain) if explain else None)
    summary, report, started = Summary(), None, time.monotonic()
    to_screen = output is None and sys.stdout.isatty()
    with (
        libraries_silenced(),
        atomic(output) if output else nullcontext(sys.stdout) as out,
        Progress(inputs.count, shown=not to_screen) as progress,
    ):
        writer = WRITERS[form](out)
        for answer in read_all(inputs, settings):
            progress.step()
            summary.add(answer)
            for cell in answer.cells:
                writer.cell(cell)
            if answer.error:
                progress.clear()
                click.echo(f"Error: {printable(str(answer.error))}", err=True)
            elif labelled:
                labelled.add(answer)
        if labelled:
            report = labelled.report(bundle.classes)
        writer.end(report)
    if labelled and report:
        # A CSV is one table: its report goes where people look.
        click.echo((evaluation_text(report) if form == "csv" else "") + labelled.gaps(), err=True, nl=False)
    click.echo(summary.text(bundle.classes, inputs.skipped, time.monotonic() - started), err=True)
    context.exit(1 if summary.errors else 0)
