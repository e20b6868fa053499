"""What was read of an upload at one moment, to be worked on in another thread while reading goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dashboard.upload.models import Model
from dashboard.upload.rows import Picture, Row
from edge.datasets.labels import Labels
from edge.datasets.taxonomy import among, kind_of


@dataclass(frozen=True, slots=True)
class Found:
    """An upload as it was.

    Attributes:
        model: that read it.
        pictures: all that came, by number.
        rows: the cells of each picture that was read, by its number.
        labels: what a person said of the pictures; None where nobody did.
        over: nothing more will be read.
    """

    model: Model
    pictures: tuple[Picture, ...]
    rows: Mapping[int, tuple[Row, ...]]
    labels: Labels | None
    over: bool

    def cells(self) -> Iterator[tuple[Picture, Row]]:
        """The cells, by picture and number."""
        for number in sorted(self.rows):
            for row in self.rows[number]:
                yield self.pictures[number], row

    def label_of(self, number: int) -> str | None:
        """What a person said of a picture, see `label_of`."""
        return label_of(self.labels, self.pictures[number].name, self.model.classes)


def label_of(labels: Labels | None, name: str, classes: tuple[str, ...]) -> str | None:
    """What a person said of a picture: a class of the model, or the name of another kind; None where nothing."""
    said = labels.of(name) if labels else None
    return None if said is None else among(said, classes) or kind_of(said)
