"""Labelled pictures of a site → the embeddings of their cells."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.datasets.labelled import LabelledFolder, place_of
from edge.datasets.taxonomy import among
from edge.errors import DataError, InputError
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pictures.inputs import Input
from edge.pictures.parallel import cores, in_order
from edge.pipeline import Reader
from edge.records import Cell, Frame, Image, View
from edge.vision.crop import central

MOST: Final = 100
"""So many cells of a kind are used, the first by the SHA-256 of their files; with more, train a model."""

_NO_CROP: Final[Image] = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class SiteCell:
    """One labelled cell, embedded.

    Attributes:
        site: the name of the folder that it is from.
        kind: one of the model's classes, or another kind.
        unit: what must not be torn apart by a split: its patient or slide, or else its file.
        views: 4 × width, the embeddings of the crop as it is, mirrored left and right, top and bottom, and
            transposed: a cell lies as it likes, so all four are examples of its kind.
        cell: where it was and how well it can be seen; its pixels are given up.
    """

    site: str
    kind: str
    unit: str
    views: NDArray[np.float32]
    cell: Cell


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder held.

    Attributes:
        cells: in the order of the pictures' names.
        without_cell: labelled pictures in which no cell was found.
        unreadable: pictures that could not be read.
        passed_over: by kind, how many pictures were not used as there are more than `MOST`.
        grouped: whether units are patients or slides.
    """

    cells: tuple[SiteCell, ...]
    without_cell: int
    unreadable: int
    passed_over: dict[str, int]
    grouped: bool


@dataclass(frozen=True, slots=True)
class _Item:
    """A picture to embed, known by its bytes."""

    picture: Input
    kind: str
    sha256: str
    group: str | None


def read_cells(
    source: LabelledFolder,
    bundle: Bundle,
    *,
    folds: int,
    view: View = "auto",
    um_per_pixel: float | None = None,
    most: int = MOST,
    step: Callable[[], None] = lambda: None,
    unreadable: Callable[[InputError], None] = lambda _: None,
) -> Found:
    """Find and embed the labelled cells of a folder, on all cores.

    Args:
        source: the folder, its names settled.
        bundle: the model.
        folds: parts that the cells will be split into: patients or slides are kept whole where there are as many.
        view: see `records.View`.
        um_per_pixel: the calibrated scale, or None to read it off the red cells.
        most: use no more cells of a kind.
        step: called after each picture.
        unreadable: takes why a picture cannot be read; the others go on.

    Raises:
        DataError: one picture is there under two kinds.
    """
    errors: list[InputError] = []

    def lost(error: InputError) -> None:
        errors.append(error)
        unreadable(error)

    items = list(_items(source, bundle, lost))
    chosen, passed_over = _first(items, most)
    groups = {item.group for item in chosen} - {None}
    grouped = len(groups) >= folds
    cells: list[SiteCell] = []
    without_cell = 0
    embed = in_order(chosen, lambda: _worker(bundle, view, um_per_pixel), cores())
    for item, answer in zip(chosen, embed, strict=True):
        step()
        if isinstance(answer, InputError):
            lost(answer)
        elif answer is None:
            without_cell += 1
        else:
            unit = item.group if grouped and item.group else item.sha256
            cells.append(SiteCell(source.folder.resolve().name, item.kind, unit, *answer))
    return Found(tuple(cells), without_cell, len(errors), passed_over, grouped)


def _items(
    source: LabelledFolder, bundle: Bundle, unreadable: Callable[[InputError], None]
) -> Iterator[_Item]:
    """The labelled pictures, each once: a copy would be on both sides of a split."""
    seen: dict[tuple[str, object], tuple[str, str]] = {}
    for entry in source.entries():
        try:
            data = entry.picture.data()
        except InputError as error:
            unreadable(error)
            continue
        if entry.kind is None:
            continue
        kind = among(entry.kind, bundle.classes) or entry.kind
        sha256 = hashlib.sha256(data).hexdigest()
        name, before = seen.setdefault((sha256, entry.picture.box), (entry.picture.name, kind))
        if before != kind:
            raise DataError(
                f"{name} and {entry.picture.name} are the same picture, labelled {before} and {kind}: keep one"
            )
        if name == entry.picture.name:
            yield _Item(entry.picture, kind, sha256, entry.group)


def _first(items: Sequence[_Item], most: int) -> tuple[list[_Item], dict[str, int]]:
    """At most so many of each kind, in their own order, and how many more there are."""
    counts = Counter(item.kind for item in items)
    ordered = sorted(items, key=lambda item: place_of(item.sha256.encode()))
    taken: Counter[str] = Counter()
    chosen = set()
    for item in ordered:
        if taken[item.kind] < most:
            taken[item.kind] += 1
            chosen.add(id(item))
    over = {kind: count - most for kind, count in sorted(counts.items()) if count > most}
    return [item for item in items if id(item) in chosen], over


def _worker(
    bundle: Bundle, view: View, um_per_pixel: float | None
) -> Callable[[_Item], tuple[NDArray[np.float32], Cell] | InputError | None]:
    """Make what one thread does, with a model of its own: embeddings and cell; None where there is no cell."""
    cv2.setNumThreads(1)
    classifier = Classifier(bundle)
    reader = Reader(classifier, OperatingPoint.of(bundle), view=view, um_per_pixel=um_per_pixel)

    def work(item: _Item) -> tuple[NDArray[np.float32], Cell] | InputError | None:
        try:
            frame = Frame.of(item.picture.image(), 0, datetime.now(UTC), item.picture.name)
        except InputError as error:
            return error
        cell = central(reader.find(frame, view), item.picture.box)
        if cell is None:
            return None
        crop = cell.crop
        views = (crop, crop[:, ::-1], crop[::-1], crop.transpose(1, 0, 2))
        embedded = np.stack([classifier.embed(each) for each in views])
        field = replace(cell.field, frame=frame.without_pixels())
        return embedded, replace(cell, field=field, crop=_NO_CROP, picture=_NO_CROP)

    return work
