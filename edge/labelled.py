"""Folders of labelled pictures, for evaluation: a folder a class, or pictures with a `labels.csv`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from edge.errors import DataError, InputError
from edge.inputs import Input, Inputs
from edge.labels import Labels

Part = Literal["train", "validation", "test"]

TRAIN_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15


def part_of(data: bytes) -> Part:
    """Which part of the recorded split a picture is in, by the SHA-256 of its file's bytes.

    A copy of a picture, under whatever name, falls on the same side.
    """
    place = int(hashlib.sha256(data).hexdigest()[:8], 16) / 2**32
    if place < TRAIN_SHARE:
        return "train"
    return "validation" if place < TRAIN_SHARE + VALIDATION_SHARE else "test"


class LabelledFolder:
    """A folder of pictures whose classes are known.

    With a ``labels.csv`` (columns filename, class) in it, that names the classes of the pictures in its folder
    ``images``, or of all below it where there is none: masks beside the pictures often bear the same names.
    Without, each folder in it is a class. Names of classes are taken in lower case.

    Args:
        folder: the folder.

    Raises:
        DataError: it is no folder, or its labels cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder of labelled pictures")
        self.folder = folder
        csv = folder / "labels.csv"
        self._labels = Labels.read(csv) if csv.exists() else None
        images = folder / "images"
        self._pictures = images if self._labels and images.is_dir() else folder

    def label(self, name: str) -> str | None:
        """The class of one of its pictures, by the picture's name; None where it has none."""
        inside = Path(name).relative_to(self.folder)
        if self._labels:
            return self._labels.of(str(inside))
        return inside.parts[0].lower() if len(inside.parts) > 1 else None

    def pictures(self, part: Part | None) -> Iterator[Input]:
        """Its labelled pictures in name order.

        Args:
            part: only those of one part of the split, see `part_of`; None for all.
        """
        return _of_part((p for p in Inputs([str(self._pictures)]) if self._wanted(p)), part)

    def _wanted(self, picture: Input) -> bool:
        return isinstance(picture.content, InputError) or self.label(picture.name) is not None


def _of_part(pictures: Iterable[Input], part: Part | None) -> Iterator[Input]:
    for picture in pictures:
        if part is None:
            yield picture
            continue
        try:
            data = picture.data()
        except InputError as error:
            yield Input(picture.name, error)
            continue
        if part_of(data) == part:
            yield Input(picture.name, data)
