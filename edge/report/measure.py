"""Labelled folders → figures, the list of what was read, and the pictures that were misread."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge.datasets.taxonomy import among
from edge.errors import DataError, InputError
from edge.report.tabular import safe
from edge.statistics.evaluation import Evaluation, Outcome, evaluate

if TYPE_CHECKING:
    from edge.datasets.labelled import LabelledFolder, Part
    from edge.pictures.inputs import Input
    from edge.pictures.reading import Settings

MOST_PICTURED: Final = 120
"""So many misread cells are kept for the report, the worst first."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture that went into the figures, or could not be read.

    Attributes:
        folder: the data set's folder, by its own name.
        file: the picture's name within it.
        label: the class or kind that it is labelled with.
        sha256: of its bytes, hexadecimal.
    """

    folder: str
    file: str
    label: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Misread:
    """A cell that was read as another class, or of a kind that the model does not know and yet accepted.

    Attributes:
        picture: where to find it.
        outcome: what it is, and what was said of it.
    """

    picture: Input
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model made of the labelled pictures.

    Attributes:
        evaluation: the figures.
        items: what they are of, in the order of reading.
        misread: the worst `MOST_PICTURED`: accepted ones first, each sort by falling confidence.
        misread_count: how many there are in all.
        unreadable: how many pictures could not be read.
    """

    evaluation: Evaluation
    items: tuple[Item, ...]
    misread: tuple[Misread, ...]
    misread_count: int
    unreadable: int

    @property
    def listing(self) -> str:
        """The list of what was read as a CSV; its hash names the data that a report is about."""
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(("folder", "file", "class", "sha256"))
        rows.writerows((safe(i.folder), safe(i.file), safe(i.label), i.sha256) for i in self.items)
        return out.getvalue()


def measure(
    data: Sequence[LabelledFolder],
    part: Part | None,
    settings: Settings,
    *,
    step: Callable[[], None],
    unreadable: Callable[[str, InputError], None],
) -> Measured:
    """Read all labelled pictures with one model.

    Args:
        data: the folders.
        part: only this part of their pictures, None for all.
        settings: the model, and how it reads.
        step: called after each picture.
        unreadable: takes the name of each picture that cannot be read, and why; the others are still read.

    Raises:
        DataError: none could be read.
    """
    from edge.pictures.reading import read_all

    outcomes: list[Outcome] = []
    items: list[Item] = []
    misread: list[Misread] = []
    without_cell = misread_count = errors = 0
    for source in data:
        waiting: deque[Input] = deque()
        for answer in read_all(_listed(source, part, items, waiting), settings):
            picture = waiting.popleft()
            step()
            if answer.error:
                errors += 1
                unreadable(answer.name, answer.error)
                continue
            kind = source.label(answer.name)
            assert kind is not None
            label = among(kind, settings.bundle.classes) or kind
            known = label in settings.bundle.classes
            if answer.central is None:
                without_cell += known
                continue
            outcome = answer.central.outcome(label)
            outcomes.append(outcome)
            if label != outcome.best and (known or not outcome.reasons):
                misread_count += 1
                misread.append(Misread(picture, outcome))
                misread.sort(key=lambda each: (bool(each.outcome.reasons), -each.outcome.confidence))
                del misread[MOST_PICTURED:]
    if not outcomes:
        folders = ", ".join(str(source.folder) for source in data)
        raise DataError(f"{folders}: no labelled picture could be read")
    evaluation = evaluate(outcomes, settings.bundle.classes, without_cell=without_cell)
    return Measured(evaluation, tuple(items), tuple(misread), misread_count, errors)


def _listed(
    source: LabelledFolder, part: Part | None, items: list[Item], waiting: deque[Input]
) -> Iterator[Input]:
    """Pass a folder's pictures on with their bytes, so that what is read is what was listed."""
    from edge.pictures.inputs import Input

    for picture in source.pictures(part):
        waiting.append(picture)
        try:
            data = picture.data()
        except InputError as error:
            yield Input(picture.name, error)
            continue
        file = os.path.relpath(picture.name, source.folder)
        label = source.label(picture.name)
        assert label is not None
        items.append(Item(source.folder.resolve().name, file, label, hashlib.sha256(data).hexdigest()))
        yield Input(picture.name, data, picture.box)


def crops(misread: Sequence[Misread], settings: Settings) -> list[tuple[Misread, bytes]]:
    """Read misread cells once more, for their pictures.

    Returns:
        Each with its crop as a JPEG; one whose file has gone meanwhile is left out.
    """
    from edge.inference.classify import Classifier
    from edge.inference.decide import OperatingPoint
    from edge.pipeline import Reader
    from edge.records import Frame
    from edge.vision.crop import central
    from edge.wire.thumbnail import jpeg

    reader = Reader(
        Classifier(settings.bundle),
        OperatingPoint.of(settings.bundle, settings.threshold),
        view=settings.view,
        um_per_pixel=settings.um_per_pixel,
    )
    found = []
    for each in misread:
        try:
            image = each.picture.image()
        except InputError:
            continue
        decisions = reader.read(Frame.of(image, 0, datetime.now(UTC), each.picture.name))
        cell = central(tuple(decision.cell for decision in decisions), each.picture.box)
        if cell is not None:
            found.append((each, jpeg(cell.picture)))
    return found
