"""Where a data set writes the class of a picture: in its folder's name, in a CSV, or in an XML beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from edge.datasets import voc
from edge.datasets.labels import Label, Labels, is_labels
from edge.datasets.taxonomy import NO_CELL_CLASS, Names, kind_of
from edge.errors import DataError, InputError
from edge.pictures.inputs import Input, Inputs

_GENERIC_WORDS: Final = """
train training traina test testing testa testb val valid validation dev simple fold part split set
data dataset master image images img picture pictures photo photos jpg jpeg png jpegimages bmp tif
crop crops cropped cell cells white red blood wbc single raw all original augmented a b c
"""
_GENERIC: Final = frozenset(_GENERIC_WORDS.split())
"""Words in the names of folders that hold folders, or all of a kind of file; no class has only such."""

_MASKS: Final = re.compile(r"(ground.?truth|gt|(.*[^a-z])?masks?|annotations?|labels)")
"""Folders whose pictures are drawings over the pictures."""


class Layout(Protocol):
    """One way to write down the classes of pictures."""

    def names(self) -> set[str]:
        """Every class as the data set writes it."""

    def pictures(self) -> Iterator[Input]:
        """Every picture, or labelled cell of a picture, in name order, labelled or not."""

    def of(self, name: str) -> Label | None:
        """The label of one of its pictures by the picture's name; None where it has none."""


