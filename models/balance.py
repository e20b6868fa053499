"""A balanced folder: a data set on disk whose rare classes are grown with turned, zoomed and flipped copies.

Only the training side grows: a copy of a picture that a model is judged by would flatter it. A copy and its
original bear the name of one group in the folder's `labels.csv`, and the group's name is chosen so that its hash
falls on the original's side (`edge.datasets.labelled.part_of`). Every command that splits the folder then has the
original where it was before, and its copies with it.

Needs no TensorFlow. `models.sampling` balances without copies on disk.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.datasets.labelled import Part, part_of
from edge.datasets.taxonomy import OTHER, Names
from edge.errors import DataError
from edge.pictures.images import load, read
from edge.pictures.parallel import cores
from edge.records import Image
from models.datasets import Item, find

TURN_DEGREES: Final = 15.0
"""A copy is turned by up to so much to either side."""

ZOOM: Final = 0.10
"""A copy is larger or smaller by up to this share."""

_QUALITY: Final = 95  # of a copy's JPEG


@dataclass(frozen=True, slots=True)
class Grown:
    """How a class grew, on the training side.

    Attributes:
        name: one of the five classes, or another kind.
        pictures: how many there were.
        copies: how many were made of them.
    """

    name: str
    pictures: int
    copies: int


@dataclass(frozen=True, slots=True)
class _Written:
    """A file of the balanced folder: an original, or its copy of a number from 1."""

    item: Item
    number: int
    path: Path

    @property
    def row(self) -> tuple[str, str, str, str, int]:
        kind = self.item.kind
        # A name that was said to be another kind, but looks like a class, would be asked for again.
        name = OTHER if self.item.label == OTHER and Names().doubt(kind) else kind
        return self.path.as_posix(), name, group_of(self.item), self.item.digest, self.number


def growth(items: Iterable[Item], to: int | None = None) -> list[Grown]:
    """How each of the five classes, and each other kind, is to grow, in the order of their names.

    Args:
        items: labelled pictures, each on its side of the split.
        to: grow to this many training pictures; None for as many as the largest has. Larger ones stay as they are.

    Raises:
        DataError: there are no training pictures.
    """
    members = _training(items)
    if not members:
        raise DataError(
            "no picture is on the training side: split by class (--split-by class), or add pictures"
        )
    most = to if to is not None else max(map(len, members.values()))
    return [Grown(name, len(own), max(0, most - len(own))) for name, own in sorted(members.items())]


def balance(
    items: Sequence[Item],
    output: Path,
    to: int | None = None,
    seed: int = 1,
    step: Callable[[], None] = lambda: None,
) -> None:
    """Write a balanced folder: every original as it is, and as many copies as `growth` says.

    The training pictures of a class are copied in turn, each as often as any other (but for one). The folder has
    a folder a side and in that a folder a class; `labels.csv` says of each file its class, group, the SHA-256 of
    its original and the number of the copy, 0 for the original.

    Args:
        items: labelled pictures, each on its side of the split.
        output: the folder; it must not exist, or be empty. It appears when it is whole.
        to: as of `growth`.
        seed: of what is drawn. The same pictures and seed make the same files.
        step: called for each file that was written.

    Raises:
        DataError: the output holds something, there are no training pictures, or items are cells that were marked
            in a field.
        InputError: a picture cannot be read.
    """
    if any(item.box is not None for item in items):
        raise DataError(
            "cells that an XML marks in fields cannot be copied one by one: "
            "train on the folder as it is, with balanced sampling or class weights"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} holds something already; choose another --output")
    files = _files(items, to, seed)
    part = output.resolve().with_name(f".{output.name[:100]}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        for folder in {file.path.parent for file in files}:
            (part / folder).mkdir(parents=True, exist_ok=True)
        cv2.setNumThreads(1)
        with ThreadPoolExecutor(cores()) as pool:
            for _ in pool.map(lambda file: _write(file, part, seed), files):
                step()
        with (part / "labels.csv").open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("filename", "class", "group", "source", "copy"))
            writer.writerows(file.row for file in files)
        _see_that_no_side_changed(part, files)
        part.replace(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def group_of(item: Item) -> str:
    """A name for an original and its copies, whose hash falls on the original's side of the split.

    The group that the data set names (a patient, a slide) keeps its name where that is so, and its pictures
    stay together in any case.
    """
    name = item.group if item.group is not None else item.digest[:16]
    names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(1)))
    return next(n for n in names if part_of(n.encode(errors="surrogateescape")) == item.split)


def altered(picture: Image, draw: np.random.Generator) -> Image:
    """A copy of a picture: turned, zoomed about its middle, and flipped or not.

    What comes into view from beyond the edge repeats the edge.

    Args:
        picture: height × width × 3, uint8.
        draw: decides.

    Returns:
        A picture of the same size.
    """
    height, width = picture.shape[:2]
    turn, zoom = draw.uniform(-TURN_DEGREES, TURN_DEGREES), draw.uniform(1 - ZOOM, 1 + ZOOM)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, zoom)
    turned = cv2.warpAffine(
        picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    made: Image = np.ascontiguousarray(turned[:, ::-1] if draw.integers(2) else turned)
    return made


def _files(items: Sequence[Item], to: int | None, seed: int) -> list[_Written]:
    """Every file that is to be written: all originals, then the copies."""
    files = [_Written(item, 0, _path(item, 0)) for item in items]
    members = _training(items)
    for each in growth(items, to):
        pictures = sorted(members[each.name], key=lambda item: item.digest)
        order = np.random.default_rng(seed).permutation(len(pictures))
        for number in range(each.copies):
            item, nth = pictures[order[number % len(pictures)]], number // len(pictures) + 1
            files.append(_Written(item, nth, _path(item, nth)))
    return files


def _training(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The training pictures of each class, and of each other kind."""
    members: dict[str, list[Item]] = {}
    for item in items:
        if item.split == "train":
            members.setdefault(item.kind if item.label == OTHER else item.label, []).append(item)
    return members


def _path(item: Item, number: int) -> Path:
    """Where a file goes, whatever characters a foreign data set has in its names."""
    stem, kind = (re.sub(r"[^\w-]+", "_", text)[:80] for text in (item.path.stem, item.kind))
    copy = f"-copy{number}.jpg" if number else item.path.suffix.lower()
    return Path(item.split, kind, f"{stem}-{item.digest[:12]}{copy}")


def _write(file: _Written, folder: Path, seed: int) -> None:
    if file.number:
        draw = np.random.default_rng([seed, file.number, *bytes.fromhex(file.item.digest)])
        copy = cv2.cvtColor(altered(load(file.item.path), draw), cv2.COLOR_RGB2BGR)
        done, encoded = cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise DataError(f"{file.item.path}: a copy of {copy.shape} pixels cannot be written as JPEG")
        data = encoded.tobytes()
    else:
        data = read(file.item.path)
    (folder / file.path).write_bytes(data)


def _see_that_no_side_changed(folder: Path, files: Iterable[_Written]) -> None:
    """Read the folder as `train` will, and compare.

    Raises:
        DataError: a file is on another side, or of another class, than its original.
    """
    meant: dict[Path, tuple[str, Part]] = {
        folder / file.path: (file.item.label, file.item.split) for file in files
    }
    for item in find([folder]).items:
        if (item.label, item.split) != meant.pop(item.path, None):
            name = item.path.relative_to(folder)
            raise DataError(f"{name} is read as {item.label} for {item.split}: nothing was kept")
