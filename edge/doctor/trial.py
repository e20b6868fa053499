"""The model on known cells, in a process of its own: a runtime built for another processor ends its process.

python -m edge.doctor.trial BUNDLE      prints one line of JSON, a `Trial`
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.doctor.runtime import Trial
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.inference.interpreter import Interpreter
from edge.pictures.images import load
from edge.pipeline import Reader
from edge.records import Frame

SAMPLES = Path(__file__).parent.parent / "samples"
LABELLED = SAMPLES / "acevedo"
FIELD = SAMPLES / "bccd" / "BloodImage_00042.jpg"
RUNS = 10


def trial(bundle: Bundle) -> Trial:
    """Run a model on the shipped samples.

    Raises:
        BundleError: it cannot be loaded.
        InputError: a sample cannot be read.
    """
    interpreter = bundle.interpreter()
    reader = Reader(Classifier(bundle), OperatingPoint.of(bundle, None), view="cell", um_per_pixel=None)
    fields = Reader(Classifier(bundle), OperatingPoint.of(bundle, None), view="field", um_per_pixel=None)
    cells = []
    for file, label in labels():
        prediction = reader.read(_frame(LABELLED / file))[0].prediction
        cells.append((file, label, prediction.best, round(prediction.probabilities[prediction.best], 4)))
    return Trial(
        round(_invoke_ms(interpreter), 3), interpreter.accelerated(), cells, len(fields.read(_frame(FIELD)))
    )


def labels() -> Iterator[tuple[str, str]]:
    """The shipped cells and what they are."""
    with (LABELLED / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["filename"], row["class"]


def _frame(file: Path) -> Frame:
    return Frame.of(load(file), 0, datetime(2026, 1, 1, tzinfo=UTC), file.name)


def _invoke_ms(interpreter: Interpreter) -> float:
    picture: NDArray[np.uint8] = np.zeros(interpreter.input_shape, interpreter.input_type)
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        interpreter.invoke(picture)
        times.append(time.perf_counter() - begun)
    return 1000 * min(times)


if __name__ == "__main__":
    print(json.dumps(trial(Bundle.load(sys.argv[1]))._asdict()))  # noqa: T201 - read by `edge.doctor.runtime`
