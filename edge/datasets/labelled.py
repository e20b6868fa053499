"""Labelled pictures on disk, in whichever layout they come, and the side of the split that each is on."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edge.datasets.layouts import layout_of
from edge.datasets.taxonomy import IGNORE, OTHER, Names
from edge.errors import DataError, InputError
from edge.pictures.inputs import Input

Part = Literal["train", "validation", "test"]

PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")

TRAIN_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15

_GIVEN: Final = re.compile(r"(train|val|dev|test)(ing|id|idation|.|[^a-z].*)?")


def place_of(data: bytes) -> float:
    """A place between 0 and 1 that follows from the SHA-256 of some bytes: the order of every split."""
    return int(hashlib.sha256(data).hexdigest()[:8], 16) / 2**32


def part_of(data: bytes) -> Part:
    """Which part of the recorded split a picture is in, by the SHA-256 of its file's bytes.

    A copy of a picture, under whatever name, falls on the same side. For a picture of a named group (a
    patient, a slide) the bytes are those of the group's name, so that all of the group falls on one side.
    """
    place = place_of(data)
    if place < TRAIN_SHARE:
        return "train"
    return "validation" if place < TRAIN_SHARE + VALIDATION_SHARE else "test"


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a data set, or one labelled cell of a picture.

    Attributes:
        picture: its name and bytes, or why there are none.
        written: the class as the data set writes it; None where it says nothing.
        kind: what that stands for; None where it stands for nothing, or is to be left out.
        group: the patient or slide that it is of, where the data set tells.
        given: the side of the split that the data set's own folders put it on, where they do.
    """

    picture: Input
    written: str | None
    kind: str | None
    group: str | None
    given: Part | None


def recorded(path: Path) -> dict[str, Part]:
    """The sides that a training has recorded, by SHA-256.

    Raises:
        DataError: the file cannot be read or is no such record.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))
        sides = {str(row["sha256"]): row["split"] for row in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is no record of a split, the split.json of a training: {error}") from error
    if not set(sides.values()) <= set(PARTS):
        raise DataError(f"{path} names sides other than {', '.join(PARTS)}")
    return sides


class LabelledFolder:
    """A folder of pictures whose classes are known, in one of the layouts of `edge.datasets.layouts`.

    Args:
        folder: the folder.
        names: how its names of classes are to be understood.
        record: the sides of files by SHA-256 that a training has recorded, see `recorded`.

    Raises:
        DataError: it is no folder, or its labels cannot be read.
    """

    def __init__(
        self, folder: Path, names: Names | None = None, record: Mapping[str, Part] | None = None
    ) -> None:
        self.folder = folder
        self._names = names or Names()
        self._record = record or {}
        self._sides: dict[str, Part] = {}
        self._layout = layout_of(folder, self._names)
        self._root = os.path.realpath(folder)

    def label(self, name: str) -> str | None:
        """The kind of one of its pictures, by the picture's name; None where it has none."""
        label = self._layout.of(name)
        return None if label is None else self._names.kind(label.name)

    def doubts(self) -> dict[str, str]:
        """Names in it that may mean one of the classes but are not known to, and the class of each."""
        found = {name: self._names.doubt(name) for name in sorted(self._layout.names())}
        return {name: meant for name, meant in found.items() if meant is not None}

    def unknown(self) -> list[str]:
        """Names in it that are not known, resemble no class, and count as other kinds."""
        doubts = self.doubts()
        return [
            name
            for name in sorted(self._layout.names())
            if not (self._names.knows(name) or name in doubts or self._names.kind(name) is None)
        ]

    def settle(self) -> None:
        """Make sure that every name is understood.

        Raises:
            DataError: one may mean a class, and nobody has said.
        """
        for name, meant in self.doubts().items():
            raise DataError(
                f"{self.folder}: is {name} a {meant}? Say --map '{name}={meant}', or ={OTHER} for another kind, "
                f"or ={IGNORE} to leave it out"
            )

    def entries(self) -> Iterator[Entry]:
        """Everything in it, in name order: labelled or not, readable or not."""
        for picture in self._layout.pictures():
            label = self._layout.of(picture.name)
            yield Entry(
                self._kept_inside(picture),
                label.name if label else None,
                self._names.kind(label.name) if label else None,
                label.group if label else None,
                self._given(picture.name),
            )

    def part(self, entry: Entry, data: bytes) -> Part:
        """Which side a picture is on: as recorded for its bytes, else by its group's name, else by its bytes.

        A copy that is filed under another group is where its original is, the first that was asked for.
        """
        digest, group = hashlib.sha256(data).hexdigest(), entry.group
        if digest in self._record:
            return self._record[digest]
        own = part_of(data if group is None else group.encode(errors="surrogateescape"))
        return self._sides.setdefault(digest, own)

    def pictures(self, part: Part | None) -> Iterator[Input]:
        """Its labelled pictures in name order.

        Args:
            part: only those of one part of the split; None for all.
        """
        for entry in self.entries():
            picture = entry.picture
            if isinstance(picture.content, InputError) or (entry.kind is not None and part is None):
                yield picture
            elif entry.kind is not None:
                try:
                    data = picture.data()
                except InputError as error:
                    yield Input(picture.name, error)
                    continue
                if self.part(entry, data) == part:
                    yield Input(picture.name, data, picture.box)

    def _kept_inside(self, picture: Input) -> Input:
        """The picture, or an error in its place where a link leads out of the folder: what is labelled is inside."""
        if not isinstance(picture.content, Path) or not picture.content.is_symlink():
            return picture
        target = os.path.realpath(picture.content)
        if os.path.commonpath([target, self._root]) == self._root:
            return picture
        return Input(
            picture.name,
            InputError(f"{picture.name} is refused: it is a link out of {self.folder}; copy the file"),
        )

    def _given(self, name: str) -> Part | None:
        for part in (*Path(os.path.relpath(name, self.folder)).parts[:-1], self.folder.name):
            if found := _GIVEN.fullmatch(part.lower()):
                word = found[1]
                return "train" if word == "train" else "test" if word == "test" else "validation"
        return None
