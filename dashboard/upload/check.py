"""A process that looks at a model from outside before anything else does.

Run as ``python -m dashboard.upload.check KIND FILE DIRECTORY NAME CLASSES SCALING``; it prints one JSON object:
what the model is, or ``refused`` with the reason. It writes to DIRECTORY what is kept of it.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from dashboard.upload.plain import SCALINGS, PlainClassifier, PlainModel, Scaling
from dashboard.upload.sandbox import CHECK_BYTES, confine
from dashboard.upload.tflite import check as check_operators
from edge.datasets.taxonomy import kind_of
from edge.errors import BundleError, LeukoscopeError
from edge.inference.bundle import LARGEST_MODEL, Bundle
from edge.inference.classify import Classifier
from edge.pictures.archives import DAMAGED
from edge.text import printable

CPU_S: Final = 50
LONGEST_NAME: Final = 80
MOST_CLASSES: Final = 64

_LARGEST: Final = {"manifest.json": 8 * 2**20, "README.md": 2**20, "model.tflite": LARGEST_MODEL}


def bundle(file: Path, into: Path) -> dict[str, Any]:
    """Unpack a bundle's three files, whatever else the ZIP holds, and see whether they are one.

    Raises:
        BundleError: they are not.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = [n for n in archive.namelist() if n.split("/")[-1] == "manifest.json"]
            if len(manifest) != 1:
                raise BundleError("The ZIP holds more than one manifest.json: bring one bundle at a time")
            folder = manifest[0].removesuffix("manifest.json")
            for name, most in _LARGEST.items():
                if folder + name not in archive.namelist():
                    raise BundleError(f"The bundle lacks {name}")
                with archive.open(folder + name) as member:
                    data = member.read(most + 1)
                if len(data) > most:
                    raise BundleError(f"The bundle's {name} is larger than {most // 2**20} MiB")
                (into / name).write_bytes(data)
    except DAMAGED as error:
        raise BundleError("The ZIP is damaged, encrypted, or packed in a way that is not read") from error
    try:
        check_operators((into / "model.tflite").read_bytes())
        found = Bundle.load(into)
        error_ = Classifier(found).golden_error()
    except BundleError as error:
        raise BundleError(str(error).removeprefix(f"{into}: ")) from error
    if not error_ <= found.manifest.golden.tolerance:
        raise BundleError(
            f"The bundle does not answer as its manifest says: it is {error_:.3f} off on its golden crop"
        )
    return _said(found.name, found.classes, True, found.threshold, found.sha256)


def plain(file: Path, into: Path, name: str, names: tuple[str, ...], scaling: str) -> dict[str, Any]:
    """See whether a `.tflite` takes a picture and answers with a number a class, and keep it.

    Raises:
        BundleError: it does not, or its classes are not named as they must be.
    """
    model = file.read_bytes()
    check_operators(model)
    names = class_names(names)
    if scaling not in SCALINGS:
        raise BundleError(f"Say how the model wants its pixels: {', '.join(SCALINGS)}")
    kept = PlainModel(name, names, cast(Scaling, scaling), model)
    classifier = PlainClassifier(kept)
    size = classifier.input_size
    answer = classifier.shares(np.full((size, size, 3), 200, np.uint8))
    if not np.isfinite(answer).all():
        raise BundleError("The model answers with numbers that are none")
    kept.save(into)
    return _said(name, kept.classes, False, 0.85, kept.sha256)


def class_names(given: tuple[str, ...]) -> tuple[str, ...]:
    """Names as the rest of the program knows them.

    Raises:
        BundleError: there are fewer than two, too many, or one twice.
    """
    written = tuple(printable(name.strip().lower())[:40] for name in given if name.strip())
    names = tuple(name if name.startswith("other") else kind_of(name) for name in written)
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
        raise BundleError("Name what each output stands for, in order, each once: basophil, eosinophil, …")
    if sum(not name.startswith("other") for name in names) < 2:
        raise BundleError("A model needs at least two classes besides “other”")
    return names


def _said(
    name: str, classes: tuple[str, ...], calibrated: bool, threshold: float, sha256: str
) -> dict[str, Any]:
    shown = printable(name)[:LONGEST_NAME]
    return {
        "name": shown,
        "classes": classes,
        "calibrated": calibrated,
        "threshold": threshold,
        "sha256": sha256,
    }


def main(kind: str, file: str, directory: str, name: str, classes: str, scaling: str) -> None:
    """Check one model."""
    confine(CHECK_BYTES, cpu_s=CPU_S)
    into = Path(directory)
    try:
        if kind == "bundle":
            found = bundle(Path(file), into)
        elif kind == "keras":  # converted by now: `dashboard.upload.keras` has left its names beside it
            names = tuple(json.loads((into / "names.json").read_text("utf-8")))
            found = plain(into / "converted.tflite", into, name, names, "none")
        else:
            found = plain(Path(file), into, name, tuple(classes.split(",")), scaling)
    except LeukoscopeError as error:
        found = {"refused": str(error)}
    except MemoryError:
        found = {"refused": "The model needs more memory than a model may"}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
