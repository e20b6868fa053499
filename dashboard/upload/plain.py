"""A `.tflite` file that is no bundle: pixels in, one number a class out, and nothing known of it besides.

Its confidence is whatever it says: it was never compared with how often it is right. And nothing tells whether
a cell resembles what it was trained on, so that no cell is ever called unfamiliar.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError, InputError
from edge.inference.bundle import LARGEST_MODEL, Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.inference.interpreter import Interpreter
from edge.pictures.images import read
from edge.records import Cell, Image, Prediction
from edge.vision.explain import occlusion

Scaling = Literal["none", "0-1", "-1-1", "imagenet"]
"""What the model was fed in its training, named as `leukoscope convert` does; none: 0 to 255."""

SCALINGS: Final[tuple[str, ...]] = get_args(Scaling)
RECORD: Final = "plain.json"
THRESHOLD: Final = 0.85

_SCHEMA: Final = "leukoscope.plain/1"
_SIZES: Final = range(16, 513)
_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet's pixels, 0 to 1; R, G, B
_SPREAD: Final = np.array([0.229, 0.224, 0.225], np.float32)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PlainModel:
    """A `.tflite` file with what a person said of it.

    Attributes:
        name: as the person called it.
        names: what the outputs stand for, in order; one that begins with ``other`` stands for no class.
        scaling: what it wants its pixels to be.
        model: the file's bytes.
    """

    name: str
    names: tuple[str, ...]
    scaling: Scaling
    model: bytes

    @property
    def classes(self) -> tuple[str, ...]:
        """The outputs that are classes."""
        return tuple(name for name in self.names if not name.startswith("other"))

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()

    @classmethod
    def load(cls, directory: Path) -> PlainModel:
        """Read what `save` wrote.

        Raises:
            BundleError: it is not there or was altered.
        """
        try:
            record = json.loads((directory / RECORD).read_text("utf-8"))
            found = cls(
                record["name"], tuple(record["names"]), record["scaling"], read(directory / "model.tflite")
            )
            if found.sha256 != record["sha256"]:
                raise BundleError("the model was altered: upload it again")
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise BundleError(f"the model cannot be read: {error}") from error
        return found

    def save(self, directory: Path) -> None:
        """Write it to a folder that is there."""
        (directory / "model.tflite").write_bytes(self.model)
        record = {
            "schema": _SCHEMA,
            "name": self.name,
            "names": self.names,
            "scaling": self.scaling,
            "sha256": self.sha256,
        }
        (directory / RECORD).write_text(json.dumps(record), "utf-8")

    def point(self, threshold: float) -> OperatingPoint:
        """The limits of the default bundle: focus, light and ambiguity ask the same of every model."""
        usual = OperatingPoint.of(Bundle.load())
        return OperatingPoint(threshold, usual.margin, usual.sharpness, usual.contrast, usual.brightness)


class PlainClassifier(Classifier):
    """A plain model at work, in the place of a bundle's classifier. Not for two threads at once.

    Raises:
        BundleError: it does not take one square colour picture, or does not answer with a number a class.
    """

    def __init__(self, plain: PlainModel) -> None:
        if len(plain.model) > LARGEST_MODEL:
            raise BundleError(f"the model is larger than {LARGEST_MODEL // 2**20} MiB")
        self._plain = plain
        self._engine = Interpreter(plain.model)
        height, width, channels = self._engine.input_shape
        if height != width or channels != 3 or height not in _SIZES:
            raise BundleError(
                f"the model takes pictures of {height} × {width} × {channels}: it must be a square of 16 to "
                "512 pixels in three colours"
            )
        self._size = height
        wanted = (len(plain.names),)
        fitting = [at for at, output in enumerate(self._engine.outputs) if output.shape == wanted]
        if len(fitting) != 1:
            shapes = " and ".join(" × ".join(map(str, output.shape)) for output in self._engine.outputs)
            raise BundleError(
                f"the model answers with {shapes or 'single'} numbers, and {len(plain.names)} classes are named: "
                "name what each of its outputs stands for, once"
            )
        self._output = fitting[0]
        self._lookup = self._levels()
        self._is_shares = self._gives_shares()
        self._places = [at for at, name in enumerate(plain.names) if not name.startswith("other")]

    @property
    def input_size(self) -> int:
        """Side of the model's input, in pixels."""
        return self._size

    @property
    def match_stain(self) -> bool:
        """Nobody said that it wants another stain than the picture's own."""
        return False

    def predict(self, cell: Cell) -> Prediction:
        """Classify one cell; where the model's outputs for other kinds outweigh, it is unfamiliar."""
        began = time.perf_counter()
        shares = self.shares(cell.crop)
        known = shares[self._places]
        total = max(float(known.sum()), 1e-9)
        elapsed = (time.perf_counter() - began) * 1e3
        named = dict(zip(self._plain.classes, (known / total).tolist(), strict=True))
        return Prediction(cell, named, (1 - total) / 0.5, elapsed)

    def explain(self, cell: Cell) -> Floats:
        """Where hiding a part costs the best class its lead, see `vision.explain.occlusion`."""
        best = int(self.shares(cell.crop).argmax())

        def lead(crop: Image) -> float:
            logits = np.log(np.maximum(self.shares(crop), 1e-6))
            return float(logits[best] - np.delete(logits, best).max())

        return occlusion(cell.crop, lead)

    def shares(self, crop: Image) -> Floats:
        """What the model says of each output, summing to 1."""
        raw = self._raw(crop)
        if not np.isfinite(raw).all():
            raise BundleError("the model answers with numbers that are none")
        if not self._is_shares:
            raw = np.exp(raw - raw.max())
        return np.asarray(raw / max(float(raw.sum()), 1e-9), np.float32)

    def _raw(self, crop: Image) -> Floats:
        fed = np.take_along_axis(self._lookup[:, None, :], crop.reshape(-1, 1, 3).astype(int), axis=0)
        self._engine.invoke(fed.reshape(crop.shape))
        return self._engine.output(self._output)

    def _gives_shares(self) -> bool:
        """Whether the answers are probabilities already, as far as noise and a blank picture tell."""
        size = self._size
        probes = (
            np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8),
            np.full((size, size, 3), 240, np.uint8),
        )
        answers = [self._raw(probe) for probe in probes]
        return all(bool(a.min() >= 0 and abs(float(a.sum()) - 1) < 0.05) for a in answers)

    def _levels(self) -> NDArray[Any]:
        """What the model is fed for each level of 0 to 255 of each colour: 256 × 3, in the model's own type."""
        level = np.repeat(np.arange(256, dtype=np.float32)[:, None], 3, axis=1)
        match self._plain.scaling:
            case "none":
                scaled: Floats = level
            case "0-1":
                scaled = np.asarray(level / 255, np.float32)
            case "-1-1":
                scaled = np.asarray(level / 127.5 - 1, np.float32)
            case "imagenet":
                scaled = np.asarray((level / 255 - _MEAN) / _SPREAD, np.float32)
        kind = np.dtype(self._engine.input_type).name
        if kind == "float32":
            return np.asarray(scaled, np.float32)
        lowest = {"uint8": 0, "int8": -128}.get(kind)
        if lowest is None or not self._engine.input_step:
            raise BundleError(f"the model's input is of {kind}: it must be uint8, int8 or float32")
        steps = np.round(scaled / self._engine.input_step) + self._engine.input_zero
        return np.asarray(np.clip(steps, lowest, lowest + 255), kind)
