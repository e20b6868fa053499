"""Annotated fields in Pascal VOC's XML: a file for each picture, with a box and a name for each object.

The XML comes from anywhere. It is read as a stream of tags, no tree is built, and a file that declares
entities (the way to make a small file expand without end, or to read other files) is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

from edge.errors import DataError, InputError
from edge.pictures import images
from edge.records import Box

MAX_BYTES: Final = 4_000_000
"""The largest annotation that is read: ten thousand objects are smaller."""

MAX_DEPTH: Final = 20

_SIDES: Final = tuple(f"object/bndbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))


@dataclass(frozen=True, slots=True)
class Object:
    """One annotated object: what it was called, and where it is; None where its box has no extent."""

    name: str
    box: Box | None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation file.

    Attributes:
        filename: the picture's name as the file gives it, without folders; empty where it gives none.
        objects: in the file's order.
    """

    filename: str
    objects: tuple[Object, ...]


@dataclass(slots=True)
class _Reading:
    """The state of reading: where in the document, and what was found so far."""

    path: list[str] = field(default_factory=list)
    text: str = ""
    filename: str = ""
    name: str = ""
    sides: dict[str, float] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self.path.append(tag)
        self.text = ""
        if len(self.path) > MAX_DEPTH:
            raise ValueError(f"tags within tags, over {MAX_DEPTH} deep")
        if self.path[1:] == ["object"]:
            self.name, self.sides = "", {}

    def characters(self, text: str) -> None:
        self.text += text

    def end(self, _tag: str) -> None:
        where = "/".join(self.path[1:])
        text = self.text.strip()
        if where == "filename":
            self.filename = text.replace("\\", "/").rpartition("/")[2]
        elif where == "object/name":
            self.name = text
        elif where in _SIDES:
            self.sides[where] = float(text)
        elif where == "object":
            self.objects.append(Object(self.name, self.box()))
        self.text = ""
        self.path.pop()

    def box(self) -> Box | None:
        left, top, right, bottom = (self.sides[side] for side in _SIDES)
        if not (math.isfinite(left + top + right + bottom) and 0 <= left < right and 0 <= top < bottom):
            return None
        return Box(round(left), round(top), max(1, round(right - left)), max(1, round(bottom - top)))


def read(path: Path) -> Annotation:
    """Read one annotation.

    Raises:
        DataError: it cannot be read, is too large, declares entities, or is no annotation of objects with boxes.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is too large for an annotation: the limit is {MAX_BYTES:,} bytes")
        data = images.read(path)
    except (InputError, OSError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    reading, parser = _Reading(), expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise DataError(f"{path} is refused: it declares a document type, which no annotation needs")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = reading.start, reading.end
    parser.CharacterDataHandler = reading.characters
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, KeyError, LookupError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is no Pascal VOC annotation: {why}") from error
    return Annotation(reading.filename, tuple(reading.objects))
