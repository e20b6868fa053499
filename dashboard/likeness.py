"""Accepted cells that look like a given one, to compare it with.

Likeness is the cosine between embeddings: the numbers that a bundle's network makes of a picture before its head names
a class. The pictures are those of the messages, in the field's own colours, so the bundle need not be the device's;
and it is not: the network that names cells best puts all cells of a class into nearly one place. Among 58 cells, the
mirror image of each lying among the others, MobileNetV2's embedding found it for 48 %, the small CNN's for all.
Each picture is embedded once and kept; a first question about a sample embeds what it needs.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dashboard.mirror import Mirror, MirrorCell
from edge.errors import LeukoscopeError
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.pictures.images import decode
from edge.records import Image

log = logging.getLogger(__name__)

BUNDLE: Final = "cnn-int8"

CANDIDATES: Final = 150
"""So many accepted cells of each of the two likeliest classes are looked at, evenly over the sample."""
CLASSES: Final = 2

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Like:
    """An accepted cell that is like another.

    Attributes:
        cell: it.
        cosine: how like, -1 to 1; None where pictures could not be compared.
    """

    cell: MirrorCell
    cosine: float | None


class Likeness:
    """Finds like cells. Used from several threads: one question at a time is worked on.

    Args:
        mirror: holds the cells and what was worked out.
        bundle: a bundle of the zoo, or a folder.
    """

    def __init__(self, mirror: Mirror, bundle: str = BUNDLE) -> None:
        self._mirror = mirror
        self._name = bundle
        self._lock = threading.Lock()
        self._classifier: Classifier | None = None
        self._unusable = False

    def nearest(self, cell: MirrorCell, *, limit: int = 8) -> tuple[Like, ...]:
        """Accepted cells of the same sample that nobody has changed, the likest first.

        Looked for among the two classes that the model gives the cell the most for. Where pictures cannot be
        compared: accepted cells of its class, the surest first.
        """
        candidates = self._candidates(cell)
        with self._lock:
            # Without its own picture there is nothing to compare.
            vectors = self._vectors([cell, *candidates]) if cell.pictured else {}
        own = vectors.get(cell.number)
        if own is None:
            sure = [each for each in candidates if each.record.class_ == cell.record.class_]
            sure.sort(key=lambda each: -each.record.confidence)
            return tuple(Like(each, None) for each in sure[:limit])
        found = [
            Like(each, float(own @ vectors[each.number])) for each in candidates if each.number in vectors
        ]
        return tuple(sorted(found, key=lambda like: -(like.cosine or 0))[:limit])

    def _candidates(self, cell: MirrorCell) -> list[MirrorCell]:
        said = cell.record
        likely = sorted(said.probabilities, key=lambda name: -said.probabilities[name])[:CLASSES]
        return [
            each
            for name in likely or [said.class_]
            for each in self._mirror.sampled(said.device, said.sample, standing=name, limit=CANDIDATES)
            if each.number != cell.number and each.record.verdict == "accepted" and each.reviewed is None
        ]

    def _vectors(self, cells: list[MirrorCell]) -> dict[int, Floats]:
        """The embeddings by the cell's number, each of length 1; without those that have no picture."""
        classifier = self._loaded()
        if classifier is None:
            return {}
        sha256 = classifier.bundle.sha256
        known = self._mirror.embeddings([cell.number for cell in cells], sha256)
        new: dict[int, Floats] = {}
        for cell in cells:
            if cell.pictured and cell.number not in known:
                vector = self._embedded(classifier, cell)
                if vector is not None:
                    new[cell.number] = vector
        self._mirror.keep_embeddings(new, sha256)
        return known | new

    def _embedded(self, classifier: Classifier, cell: MirrorCell) -> Floats | None:
        jpeg = self._mirror.picture(cell.record.device, cell.record.id)
        if jpeg is None:
            return None
        try:
            picture = decode(jpeg, cell.record.id)
        except LeukoscopeError:  # only its first bytes were looked at when it came
            return None
        vector = classifier.embed(_fitted(picture, classifier.input_size)).astype(np.float32)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)

    def _loaded(self) -> Classifier | None:
        if self._classifier is None and not self._unusable:
            try:
                self._classifier = Classifier(Bundle.load(self._name))
            except LeukoscopeError as error:
                self._unusable = True
                log.warning("like cells are found by class and confidence alone: %s", error)
        return self._classifier


def _fitted(picture: Image, size: int) -> Image:
    if picture.shape[:2] == (size, size):
        return picture
    import cv2

    smaller = picture.shape[0] > size
    return np.asarray(
        cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC),
        np.uint8,
    )
