"""`leukoscope evaluate`: how well models do on labelled pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge import __version__
from edge.cli import options
from edge.cli.files import atomic, folder, writing
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.errors import DataError, MissingExtra
from edge.records import View
from edge.text import printable

if TYPE_CHECKING:
    from edge.evaluation import Evaluation
    from edge.inputs import Input
    from edge.labelled import LabelledFolder, Part
    from edge.reading import Settings

CAUTION = (
    "These figures hold for these pictures. Another stain, camera or laboratory needs its own, "
    "and pictures that a model was trained on say nothing about it."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One model's evaluation.

    Attributes:
        name: the bundle's.
        threshold: the lowest confidence that was accepted.
    """

    name: str
    sha256: str
    threshold: float
    evaluation: Evaluation


@click.command()
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
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write report.md, report.json and figures to this folder.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "all"]),
    default="all",
    show_default=True,
    help="Only pictures of this part, 70, 15 and 15 in 100, by the SHA-256 of their bytes.",
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
    split: str,
    view: View,
    threshold: float | None,
    um_per_pixel: float | None,
) -> None:
    """Measure how well models read labelled pictures, and compare them.

    MODEL is a name of the zoo or a bundle's folder. Of several cells in a picture, the one nearest to its
    centre is the labelled one.
    """
    from edge.inference.bundle import Bundle
    from edge.inference.decide import OperatingPoint
    from edge.labelled import LabelledFolder
    from edge.reading import Settings

    into = folder(output) if output else None
    data = [LabelledFolder(path) for path in folders]
    part: Part | None = None if split == "all" else split  # type: ignore[assignment]
    bundles = [Bundle.load(model) for model in models]
    names = Counter(bundle.name for bundle in bundles)
    runs, errors = [], set[str]()
    for model, bundle in zip(models, bundles, strict=True):
        # Two sites may each have made a bundle of the same name.
        name = bundle.name if names[bundle.name] == 1 else str(Path(model)).strip("/").replace("/", "-")
        settings = Settings(bundle, threshold, view, um_per_pixel)
        evaluation = _evaluate(data, part, settings, errors)
        runs.append(Run(name, bundle.sha256, OperatingPoint.of(bundle, threshold).threshold, evaluation))
    text = _markdown(runs, folders, split, view)
    click.echo(text, nl=False)
    if into:
        _write(runs, into, text, {"data": list(map(str, folders)), "split": split, "view": view})
    context.exit(1 if errors else 0)


def _evaluate(
    data: list[LabelledFolder], part: Part | None, settings: Settings, errors: set[str]
) -> Evaluation:
    """Read all pictures with one model; names of unreadable ones go to `errors`, said once."""
    from edge.evaluation import Outcome, evaluate
    from edge.reading import read_all

    outcomes: list[Outcome] = []
    without_cell = 0
    with libraries_silenced(), Progress(lambda: sum(1 for _ in _pictures(data, part))) as progress:
        for source in data:
            for answer in read_all(source.pictures(part), settings):
                progress.step()
                if answer.error:
                    if answer.name not in errors:
                        progress.clear()
                        click.echo(f"Error: {printable(str(answer.error))}", err=True)
                    errors.add(answer.name)
                    continue
                label = source.label(answer.name)
                assert label is not None
                if answer.central is None:
                    without_cell += label in settings.bundle.classes
                else:
                    outcomes.append(answer.central.outcome(label))
    if not outcomes:
        raise DataError(
            f"{', '.join(str(source.folder) for source in data)}: no labelled picture could be read"
        )
    return evaluate(outcomes, settings.bundle.classes, without_cell=without_cell)


def _pictures(data: list[LabelledFolder], part: Part | None) -> Iterator[Input]:
    for source in data:
        yield from source.pictures(part)


def _markdown(runs: list[Run], folders: tuple[Path, ...], split: str, view: str) -> str:
    """Lay out the report: the comparison first, then each model."""
    from edge.output import evaluation_text, table

    named = ", ".join(f"`{printable(str(path))}`" for path in folders)
    part = (
        "all pictures" if split == "all" else f"the {split} part of the pictures, by SHA-256 of their bytes"
    )
    comparison = table(
        ("model", "threshold", "accuracy", "accepted", "right of the accepted", "accepted and wrong", "ECE"),
        [
            (
                run.name,
                f"{run.threshold:.2f}",
                run.evaluation.accuracy,
                run.evaluation.accepted,
                run.evaluation.accuracy_accepted,
                run.evaluation.accepted_and_wrong,
                "–" if run.evaluation.ece is None else f"{run.evaluation.ece:.4f}",
            )
            for run in runs
        ],
    )
    each = "".join(f"\n## {run.name}\n\n{evaluation_text(run.evaluation)}" for run in runs)
    return f"# Evaluation\n\nOn {named}: {part}, view {view}. {CAUTION}\n\n{comparison}{each}"


def _write(runs: list[Run], into: Path, text: str, about: dict[str, object]) -> None:
    """Write the report's files; without Matplotlib, all but the figures, and say so."""
    from edge.figures import write_figures

    try:
        with writing(into):
            figures = write_figures({run.name: run.evaluation for run in runs}, into)
        text += "\n## Figures\n\n" + "".join(f"![{path.stem}]({path.name})\n" for path in figures)
    except MissingExtra as error:
        click.echo(f"No figures: {error}", err=True)
    report = {
        "schema": "leukoscope.report/1",
        "leukoscope": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
        "models": [
            {
                "model": run.name,
                "model_sha256": run.sha256,
                "threshold": run.threshold,
                **run.evaluation.fields(),
            }
            for run in runs
        ],
    }
    for name, content in (("report.md", text), ("report.json", json.dumps(report, indent=1) + "\n")):
        with atomic(into / name) as out:
            out.write(content)
