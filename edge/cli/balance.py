"""`leukoscope balance`: a data set with as many training pictures of each class, by altered copies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli import options
from edge.cli.files import writing
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.errors import DataError

if TYPE_CHECKING:
    from models.split import By

MANY_COPIES = 10
"""Copies of each picture from which a model learns these pictures rather than their class."""


@click.command(
    epilog=examples(
        "leukoscope balance our-lab/ --output balanced/",
        "leukoscope balance our-lab/ --output balanced/ --to 500",
    )
)
@click.argument("source", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for originals and copies; new or empty. Its name is the site's name in every table.",
)
@click.option(
    "--to",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Grow each class to N training pictures; larger ones stay. Default: to as many as the largest has.",
)
@options.names
@options.split_by
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="The same number draws the same copies.",
)
def command(
    source: Path, output: Path, to: int | None, names: tuple[str, ...], split_by: By, seed: int
) -> None:
    """Balance labelled pictures by altered copies of rare classes.

    A copy is turned by up to 15 degrees, zoomed by up to 10 % and flipped or not; what comes into view repeats
    the edge. Each of the five classes and each other kind grows to the size of the largest.

    Only training pictures are copied, and a copy never leaves their side: OUTPUT holds all of FOLDER in a folder
    each for train, validation and test, and a labels.csv that ties each copy to its original. Train on OUTPUT in
    place of FOLDER. It needs no TensorFlow.

    `leukoscope train --sampling balanced` balances, too, and draws its copies anew in each epoch, without a folder.
    """
    from edge.datasets.labelled import LabelledFolder
    from edge.datasets.taxonomy import Names
    from edge.pictures.inputs import Inputs
    from models.balance import balance, growth
    from models.examine import STEPS, examine

    if output.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"{output} is inside {source}, and would be read with it; choose an --output beside it"
        )
    known = Names.of(names)
    LabelledFolder(source, known).settle()
    with libraries_silenced():
        with Progress(lambda: STEPS * Inputs([str(source)]).count()) as progress:
            seen = examine([source], known, split_by, progress.step)
        grown = growth(seen.items, to)
        total = len(seen.items) + sum(each.copies for each in grown)
        with writing(output), Progress(lambda: total) as progress:
            balance(seen.items, output, to, seed, progress.step)
    wide = max(14, *(len(each.name) for each in grown))
    click.echo(f"{'training side':{wide}} {'pictures':>8} {'copies':>8} {'together':>8}", err=True)
    for each in grown:
        together = each.pictures + each.copies
        click.echo(f"{each.name:{wide}} {each.pictures:8,} {each.copies:8,} {together:8,}", err=True)
    for each in grown:
        if each.copies > MANY_COPIES * each.pictures:
            click.echo(
                f"{each.name}: {each.copies:,} copies of {each.pictures:,}. A model learns these by heart rather than "
                "their class: more pictures, or a lower --to, help better.",
                err=True,
            )
    click.echo(str(output))
