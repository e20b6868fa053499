"""What the model says of a cell: calibrated probabilities and how unfamiliar it is."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError
from edge.inference.bundle import Bundle
from edge.inference.manifest import Manifest
from edge.records import Cell, Image, Prediction
from edge.vision.explain import occlusion, strength

Floats = NDArray[np.float32]


class Classifier:
    """A bundle at work. Not for two threads at once: make one a thread.

    The head is applied here to the embedding rather than read off the graph's probabilities, which an
    integer model rounds to 1/256.

    Args:
        bundle: what to run.

    Raises:
        BundleError: the model contradicts its manifest.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._manifest = bundle.manifest
        self._interpreter = bundle.interpreter()
        kind = self._interpreter.input_type
        if kind not in (np.uint8, np.float32):
            raise BundleError(f"{bundle.directory}: the model's input must be uint8 or float32")

    @property
    def input_size(self) -> int:
        """Side of the model's input, in pixels."""
        return self._manifest.input_size

    @property
    def match_stain(self) -> bool:
        """Whether the model wants its crops in the reference's stain, see `vision.stain`."""
        return self._manifest.match_stain

    def predict(self, cell: Cell) -> Prediction:
        """Classify one cell."""
        began = time.perf_counter()
        embedding = self.embed(cell.crop)
        probabilities, unfamiliarity = judge(self._manifest, embedding)
        elapsed = (time.perf_counter() - began) * 1e3
        named = dict(zip(self._manifest.classes, probabilities.tolist(), strict=True))
        return Prediction(cell, named, unfamiliarity, elapsed)

    def embed(self, crop: Image) -> Floats:
        """The embedding of a crop, size × size × 3 uint8."""
        self._interpreter.invoke(crop)
        return self._interpreter.output(self._manifest.outputs["embedding"])

    def activation(self, cell: Cell, cell_class: str) -> Floats | None:
        """Where the model saw what speaks for a class, for the cost of classifying the cell once more.

        Class activation mapping (Zhou et al. 2016, arXiv:1512.04150): the feature map times the head's weights
        of the class.

        Returns:
            height × width of the feature map, 0 to 1; None where the bundle has none.
        """
        if "features" not in self._manifest.outputs:
            return None
        self.embed(cell.crop)
        return self._activation(self._manifest.classes.index(cell_class))

    def explain(self, cell: Cell) -> Floats:
        """Where the model saw what speaks for its best class.

        By `activation`; where the bundle has no feature map by occlusion (`vision.explain.occlusion`): what the
        class loses of its lead over the next where a part of the cell is hidden, at about 80 times the cost.

        Returns:
            height × width of the map, 0 to 1.
        """
        probabilities, _ = judge(self._manifest, self.embed(cell.crop))
        best = int(probabilities.argmax())
        if "features" in self._manifest.outputs:
            return self._activation(best)
        return occlusion(cell.crop, lambda crop: self._lead(self.embed(crop), best))

    def _activation(self, index: int) -> Floats:
        """What speaks for a class, in the crop that the model was run on last."""
        features = self._interpreter.output(self._manifest.outputs["features"])
        return strength(features @ self._manifest.head.weights[:, index])

    def _lead(self, embedding: Floats, best: int) -> float:
        """The logit of one class above the largest of the others: it does not saturate as probabilities do."""
        logits = embedding @ self._manifest.head.weights + self._manifest.head.bias
        classes = logits[: len(self._manifest.classes)]
        return float(classes[best] - np.delete(classes, best).max())

    def golden_error(self) -> float:
        """How far the model's answer to its golden crop is from the one in the manifest, 0 to 1.

        Raises:
            InputError: the crop is no picture.
            BundleError: it does not have the size of the model's input.
        """
        from edge.pictures.images import decode

        golden, size = self._manifest.golden, self.input_size
        crop = decode(golden.png, f"{self.bundle.directory}: the golden crop")
        if crop.shape != (size, size, 3):
            raise BundleError(f"{self.bundle.directory}: the golden crop does not have the size of the input")
        found = raw_probabilities(self._manifest, self.embed(crop))
        return float(np.abs(found - golden.probabilities).max())


OVERFLOWED = 1e6
"""The unfamiliarity of a cell for which the model computed no numbers."""


def judge(manifest: Manifest, embedding: Floats) -> tuple[Floats, float]:
    """Calibrated probabilities of the classes, and the unfamiliarity: above 1 is unfamiliar.

    Of an embedding that overflowed, as a float model's can, nothing is known: all classes alike, and unfamiliar.
    """
    count, known = len(manifest.classes), manifest.familiarity
    with np.errstate(over="ignore", invalid="ignore"):
        logits = embedding @ manifest.head.weights + manifest.head.bias
        place = (embedding - known.centre) @ known.whitening
        distance = float(np.sqrt(((place - known.means) ** 2).sum(axis=1).min()))
    if not (np.isfinite(logits).all() and np.isfinite(distance)):
        return np.full(count, 1 / count, np.float32), OVERFLOWED
    probabilities = _softmax(logits[:count] / manifest.temperature)
    other = float(_softmax(logits)[count:].sum())
    return probabilities, max(distance / known.distance_limit, other / known.other_limit)


def raw_probabilities(manifest: Manifest, embedding: Floats) -> Floats:
    """The probabilities of all outputs, classes and others, as the graph itself gives them."""
    return _softmax(embedding @ manifest.head.weights + manifest.head.bias)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)
