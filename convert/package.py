"""Original → bundle: quantise, fit what it needs to know, pass the gate, measure, write; or leave nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from convert.calibrate import Embedded, familiarity, temperature
from convert.card import write_card
from convert.gate import Comparison, check, compare
from convert.measure import Measured, measure
from convert.quantize import Quantization, quantize
from convert.source import Original
from edge.errors import ConversionError
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier, raw_probabilities
from edge.inference.interpreter import Interpreter
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
    """

    name: str
    version: str
    quantization: Quantization
    calibration: tuple[Path, ...]
    trained_on: tuple[str, ...] = ()
    measure: tuple[Path, ...] = ()
    licence: str = "not stated"
    citation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Crops:
    """Model inputs of one side of the split, located and whole, with the index of the class or -1."""

    images: Image
    targets: NDArray[np.int64]


def package(
    original: Original, order: Order, output: Path, report: Callable[[str], None]
) -> tuple[Bundle, Comparison]:
    """Make a bundle.

    Args:
        original: the trained model.
        order: what to make of it.
        output: the bundle's folder; replaced if it holds a bundle, refused if it holds anything besides.
        report: takes a line of progress.

    Raises:
        ConversionError: the folder is taken, the images do not do, or the gate was missed.
        DataError: a folder holds no labelled pictures.
    """
    if output.exists() and not (output.is_dir() and {p.name for p in output.iterdir()} <= _FILES):
        raise ConversionError(f"{output} exists and is not just a bundle; choose another --output")
    report("cutting cells out of the calibration pictures")
    training = _crops(order.calibration, "train", original)
    held_out = _crops(order.calibration, "validation", original)
    report(f"converting to {order.quantization} with {len(training.images)} real crops")
    model = quantize(original.graph, order.quantization, training.images)
    output.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        bundle, comparison = _fitted(original, order, model, training, held_out, workplace, report)
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


def _crops(folders: tuple[Path, ...], part: Any, original: Original) -> _Crops:
    """Located and whole crops of one side of the split, an even choice of at most `_MOST_FITTED` pictures."""
    items: list[Item] = [item for folder in folders for item in read(folder, part)]
    stride = -(-len(items) // _MOST_FITTED)
    windows = cut(items[::stride], original.size)
    place = {name: index for index, name in enumerate(original.classes)}
    targets = np.array([place.get(item.kind, -1) for item in windows.items])
    absent = [name for name, index in place.items() if not (targets == index).any()]
    if absent:
        raise ConversionError(f"the {part} part of the calibration pictures shows no {', no '.join(absent)}")
    return _Crops(np.concatenate([windows.crops, windows.whole]), np.concatenate([targets, targets]))


def _fitted(
    original: Original,
    order: Order,
    model: bytes,
    training: _Crops,
    held_out: _Crops,
    workplace: Path,
    report: Callable[[str], None],
) -> tuple[Bundle, Comparison]:
    """Write the bundle to a workplace, with everything but its measured figures, and pass the gate."""
    (workplace / "model.tflite").write_bytes(model)
    head, classes = Head(original.weights, original.bias), len(original.classes)
    blank = _record(original, order, model, head, _nothing_known(original), 1.0, held_out.images[0], None)
    _write_manifest(workplace, blank)
    classifier = Classifier(Bundle.load(workplace))
    report("fitting calibration and familiarity")
    known = Embedded(_embeddings(classifier, training.images), training.targets)
    held = Embedded(_embeddings(classifier, held_out.images), held_out.targets)
    manifest = classifier.bundle.manifest
    converted = np.stack([raw_probabilities(manifest, e) for e in held.embeddings])
    # A model with an output for other kinds must keep that, too.
    targets = np.where((held.targets < 0) & bool(original.others), classes, held.targets)
    comparison = compare(
        _original_probabilities(original, held_out.images), converted, targets, original.names
    )
    check(comparison, targets, original.names)
    warmth = temperature(head, held, classes)
    fitted = familiarity(head, known, held, classes)
    record = _record(original, order, model, head, fitted, warmth, held_out.images[0], converted[0])
    _write_manifest(workplace, record)
    return Bundle.load(workplace), comparison


def _embeddings(classifier: Classifier, crops: Image) -> NDArray[np.float32]:
    return np.stack([classifier.embed(crop) for crop in crops])


def _original_probabilities(original: Original, crops: Image) -> NDArray[np.float32]:
    batches = (crops[i : i + 64].astype(np.float32) for i in range(0, len(crops), 64))
    return np.concatenate([np.asarray(original.graph(batch, training=False)[0]) for batch in batches])


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
        },
        "outputs": _outputs(model, len(head.bias), len(head.weights)),
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


def _outputs(model: bytes, outputs: int, width: int) -> dict[str, Any]:
    """Which of the model's outputs is which: told apart by shape, and the order the converter chose by type."""
    found: dict[str, Any] = {}
    for position, output in enumerate(Interpreter(model).outputs):
        flat = len(output.shape) == 1
        name = "features" if not flat else "probabilities" if output.shape == (outputs,) else "embedding"
        found[name] = {"position": position, "shape": list(output.shape)}
    if set(found) != {"probabilities", "embedding", "features"} or outputs == width:
        raise ConversionError("the converted model does not have the three outputs of a bundle")
    return found


def _measured(bundle: Bundle, order: Order, report: Callable[[str], None]) -> list[Measured]:
    """The figures of the bundle as the device would read the pictures: what it trained with, then the rest."""
    figures = []
    for folder in (*order.calibration, *order.measure):
        seen = folder.name in order.trained_on or folder in order.calibration
        for view in ("auto", "cell"):
            report(f"measuring on {folder.name}, view {view}")
            figures.append(measure(bundle, folder, "test" if seen else None, view))
    return [replace(m, trained=m.site in order.trained_on) for m in figures]


def _write_manifest(folder: Path, record: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
