"""`leukoscope train`: labelled pictures → a trained Keras model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli import options
from edge.cli.files import folder
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.cli.recipe import recipe, refuse_idle
from edge.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from models.split import By

ARCHITECTURES = (
    "cnn",
    "strided_cnn",
    "enhanced_cnn",
    "leaky_cnn",
    "mobilenet_v2",
    "mobilenet_v2_head",
    "mobilenet_v2_last_block",
    "efficientnet_b0",
)


@click.command(
    epilog=examples(
        "leukoscope train --architecture mobilenet_v2 --data our-lab/ --output runs/1",
        "leukoscope train --architecture cnn --data a/ --data b/ --output runs/2 \\",
        "    --epochs 20 --best-by macro-f1",
    )
)
@click.option("--architecture", type=click.Choice(ARCHITECTURES), required=True, help="The network to train.")
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labelled pictures: a folder a class, pictures with a labels.csv (filename,class), or fields with Pascal "
    "VOC's XML; see `leukoscope data`. Kinds that are none of the five white cells teach the model to say so. May "
    "be repeated.",
)
@options.names
@options.split_by
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the model, its history and its checkpoints. The same command goes on where it stopped.",
)
@click.option(
    "--stain",
    type=click.Choice(["matched", "as-is"]),
    default="matched",
    show_default=True,
    help="Bring every field's stain to one reference, by its red cells and nuclei; reads other sites better.",
)
@recipe
@click.pass_context
def command(
    context: click.Context,
    /,
    architecture: str,
    folders: tuple[Path, ...],
    names: tuple[str, ...],
    split_by: By,
    output: Path,
    stain: str,
    **choices: Any,
) -> None:
    """Train a network on labelled pictures.

    The pictures are split, by the SHA-256 of their bytes if nothing else is said: 70 in 100 for training, 15 to
    choose the best epoch, and 15 that nothing here ever looks at. Look-alikes, and pictures of one patient or slide
    where a CSV names them, stay on one side.
    """
    refuse_idle(context)
    if find_spec("tensorflow") is None:
        raise MissingExtra("leukoscope train", "convert")
    with libraries_silenced():
        from edge.datasets.labelled import LabelledFolder
        from edge.datasets.taxonomy import CLASSES, Names
        from edge.pictures.inputs import Inputs
        from models.curves import draw_curves
        from models.datareport import brief
        from models.examine import STEPS, examine
        from models.plan import Plan
        from models.split import record
        from models.summary import summary as outcome
        from models.training import train
        from models.windows import cut

        plan = Plan(architecture, match_stain=stain == "matched", **choices)
        known = Names.of(names)
        for place in folders:
            LabelledFolder(place, known).settle()
        with Progress(lambda: STEPS * Inputs(list(map(str, folders))).count()) as progress:
            seen = examine(folders, known, split_by, progress.step)
        items = seen.items
        click.echo(brief(seen), err=True, nl=False)
        for side in ("train", "validation"):
            if not any(item.split == side for item in items):
                raise DataError(
                    f"none of {len(items)} labelled pictures is on the {side} side of the split: of few pictures, "
                    "--split-by class takes exact shares; else add more"
                )
        if len(seen.absent) < len(CLASSES) - 1:  # nothing can be told apart with less than two
            plan = replace(plan, classes=tuple(name for name in CLASSES if name not in seen.absent))
        into = folder(output)
        _note_split(into / "split.json", record(items, seen.found.items))
        (into / "labels.json").write_text(json.dumps(plan.labels), "utf-8")
        click.echo("locating the cells", err=True)
        training, validation = (
            cut([item for item in items if item.split == side], plan.size, match_stain=plan.match_stain)
            for side in ("train", "validation")
        )
        try:
            model = train(plan, training, validation, into, lambda line: click.echo(line, err=True))
        except KeyboardInterrupt:
            click.echo("\nThe same command goes on after the last finished epoch.", err=True)
            raise
        draw_curves(into / "history.json", into / "curves.png")
        result = outcome(into, plan)
        (into / "summary.txt").write_text(result + "\n", "utf-8")
    click.echo("\n" + result, err=True)
    click.echo(str(model))
    click.echo(f"Next: leukoscope convert {model} --calibration {folders[0]} --output BUNDLE", err=True)


def _note_split(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write which picture is on which side of the split; a training goes on with the same ones only."""
    text = json.dumps(rows, indent=0)
    begun = (path.parent / "checkpoint").exists() or (path.parent / "model.keras").exists()
    if begun and path.exists() and path.read_text("utf-8") != text:
        raise DataError(f"{path.parent} holds a training on other pictures; choose another --output")
    path.write_text(text, "utf-8")
