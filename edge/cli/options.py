"""Options that several commands share, written once."""

from __future__ import annotations

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A number within a range; `nan`, which every comparison lets pass, is outside of it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it from the command line."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self.min} to {self.max}.", param, ctx)
        return number


model = click.option(
    "--model",
    metavar="NAME|DIR",
    help="A model of the zoo (see `leukoscope models list`) or a bundle's folder. Default: mobilenet_v2-int8.",
)

threshold = click.option(
    "--threshold",
    type=Number(0.50, 0.99),
    help="Flag cells whose confidence is below. Default: the model's own, 0.85 in the zoo.",
)

view = click.option(
    "--view",
    type=click.Choice(["auto", "cell", "field"]),
    default="auto",
    show_default=True,
    help="cell: each picture is one cell, whole. field: look for cells, and take what is found. "
    "auto: look, and take a small picture whole where nothing is found.",
)

um_per_pixel = click.option(
    "--um-per-pixel",
    type=Number(0.005, 5),
    metavar="UM",
    help="The calibrated size of a pixel in micrometres. Default: read off the red cells.",
)

names = click.option(
    "--map",
    "names",
    multiple=True,
    metavar="NAME=CLASS",
    help="What a name in the data stands for: a class, the name of another kind, `other`, or `ignore` to leave "
    "its pictures out. Common names and codes are known. May be repeated.",
)

split_by = click.option(
    "--split-by",
    type=click.Choice(["hash", "class", "folders"]),
    default="hash",
    show_default=True,
    help="hash: by the SHA-256 of a file, the same for ever. class: in that order, but with exact shares of each "
    "class, for small sets. folders: as folders called train, validation and test say.",
)
