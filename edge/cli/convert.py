"""`leukoscope convert`: a trained Keras model → a verified bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli import options
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.errors import MissingExtra

if TYPE_CHECKING:
    from convert.gate import Comparison
    from convert.normalization import Normalization
    from convert.quantize import Quantization
    from edge.datasets.labelled import Part
    from edge.inference.bundle import Bundle
    from edge.records import Image


def _folders(name: str, text: str, required: bool = False) -> Callable[[Any], Any]:
    kind = click.Path(exists=True, file_okay=False, path_type=Path)
    return click.option(f"--{name}", multiple=True, required=required, type=kind, help=text)


@click.command(
    epilog=examples(
        "leukoscope convert runs/1/model.keras --calibration our-lab/ \\",
        "    --output bundles/ours-int8",
        "leukoscope convert theirs.h5 --classes neutrophil,lymphocyte,other \\",
        "    --normalization 0-1 --calibration our-lab/",
    )
)
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@_folders(
    "calibration",
    "Real labelled pictures, in the layouts of `train`. Their training part gives ranges, their validation part "
    "calibration and the gate, their test part only figures. May be repeated.",
    required=True,
)
@_folders(
    "measure", "Labelled pictures to measure on and nothing else: another site's, say. May be repeated."
)
@options.names
@click.option(
    "--classes",
    metavar="A,B,…",
    help="What the outputs stand for, in order. Default: labels.json beside MODEL.",
)
@click.option(
    "--normalization",
    type=click.Choice(["0-1", "-1-1", "imagenet", "imagenet-caffe", "per-image", "none"]),
    help="What MODEL was fed in its training. Needed where it does not scale pixels itself.",
)
@click.option(
    "--size", type=click.IntRange(16, 512), help="Side of its pictures in pixels, where MODEL takes any."
)
@click.option(
    "--allow-custom",
    metavar="NAME",
    multiple=True,
    help="A Lambda layer of MODEL, or a class of its own (Class or module:Class), whose code is to be run. It can "
    "do whatever you can: only for files of people you trust. May be repeated.",
)
@click.option(
    "--quantization",
    type=click.Choice(["float32", "float16", "dynamic", "int8", "int16x8"]),
    default="int8",
    show_default=True,
    help="int8 is smallest and fastest.",
)
@click.option("--layers", is_flag=True, help="Show how far each layer's answers are from the original's.")
@click.option(
    "--stain",
    type=click.Choice(["matched", "as-is"]),
    help="How MODEL was fed the stain in its training. Default: as plan.json beside MODEL says, or as-is.",
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
    names: tuple[str, ...],
    classes: str | None,
    normalization: Normalization | None,
    size: int | None,
    allow_custom: tuple[str, ...],
    quantization: Quantization,
    layers: bool,
    stain: str | None,
    output: Path | None,
    licence: str,
    citation: str,
    bundle_version: str,
) -> None:
    """Turn a trained Keras model into a bundle that devices run.

    MODEL is a .keras or .h5 file of Keras 2 or 3, or the folder of a SavedModel: a classifier that takes one square
    picture. The result is compared with it on real pictures; where it differs too much, nothing is left behind.
    """
    if find_spec("tensorflow") is None:
        raise MissingExtra("leukoscope convert", "convert")
    with libraries_silenced():
        from convert.package import Order, package
        from convert.source import load
        from edge.datasets.taxonomy import Names

        outputs = tuple(classes.split(",")) if classes else None
        say(f"reading {model}")
        original = load(model, outputs, normalization, allowed=allow_custom, size=size)
        for note in original.notes:
            say(f"Note: {note}")
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
            _stain(model) if stain is None else stain == "matched",
            Names.of(names),
            _sides(model),
            layers,
        )
        bundle, comparison = package(original, order, into, say, _watched)
    for line in _summary(bundle, comparison):
        say(line)
    click.echo(str(bundle.directory))


def say(line: str) -> None:
    """A line of progress, on standard error."""
    click.echo(line, err=True)


def _watched(crops: Image) -> Iterator[Image]:
    """Crops, counted where a person watches."""
    with Progress(lambda: len(crops)) as progress:
        for crop in crops:
            yield crop
            progress.step()


def _summary(bundle: Bundle, comparison: Comparison) -> Iterator[str]:
    """What was made, how good it is, and what to do with it."""
    manifest = bundle.manifest
    yield (
        f"{bundle.name} {bundle.version}: {manifest.quantization}, {len(bundle.model) / 1e6:.2f} MB, "
        f"{manifest.input_size} × {manifest.input_size} pixels, SHA-256 {bundle.sha256[:12]}…"
    )
    yield (
        f"gate passed: {comparison.agreement:.2%} of {comparison.images} crops get the same class as from the "
        f"original; accuracy {comparison.accuracy[0]:.2%} before, {comparison.accuracy[1]:.2%} after"
    )
    for row in manifest.record["measured"]:
        if row["view"] == "auto" and row["cells"]:
            yield (
                f"{row['site']} ({row['split']}): {row['cells']:,} cells, {row['right']:.1f} % right, "
                f"{row['accepted']:.1f} % accepted, {row['accepted_wrong']:.1f} % accepted and wrong"
            )
    yield f"Next: leukoscope evaluate {bundle.directory} --data FOLDER, with pictures that it was not trained on"


def _trained_on(model: Path) -> tuple[str, ...]:
    """The data sets named in the split that `train` left beside the model."""
    record = model.with_name("split.json")
    if not record.is_file():
        return ()
    return tuple(dict.fromkeys(str(row["site"]) for row in json.loads(record.read_text("utf-8"))))


def _sides(model: Path) -> dict[str, Part]:
    """The sides that `train` recorded beside the model: what it learned from is never measured on."""
    from edge.datasets.labelled import recorded

    record = model.with_name("split.json")
    return recorded(record) if record.is_file() else {}


def _stain(model: Path) -> bool:
    """Whether the plan that `train` left beside the model says that the stain was matched."""
    plan = model.with_name("plan.json")
    return plan.is_file() and bool(json.loads(plan.read_text("utf-8")).get("match_stain"))
