"""What a browser sends → pictures in a job's folder, piece by piece.

Many small pictures in as many requests would cost more than reading them, so that a request carries several:
for each file four bytes (the length of what follows, big-endian), a JSON object with `name`, `size` and `index`,
and the file's bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from edge.errors import InputError, InputTooLarge
from edge.pictures.archives import Archive
from edge.pictures.inputs import ZIP_MAGIC

LONGEST_NAME: Final = 1000
_LONGEST_HEADER: Final = 16_384
_LARGEST_DIRECTORY: Final = 16 * 2**20  # bytes of a ZIP's list of entries; each takes some hundred
_ZIP_END: Final = 22  # bytes of a ZIP's last record, without its comment
_ZIP64_LOCATOR: Final = 20


class Slice(NamedTuple):
    """Where a picture's bytes are."""

    path: Path
    offset: int
    size: int

    @classmethod
    def whole(cls, path: Path) -> Slice:
        """All of a file."""
        return cls(path, 0, path.stat().st_size)

    def read(self) -> bytes:
        """The bytes.

        Raises:
            OSError: they are gone.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Spool:
    """Many pictures in one file, one behind the other: to make a file for each costs as much as to read it.

    Args:
        path: of the file, made with the first bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._at = self._began = 0

    def begin(self) -> None:
        """Begin a picture."""
        if self._file is None:
            self._file = self._path.open("xb")
        self._began = self._at

    def add(self, part: bytes) -> None:
        """More of the picture."""
        assert self._file is not None
        self._at += self._file.write(part)

    def end(self) -> Slice:
        """The picture is whole, and can be read."""
        assert self._file is not None
        self._file.flush()
        return Slice(self._path, self._began, self._at - self._began)

    def drop(self) -> None:
        """Forget what came since the last `begin`: it takes no room on the disk."""
        assert self._file is not None
        self._file.seek(self._began)
        self._file.truncate()
        self._at = self._began

    def put(self, data: bytes) -> Slice:
        """A picture at once."""
        self.begin()
        self.add(data)
        return self.end()

    def close(self) -> None:
        """No more pictures."""
        if self._file is not None:
            self._file.close()


class Malformed(InputError):
    """A request does not hold what it should hold; no page of ours sends such a thing."""


class Parcel:
    """One file on its way in.

    Attributes:
        name: what the visitor calls it.
        size: bytes announced.
        index: the browser's number for it: what is sent again after a broken connection bears the same.
    """

    def __init__(self, name: str, size: int, index: int) -> None:
        self.name = name
        self.size = size
        self.index = index


class Parcels:
    """Takes a request's body apart.

    Args:
        stream: the body in pieces.
        largest: bytes of one file.
    """

    def __init__(self, stream: AsyncIterator[bytes], largest: int) -> None:
        self._stream = stream
        self._largest = largest
        self._held = bytearray()

    async def next(self) -> Parcel | None:
        """The head of the next file; None after the last.

        Raises:
            Malformed: it is cut off or no head.
            InputTooLarge: the file is announced as larger than allowed.
        """
        if not await self._has(4):
            if self._held:
                raise Malformed("The upload was cut off: try again")
            return None
        length = int.from_bytes(self._take(4))
        if length > _LONGEST_HEADER or not await self._has(length):
            raise Malformed("The upload was cut off: try again")
        try:
            head = json.loads(self._take(length))
            name, size, index = head["name"], head["size"], head["index"]
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed("The upload is not what this page sends") from error
        if (
            not isinstance(name, str)
            or not name
            or type(size) is not int
            or size < 0
            or type(index) is not int
        ):
            raise Malformed("The upload is not what this page sends")
        name = name[-LONGEST_NAME:]
        if size > self._largest:
            raise InputTooLarge(
                f"{name} has {size:,} bytes, the limit here is {self._largest:,}: use `leukoscope classify` for it"
            )
        return Parcel(name, size, index)

    async def write(self, parcel: Parcel, spool: Spool, apart: Iterator[Path]) -> tuple[Slice, bool]:
        """Write the file that `next` announced.

        Args:
            parcel: its head.
            spool: takes a picture.
            apart: names a file for an archive, which needs one of its own.

        Returns:
            Where it is, and whether it is an archive.

        Raises:
            Malformed: it is cut off.
        """
        await self._has(min(4, parcel.size))
        archive = bytes(self._held[:4]) in ZIP_MAGIC
        into = Spool(next(apart)) if archive else spool
        into.begin()
        try:
            left = parcel.size
            while left:
                if not self._held and not await self._more():
                    raise Malformed(f"{parcel.name} was cut off on its way: try again")
                part = self._take(min(left, len(self._held)))
                into.add(part)
                left -= len(part)
            return into.end(), archive
        except BaseException:
            # Whoever breaks off again and again must not fill the disk.
            into.drop()
            raise
        finally:
            if archive:
                into.close()

    async def _more(self) -> bool:
        async for part in self._stream:
            if part:
                self._held += part
                return True
        return False

    async def _has(self, count: int) -> bool:
        while len(self._held) < count:
            if not await self._more():
                return False
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken


class Unpacked:
    """A ZIP's pictures, written to files one after another as they are asked for.

    Args:
        archive: the ZIP.
        name: what the visitor calls it.
        spool: takes each; a name inside the archive is never a path.
        largest: bytes of one picture.
        expanded: bytes of all of them.

    Attributes:
        skipped: files passed over because their name is not a picture's.

    Raises:
        InputError: the archive cannot be read, is too large, or holds no pictures.
    """

    def __init__(self, archive: Path, name: str, spool: Spool, *, largest: int, expanded: int) -> None:
        check_directory(archive, name)
        opened = Archive(archive, name, largest=largest, expanded=expanded)
        if not len(opened):
            raise InputError(f"{name} holds no pictures: they are known by names such as .jpg and .png")
        self.skipped = opened.skipped
        self._pictures = opened.pictures()
        self._spool = spool

    def __iter__(self) -> Iterator[tuple[str, Slice | InputError]]:
        """Each picture's name, and where it is or why it is not there."""
        for name, content in self._pictures:
            if isinstance(content, InputError):
                yield name, content
                continue
            yield name, self._spool.put(content)


def check_directory(archive: Path, name: str) -> None:
    """Refuse a ZIP whose list of entries alone would fill the memory: it is read as a whole before anything else.

    Its size stands in the last record but for a comment; ZIP64's, which is for more entries than are allowed here
    or for larger files, counts before that and is refused (APPNOTE 4.3.14 to 4.3.16). Which record is the last is
    a matter of opinion where one seems to lie within another, so whatever might be one must do.

    Raises:
        InputTooLarge: it would.
    """
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ZIP_END - 0xFFFF - _ZIP64_LOCATOR))
        tail = file.read()
    for found in re.finditer(rb"(?=PK\x05\x06)", tail):
        at = found.start()
        if at + _ZIP_END > len(tail):
            break
        is_64 = tail[max(0, at - _ZIP64_LOCATOR) : at].startswith(b"PK\x06\x07")
        if is_64 or int.from_bytes(tail[at + 12 : at + 16], "little") > _LARGEST_DIRECTORY:
            raise InputTooLarge(f"{name} holds too many files: split it")
