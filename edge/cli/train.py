"""`leukoscope train`: labelled pictures → a trained Keras model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.files import folder
from edge.cli.quiet import libraries_silenced
from edge.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from models.datasets import Item

ARCHITECTURES = ("cnn", "mobilenet_v2")


@click.command()
@click.option("--architecture", type=click.Choice(ARCHITECTURES), required=True, help="The network to train.")
@click.option(
    "--data",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labelled pictures: a folder a class, or pictures with a labels.csv (filename,class). Classes that are "
    "none of the five white cells teach the model to say so. May be repeated.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the model, its history and its checkpoints. The same command goes on where it stopped.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 512),
    default=128,
    show_default=True,
    help="Side of the input in pixels.",
)
@click.option(
    "--epochs", type=click.IntRange(1, 10_000), help="Of the last stage. Default: the architecture's own."
)
@click.option("--batch", type=click.IntRange(1, 1024), default=32, show_default=True, help="Pictures a step.")
@click.option("--patience", type=click.IntRange(1, 10_000), default=8, show_default=True,
              help="End after this many epochs without a better validation loss.")  # fmt: skip
@click.option("--weights", default="imagenet", show_default=True,
              help="Pretrained weights: imagenet (downloaded on first use) or a file.")  # fmt: skip
@click.option(
    "--start", type=click.Path(exists=True, dir_okay=False), help="Go on from a trained .keras model, gently."
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Of the changes to stain and focus in augmentation; a small network learns better from fewer.",
)
@click.option("--bfloat16", is_flag=True, help="Compute in half width; faster where the processor has it.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of everything random.")
def command(
    architecture: str,
    folders: tuple[Path, ...],
    output: Path,
    size: int,
    epochs: int | None,
    batch: int,
    patience: int,
    weights: str,
    strength: float,
    start: str | None,
    bfloat16: bool,
    seed: int,
) -> None:
    """Train a network on labelled pictures.

    The pictures are split by the SHA-256 of their bytes: 70 in 100 for training, 15 to choose the best epoch,
    and 15 that nothing here ever looks at.
    """
    if find_spec("tensorflow") is None:
        raise MissingExtra("leukoscope train", "convert")
    with libraries_silenced():
        from models.curves import draw_curves
        from models.datasets import read, summary
        from models.training import LABELS, Plan, train
        from models.windows import cut

        items = [item for place in folders for item in read(place)]
        click.echo(summary(items), err=True)
        into = folder(output)
        _note_split(into / "split.json", items)
        (into / "labels.json").write_text(json.dumps(LABELS), "utf-8")
        click.echo("locating the cells", err=True)
        training = cut([item for item in items if item.split == "train"], size)
        validation = cut([item for item in items if item.split == "validation"], size)
        plan = Plan(
            architecture,
            size,
            batch,
            epochs,
            patience,
            weights=weights,
            start=start,
            strength=strength,
            bfloat16=bfloat16,
            seed=seed,
        )
        model = train(plan, training, validation, into, lambda line: click.echo(line, err=True))
        draw_curves(into / "history.json", into / "curves.png")
    click.echo(str(model))
    click.echo(f"Next: leukoscope convert {model} --calibration {folders[0]} --output BUNDLE", err=True)


def _note_split(path: Path, items: Sequence[Item]) -> None:
    """Write which picture is on which side of the split; a training goes on with the same ones only."""
    record = [
        {"file": i.path.name, "site": i.site, "class": i.kind, "sha256": i.digest, "split": i.split}
        for i in items
    ]
    text = json.dumps(record, indent=0)
    if path.exists() and path.read_text("utf-8") != text:
        raise DataError(f"{path.parent} holds a training on other pictures; choose another --output")
    path.write_text(text, "utf-8")
