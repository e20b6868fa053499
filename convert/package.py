"""Original → bundle: quantise, fit what it needs to know, pass the gate, measure, write; or leave nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter as Engine
from numpy.typing import NDArray

from convert.gate import Comparison, better_order, check, compare
from convert.layers import LayerError, compare_layers, costliest, table
from convert.measure import Measured, measure
from convert.quantize import Quantization, quantize
from convert.source import Original
from edge.datasets.labelled import Part
from edge.datasets.taxonomy import Names, among
from edge.errors import ConversionError
from edge.inference.bundle import Bundle
from edge.inference.calibration import Embedded, familiarity, temperature
from edge.inference.card import write_card
from edge.inference.classify import Classifier, raw_probabilities
from edge.inference.manifest import SCHEMA, Familiarity, Head, pack
from edge.records import Image
from edge.vision.crop import CROP_UM
from models.datasets import Item, read
from models.windows import cut

THRESHOLD = 0.85
MARGIN = 0.25
# Found by spoiling validation cells (bench/focus.py): beyond these, cells begin to be accepted and wrong.
POOR_IMAGE = {"sharpness": 0.05, "contrast": 0.2, "brightness": 40.0}
TOLERANCE = 0.05  # runtimes on other processors differ by up to 3 of 255 steps of an output

_FILES = {"model.tflite", "manifest.json", "README.md"}

_MOST_FITTED = 2500  # pictures a side of the split; more change no figure

Watch = Callable[[Image], Iterable[Image]]


@dataclass(frozen=True, slots=True)
class Order:
    """What to make.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        quantization: see `convert.quantize`.
        calibration: folders of labelled real pictures. Their training part gives ranges and shapes, their
            validation part temperature, limits and the gate, their test part only figures.
        trained_on: names of the folders that the model was trained on.
        measure: folders that are only measured on.
        licence: of the model, as a person writes it.
        citation: how the model wants to be cited.
        match_stain: it was trained on crops in the reference's stain, see `edge.vision.stain`.
        names: how names of classes in the folders are to be understood.
        record: sides of pictures by SHA-256, as its training recorded them; others go by their hash.
        layers: report how far each layer is from the original's.
    """

    name: str
    version: str
    quantization: Quantization
    calibration: tuple[Path, ...]
    trained_on: tuple[str, ...] = ()
    measure: tuple[Path, ...] = ()
    licence: str = "not stated"
    citation: str = ""
    match_stain: bool = False
    names: Names = field(default_factory=Names)
    record: Mapping[str, Part] = field(default_factory=dict)
    layers: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Crops:
    """Model inputs of one side of the split, located and whole, with the index of the class or -1, and the site."""

    images: Image
    targets: NDArray[np.int64]
    sites: NDArray[np.str_]


def package(
    original: Original, order: Order, output: Path, report: Callable[[str], None], watch: Watch = iter
) -> tuple[Bundle, Comparison]:
    """Make a bundle.

    Args:
        original: the trained model.
        order: what to make of it.
        output: the bundle's folder; replaced if it holds a bundle, refused if it holds anything besides.
        report: takes a line of progress.
        watch: passes on crops that are read one by one, and may show how many.

    Raises:
        ConversionError: the folder is taken, the images do not do, or the gate was missed.
        DataError: a folder holds no labelled pictures.
    """
    if output.exists() and not (output.is_dir() and {p.name for p in output.iterdir()} <= _FILES):
        raise ConversionError(f"{output} exists and is not just a bundle; choose another --output")
    report("cutting cells out of the calibration pictures")
    training = _crops(order, "train", original)
    held_out = _crops(order, "validation", original)
    report(f"converting to {order.quantization} with {len(training.images)} real crops")
    model = quantize(original.graph, order.quantization, training.images)
    output.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        bundle, comparison = _fitted(original, order, model, training, held_out, workplace, report, watch)
        record = bundle.manifest.record
        record["measured"] = [m.record() for m in _measured(bundle, order, report)]
        record["gate"] = {"images": comparison.images, "agreement": round(comparison.agreement, 4),
                          "accuracy_original": round(comparison.accuracy[0], 4),
                          "accuracy_converted": round(comparison.accuracy[1], 4)}  # fmt: skip
        _write_manifest(workplace, record)
        write_card(workplace / "README.md", record)
        workplace.chmod(0o755)
        if output.exists():
            shutil.rmtree(output)
        workplace.rename(output)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return Bundle.load(output), comparison


def _read(order: Order, folder: Path, part: Part) -> list[Item]:
    return read(folder, part, order.names, order.record)


def _crops(order: Order, part: Part, original: Original) -> _Crops:
    """Located and whole crops of one side of the split, an even choice of at most `_MOST_FITTED` pictures."""
    items: list[Item] = [item for folder in order.calibration for item in _read(order, folder, part)]
    stride = -(-len(items) // _MOST_FITTED)
    windows = cut(items[::stride], original.size, match_stain=order.match_stain)
    place = {name: index for index, name in enumerate(original.classes)}
    targets = np.array([place.get(among(item.kind, place) or "", -1) for item in windows.items])
    absent = [name for name, index in place.items() if not (targets == index).any()]
    if absent:
        raise ConversionError(
            f"the {part} part of the calibration pictures shows no {', no '.join(absent)}: what the model knows of it "
            "cannot be fitted; add a folder that has some (`leukoscope data` counts them by side)"
        )
    sites = np.array([item.site for item in windows.items])
    both = np.concatenate([windows.crops, windows.whole])
    return _Crops(both, np.concatenate([targets, targets]), np.concatenate([sites, sites]))


def _fitted(
    original: Original,
    order: Order,
    model: bytes,
    training: _Crops,
    held_out: _Crops,
    workplace: Path,
    report: Callable[[str], None],
    watch: Watch,
) -> tuple[Bundle, Comparison]:
    """Write the bundle to a workplace, with everything but its measured figures, and pass the gate."""
    (workplace / "model.tflite").write_bytes(model)
    head, classes = Head(original.weights, original.bias), len(original.classes)
    blank = _record(original, order, model, head, _nothing_known(original), 1.0, held_out.images[0], None)
    _write_manifest(workplace, blank)
    classifier = Classifier(Bundle.load(workplace))
    report("fitting calibration and familiarity")
    known = Embedded(_embeddings(classifier, watch(training.images)), training.targets, training.sites)
    held = Embedded(_embeddings(classifier, watch(held_out.images)), held_out.targets, held_out.sites)
    manifest = classifier.bundle.manifest
    converted = np.stack([raw_probabilities(manifest, e) for e in held.embeddings])
    # A model with an output for other kinds must keep that, too.
    targets = np.where((held.targets < 0) & bool(original.others), classes, held.targets)
    answers = original.answer(held_out.images)
    comparison = compare(answers, converted, targets, original.names)
    order_of_names = better_order(answers, targets, original.names)
    if order_of_names:
        report(
            f"Warning: only {comparison.accuracy[0]:.0%} of the crops are named right; the outputs "
            f"{', '.join(original.names)} would fit better as {', '.join(order_of_names)}: look at --classes"
        )

    def layers() -> tuple[LayerError, ...]:
        exact = quantize(original.graph, "float32", training.images)
        return compare_layers(exact, model, training.images, original)

    if order.layers:
        for line in table(layers()):
            report(line)
    more = [how for how in ("int16x8", "float16", "float32") if how != order.quantization]
    check(
        comparison,
        targets,
        original.names,
        lambda: f". Lost most in {costliest(layers())}; try {', '.join(more)}",
    )
    warmth = temperature(head, held, classes)
    fitted = familiarity(head, known, held, classes)
    record = _record(original, order, model, head, fitted, warmth, held_out.images[0], converted[0])
    _write_manifest(workplace, record)
    return Bundle.load(workplace), comparison


def _embeddings(classifier: Classifier, crops: Iterable[Image]) -> NDArray[np.float32]:
    return np.stack([classifier.embed(crop) for crop in crops])


def _nothing_known(original: Original) -> Familiarity:
    width, classes = len(original.weights), len(original.classes)
    zero = np.zeros((width, 1), np.float32)
    return Familiarity(zero[:, 0], zero, np.zeros((classes, 1), np.float32), 1.0, 1.0)


def _record(
    original: Original,
    order: Order,
    model: bytes,
    head: Head,
    known: Familiarity,
    warmth: float,
    golden: Image,
    answer: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """The manifest as JSON."""
    png = cv2.imencode(".png", golden[..., ::-1])[1].tobytes()
    probabilities = answer if answer is not None else np.zeros(len(original.names))
    return {
        "schema": SCHEMA,
        "name": order.name,
        "version": order.version,
        "architecture": original.architecture,
        "quantization": order.quantization,
        "classes": list(original.classes),
        "others": list(original.others),
        "input": {
            "size": original.size,
            "channels": "RGB",
            "range": [0, 255],
            "crop_um": CROP_UM,
            "plasma": 240,
            "stain": "matched" if order.match_stain else "as-is",
        },
        "outputs": outputs_of(model),
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "calibration": {
            "temperature": round(warmth, 5),
            "threshold": THRESHOLD,
            "margin": MARGIN,
            "unfamiliar": {
                "distance_limit": round(known.distance_limit, 5),
                "other_limit": round(known.other_limit, 5),
                "centre": pack(known.centre, "float16"),
                "whitening": pack(known.whitening, "float16"),
                "means": pack(known.means, "float32"),
            },
            "poor_image": POOR_IMAGE,
        },
        "head": {"weights": pack(head.weights), "bias": pack(head.bias)},
        "golden": {
            "png": base64.b64encode(png).decode(),
            "probabilities": [round(float(p), 5) for p in probabilities],
            "tolerance": TOLERANCE,
        },
        "trained_on": list(order.trained_on),
        "licence": order.licence,
        "citation": order.citation,
    }


def outputs_of(model: bytes) -> dict[str, Any]:
    """Where each output is, by its name in the model's signature."""
    engine = Engine(model_content=model)
    places = {int(output["index"]): position for position, output in enumerate(engine.get_output_details())}
    named = engine.get_signature_runner().get_output_details()
    return {
        name: {"position": places[int(output["index"])], "shape": [int(n) for n in output["shape"][1:]]}
        for name, output in sorted(named.items())
    }


def _measured(bundle: Bundle, order: Order, report: Callable[[str], None]) -> list[Measured]:
    """The figures of the bundle as the device would read the pictures: what it trained with, then the rest."""
    figures = []
    for folder in (*order.calibration, *order.measure):
        seen = folder.name in order.trained_on or folder in order.calibration
        for view in ("auto", "cell"):
            report(f"measuring on {folder.name}, view {view}")
            figures.append(measure(bundle, folder, "test" if seen else None, view, order.names, order.record))
    return [replace(m, trained=m.site in order.trained_on) for m in figures]


def _write_manifest(folder: Path, record: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
