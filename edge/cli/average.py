"""`leukoscope average`: one model out of several trainings of one network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from edge.cli.groups import examples
from edge.cli.quiet import libraries_silenced
from edge.errors import DataError, MissingExtra


@click.command(
    epilog=examples(
        "leukoscope average runs/1 runs/2 --output runs/mean",
    )
)
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN…",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the averaged model; new or empty.")  # fmt: skip
@click.option("--stain", type=click.Choice(["matched", "as-is"]),
              help="How the average is to be fed, where the trainings differ in it.")  # fmt: skip
def command(runs: tuple[Path, ...], output: Path, stain: str | None) -> None:
    """Average the weights of several trainings that went on from one start.

    RUN is a folder that `leukoscope train` wrote. The mean of trainings on different pictures often reads a
    microscope that none of them saw better than each of them: convert and evaluate it, and see.
    """
    if find_spec("tensorflow") is None:
        raise MissingExtra("leukoscope average", "convert")
    if len(runs) < 2:
        raise click.UsageError("name two trainings or more")
    if output.exists() and any(output.iterdir()):
        raise DataError(f"{output} is not empty; choose another --output")
    with libraries_silenced():
        from models.soup import average

        model = average(runs, output, None if stain is None else stain == "matched")
    click.echo(str(model))
    click.echo(f"Next: leukoscope convert {model} --calibration FOLDER --output BUNDLE", err=True)
