"""A process that converts a Keras file, the way `leukoscope convert` does, with nothing allowed that is code.

Run as ``python -m dashboard.upload.keras FILE DIRECTORY NAME CLASSES SCALING``. It leaves ``converted.tflite`` and
``names.json`` in DIRECTORY and prints ``{}``, or prints ``refused`` with the reason. Without calibration pictures
it can be neither calibrated nor quantised: the result is a plain model in float32.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from dashboard.upload.plain import SCALINGS
from dashboard.upload.sandbox import CONVERT_BYTES, confine
from edge.errors import ConversionError, LeukoscopeError, MissingExtra

CPU_S: Final = 900


def convert(file: Path, into: Path, classes: tuple[str, ...], scaling: str) -> None:
    """Convert a file, whose own code is never run: Lambda layers and foreign classes are refused.

    Raises:
        ConversionError: it cannot be converted, or carries code.
    """
    import numpy as np

    from convert.quantize import quantize
    from convert.source import load

    if not any(classes):
        raise ConversionError("Name what each output stands for, in order: basophil, eosinophil, …")
    # The kind is told by the content and the suffix is the visitor's, so the file gets one of ours.
    original = load(file, classes, None if scaling in ("", "none") else scaling, allowed=())  # type: ignore[arg-type]
    blank = np.full((1, original.size, original.size, 3), 240, np.uint8)
    model = quantize(original.graph, "float32", blank)
    (into / "converted.tflite").write_bytes(model)
    (into / "names.json").write_text(json.dumps(original.names), "utf-8")


def main(file: str, directory: str, name: str, classes: str, scaling: str) -> None:
    """Convert one file."""
    confine(CONVERT_BYTES, cpu_s=CPU_S)
    said: dict[str, Any] = {}
    try:
        if find_spec("tensorflow") is None:
            raise MissingExtra("A Keras file", "convert")
        if scaling and scaling not in SCALINGS:
            raise ConversionError(f"Say how the model wants its pixels: {', '.join(SCALINGS)}")
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            tempfile.tempdir = folder
            convert(Path(file), Path(directory), tuple(classes.split(",")), scaling)
    except LeukoscopeError as error:
        said = {"refused": str(error).replace(file, name)}
    except MemoryError:
        said = {"refused": "The model needs more memory than a conversion may have"}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