def layout_of(folder: Path, names: Names) -> Layout:
    """Find out how a data set is laid out.

    A ``labels.csv`` counts first; then folders with names of kinds; then one other CSV with columns of labels; then
    annotations in XML; else each folder is a class.

    Raises:
        DataError: it is no folder, its labels cannot be read, or several CSV could be meant.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of labelled pictures")
    if (folder / "labels.csv").exists():
        return CsvLabels(folder, folder / "labels.csv")
    classes = ClassFolders(folder, names)
    if classes.known:
        return classes
    candidates = [path for path in sorted(folder.glob("*.csv")) if is_labels(path)]
    if len(candidates) > 1:
        raise DataError(f"{folder} holds {candidates[0].name} and {candidates[1].name}: call one labels.csv")
    if candidates:
        return CsvLabels(folder, candidates[0])
    annotations = sorted(path for path in folder.rglob("*.xml") if not _is_hidden(path, folder))
    return VocFields(folder, annotations) if annotations else classes


class CsvLabels:
    """Pictures in the folder ``images`` beside a CSV, or anywhere below where there is none."""

    def __init__(self, folder: Path, csv: Path) -> None:
        self._folder = folder
        self.labels = Labels.read(csv)
        images = folder / "images"
        self._pictures = images if images.is_dir() else folder

    def names(self) -> set[str]:
        """Every class in the CSV."""
        return self.labels.names()

    def pictures(self) -> Iterator[Input]:
        """Every picture; drawings of masks often bear the same names, and are left out."""
        return (p for p in Inputs([str(self._pictures)]) if not is_mask(_parts(p.name, self._folder)))

    def of(self, name: str) -> Label | None:
        """What the CSV says."""
        return self.labels.entry(os.path.relpath(name, self._folder))


class ClassFolders:
    """A folder a class, at any depth: ``neutrophil``, ``Train/Neutrophil``, ``images/TRAIN/NEUTROPHIL``.

    The deepest folder with the name of a kind is a picture's class. A name that nobody knows is a class where
    it stands beside known ones, or where there are no known ones at all.

    Attributes:
        known: whether any folder has the name of a kind.
    """

    def __init__(self, folder: Path, names: Names) -> None:
        self._folder = folder
        folders = {_parts(at, folder) for at, _, _ in os.walk(folder)} - {()}
        self._known = {parts for parts in folders if names.knows(parts[-1])}
        self._beside = {parts[:-1] for parts in self._known}
        self._classes = {parts: self._class(parts) for parts in folders}
        self.known = bool(self._known)

    def names(self) -> set[str]:
        """Every folder that is a class."""
        return {name for name in self._classes.values() if name is not None}

    def pictures(self) -> Iterator[Input]:
        """Every picture below; drawings of masks are left out."""
        return (p for p in Inputs([str(self._folder)]) if not is_mask(_parts(p.name, self._folder)))

    def of(self, name: str) -> Label | None:
        """What its folder says."""
        found = self._classes.get(_parts(name, self._folder)[:-1])
        return None if found is None else Label(found)

    def _class(self, parts: tuple[str, ...]) -> str | None:
        above = [parts[: end + 1] for end in range(len(parts))]
        for place in reversed(above):
            if place in self._known:
                return place[-1]
        for place in above:
            is_generic = _GENERIC.issuperset(re.findall("[a-z]+", place[-1].lower()))
            if not is_generic and (not self._known or place[:-1] in self._beside):
                return place[-1]
        return None


class VocFields:
    """Fields of view with an annotation each; every object with a class is a labelled cell.

    Objects that are no white cell (red cells, platelets), or a white cell without a class, are passed over.
    """

    def __init__(self, folder: Path, annotations: Sequence[Path]) -> None:
        self._folder = folder
        self._labels: dict[str, Label] = {}
        self._inputs: list[Input] = []
        self._passed_over: set[str] = set()
        by_name: dict[str, list[str]] = {}
        for picture in Inputs([str(folder)]):
            if not isinstance(picture.content, InputError):
                for name in (Path(picture.name).name, Path(picture.name).stem):
                    by_name.setdefault(name, []).append(picture.name)
        for path in annotations:
            try:
                found = voc.read(path)
            except DataError as error:
                self._inputs.append(Input(str(path), InputError(str(error))))
                continue
            cells = [(n, o) for n, o in enumerate(found.objects, 1) if self._is_cell(o.name)]
            pictures = by_name.get(found.filename) or by_name.get(path.stem) or []
            picture_of = max(pictures, key=lambda name: len(os.path.commonpath([name, path])), default=None)
            if cells and picture_of is None:
                lost = InputError(f"{path}: its picture {found.filename or path.stem} is not there")
                self._inputs.append(Input(str(path), lost))
                continue
            for number, cell in cells:
                name = f"{picture_of}#{number}"
                self._labels[name] = Label(cell.name)
                if cell.box is None:
                    self._inputs.append(Input(name, InputError(f"{path}: object {number} has no extent")))
                else:
                    self._inputs.append(Input(name, Path(str(picture_of)), cell.box))
        if not self._inputs:
            objects = (
                f"objects are called {', '.join(sorted(self._passed_over))}"
                if self._passed_over
                else "no objects"
            )
            raise DataError(
                f"{folder}: no object in its XML names a class of white cell ({objects}): "
                "put a labels.csv (filename,class) beside the pictures"
            )
        self._inputs.sort(
            key=lambda picture: picture.name.rpartition("#")[0]
        )  # stable: objects stay in order

    def names(self) -> set[str]:
        """Every object's name that labels a cell."""
        return {label.name for label in self._labels.values()}

    def pictures(self) -> Iterator[Input]:
        """Every labelled cell, named ``PICTURE#NUMBER`` by its object's number from 1."""
        return iter(self._inputs)

    def of(self, name: str) -> Label | None:
        """What its annotation says."""
        return self._labels.get(name)

    def _is_cell(self, name: str) -> bool:
        if name and kind_of(name) not in NO_CELL_CLASS:
            return True
        self._passed_over.add(name)
        return False


def is_mask(parts: tuple[str, ...]) -> bool:
    """Whether a picture is in a folder of drawings."""
    return any(_MASKS.fullmatch(part.lower()) for part in parts[:-1])


def _parts(name: str, folder: Path) -> tuple[str, ...]:
    return Path(name).relative_to(folder).parts


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
