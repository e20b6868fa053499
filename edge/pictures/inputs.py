"""What the user named → pictures, one after another: files, folders, ZIPs and http(s) addresses.

A file is taken for what its content is. In a folder (searched with all below it, in name order) and in a ZIP,
files with a picture's suffix are read and the others counted as skipped; hidden ones are passed over, and
links to folders are not followed. What cannot be read takes its place in the row as an error, and the rest
goes on.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import InputError
from edge.pictures import images
from edge.pictures.archives import PICTURE_SUFFIXES, Archive
from edge.records import Box, Image

ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class Input:
    """One picture to read.

    Attributes:
        name: what the user would call it: the path as named, ``archive.zip/inner/path``, or the address.
        content: where its bytes are, the bytes themselves, or why there are none.
        box: where in it the one cell is that a label speaks of; None for the cell nearest the middle.
    """

    name: str
    content: Path | bytes | InputError
    box: Box | None = None

    def data(self) -> bytes:
        """The picture's bytes.

        Raises:
            InputError: there are none, or they cannot be read.
        """
        if isinstance(self.content, InputError):
            raise self.content
        return self.content if isinstance(self.content, bytes) else images.read(self.content)

    def image(self) -> Image:
        """The picture's pixels, see `images.decode`.

        Raises:
            InputError: it cannot be read or decoded.
        """
        return images.decode(self.data(), self.name)


class Inputs:
    """Everything that the user named, found while it is being read: memory does not grow with its number.

    Args:
        named: files, folders, ZIPs and addresses, in the order to read them.

    Attributes:
        skipped: files passed over so far because their name is not a picture's.
    """

    def __init__(self, named: Sequence[str]) -> None:
        self.named = tuple(named)
        self.skipped = 0

    def __iter__(self) -> Iterator[Input]:
        for name in self.named:
            if is_address(name):
                yield from self._address(name)
            elif Path(name).is_dir():
                yield from self._folder(Path(name))
            elif "://" in name and not Path(name).exists():
                yield Input(name, InputError(f"{name} cannot be read: an address begins with http or https"))
            else:
                yield from self._file(Path(name))

    def count(self) -> int:
        """Count what will come, without reading it; an address counts as one."""
        total = 0
        for name in self.named:
            if is_address(name):
                total += 1
            elif Path(name).is_dir():
                total += sum(1 for found in Inputs([])._walk(Path(name)))
            else:
                try:
                    total += len(Archive(Path(name), name)) if _is_zip(Path(name)) else 1
                except InputError:
                    total += 1
        return total

    def _address(self, address: str) -> Iterator[Input]:
        from edge.pictures.fetch import fetch  # costs a start without addresses nothing

        try:
            data = fetch(address)
            if data.startswith(ZIP_MAGIC):
                yield from self._archive(Archive(io.BytesIO(data), address))
            else:
                yield Input(address, data)
        except InputError as error:
            yield Input(address, error)

    def _file(self, path: Path) -> Iterator[Input]:
        try:
            if _is_zip(path):
                yield from self._archive(Archive(path, str(path)))
            else:
                yield Input(str(path), path)
        except InputError as error:
            yield Input(str(path), error)

    def _archive(self, archive: Archive) -> Iterator[Input]:
        self.skipped += archive.skipped
        if not len(archive):
            raise _nothing_in(archive.name)
        for name, content in archive.pictures():
            yield Input(name, content)

    def _folder(self, folder: Path) -> Iterator[Input]:
        found = None
        for found in self._walk(folder):
            yield found
        if found is None:
            yield Input(str(folder), _nothing_in(str(folder)))

    def _walk(self, top: Path) -> Iterator[Input]:
        waiting = [(top, True)]  # paths, and whether they are folders; a stack, as folders may nest deep
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
                yield Input(str(path), path)
                continue
            try:
                with os.scandir(path) as entries:
                    inside = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
            except OSError as error:
                yield Input(str(path), InputError(f"{path} cannot be searched: {error.strerror or error}"))
                continue
            seen = [(path / name, is_dir) for name, is_dir in inside if not name.startswith(".")]
            wanted = [(p, is_dir) for p, is_dir in seen if is_dir or p.suffix.lower() in PICTURE_SUFFIXES]
            self.skipped += len(seen) - len(wanted)
            waiting.extend(reversed(wanted))


def _nothing_in(name: str) -> InputError:
    return InputError(f"{name} holds no pictures: they are known by names such as .jpg and .png")


def is_address(name: str) -> bool:
    """Whether a name is an http(s) address rather than a path."""
    return name.lower().startswith(("http://", "https://"))


def _is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP does; one that cannot be opened is left to fail as a picture."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in ZIP_MAGIC
    except (OSError, ValueError):
        return False
