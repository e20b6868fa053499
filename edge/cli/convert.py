"""`leukoscope convert`: a trained Keras model → a verified bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.quiet import libraries_silenced
from edge.errors import MissingExtra

if TYPE_CHECKING:
    from convert.quantize import Quantization
    from convert.source import Normalization


def _folders(name: str, text: str, required: bool = False) -> Callable[[Any], Any]:
    kind = click.Path(exists=True, file_okay=False, path_type=Path)
    return click.option(f"--{name}", multiple=True, required=required, type=kind, help=text)


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_folders(
    "calibration",
    "Real labelled pictures, in the layouts of `train`. Their training part gives ranges, their validation part "
    "calibration and the gate, their test part only figures. May be repeated.",
    required=True,
)
@_folders(
    "measure", "Labelled pictures to measure on and nothing else: another site's, say. May be repeated."
)
@click.option(
    "--classes",
    metavar="A,B,…",
    help="What the outputs stand for, in order. Default: labels.json beside MODEL.",
)
@click.option(
    "--normalization",
    type=click.Choice(["0-1", "-1-1", "imagenet", "per-image", "none"]),
    help="What MODEL was fed in its training. Needed where it does not scale pixels itself.",
)
@click.option(
    "--quantization",
    type=click.Choice(["float32", "float16", "dynamic", "int8", "int16x8"]),
    default="int8",
    show_default=True,
    help="int8 is smallest and fastest.",
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path),
              help="The bundle's folder. Default: ARCHITECTURE-QUANTIZATION here.")  # fmt: skip
@click.option(
    "--bundle-version", default="1.0.0", show_default=True, help="Version to write into the manifest."
)
@click.option("--licence", default="not stated", show_default=True, help="Of the model, for its manifest.")
@click.option("--citation", default="", help="How the model wants to be cited, for its manifest.")
def command(
    model: Path,
    calibration: tuple[Path, ...],
    measure: tuple[Path, ...],
    classes: str | None,
    normalization: Normalization | None,
    quantization: Quantization,
    output: Path | None,
    licence: str,
    citation: str,
    bundle_version: str,
) -> None:
    """Turn a trained Keras model into a bundle that devices run.

    MODEL is a .keras or .h5 file that ends in global average pooling and one dense layer. The result is
    compared with it on real pictures; where it differs too much, nothing is left behind.
    """
    if find_spec("tensorflow") is None:
        raise MissingExtra("leukoscope convert", "convert")
    with libraries_silenced():
        from convert.package import Order, package
        from convert.source import load

        names = tuple(name.strip().lower() for name in classes.split(",")) if classes else None
        original = load(model, names, normalization)
        into = output or Path(f"{original.architecture}-{quantization}")
        order = Order(
            into.resolve().name,
            bundle_version,
            quantization,
            calibration,
            _trained_on(model),
            measure,
            licence,
            citation,
        )
        bundle, comparison = package(original, order, into, lambda line: click.echo(line, err=True))
    click.echo(
        f"{comparison.agreement:.2%} of {comparison.images} crops get the same class as from the original; "
        f"accuracy {comparison.accuracy[0]:.2%} before, {comparison.accuracy[1]:.2%} after.",
        err=True,
    )
    click.echo(str(bundle.directory))


def _trained_on(model: Path) -> tuple[str, ...]:
    """The data sets named in the split that `train` left beside the model."""
    record = model.with_name("split.json")
    if not record.is_file():
        return ()
    return tuple(dict.fromkeys(str(row["site"]) for row in json.loads(record.read_text("utf-8"))))
