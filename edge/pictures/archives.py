"""The pictures in a ZIP, one after another: nothing is ever written to disk, and a bomb is refused."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from edge.errors import InputError, InputTooLarge
from edge.pictures.images import MAX_BYTES

DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, LookupError, RuntimeError,
)  # fmt: skip
"""What Python raises over a ZIP that is damaged, encrypted, or packed in a way that it does not know."""

MAX_ENTRIES: Final = 200_000
MAX_EXPANDED: Final = 32 * 10**9
"""Bytes of all pictures of one archive, expanded. They pass through memory one at a time."""

MAX_RATIO: Final = 200
"""Expanded to packed, of one picture above `RATIO_FREE` bytes. Scans as BMP or TIFF reach 20."""

RATIO_FREE: Final = 10 * 10**6

PICTURE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp")
)
"""What counts as a picture where many files are offered: in a folder or an archive."""


class Archive:
    """A ZIP, open for reading.

    Args:
        file: the archive's path, or an open file with its bytes.
        name: what to call it in names and errors.
        largest: bytes of one picture, expanded; None for `images.MAX_BYTES`.
        expanded: bytes of all its pictures, expanded; None for `MAX_EXPANDED`.

    Raises:
        InputError: it is damaged or cannot be opened.
        InputTooLarge: it holds more than `MAX_ENTRIES` entries, or expands to more than `expanded`.
    """

    def __init__(
        self, file: Path | BinaryIO, name: str, *, largest: int | None = None, expanded: int | None = None
    ) -> None:
        self.name = name
        self._largest = MAX_BYTES if largest is None else largest
        expanded = MAX_EXPANDED if expanded is None else expanded
        try:
            self._zip = zipfile.ZipFile(file)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
        except DAMAGED as error:
            raise InputError(f"{name} is a damaged ZIP ({error}): copy it again") from error
        files = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        self._entries = sorted((entry for entry in files if _is_picture(entry)), key=lambda e: e.filename)
        self.skipped = len(files) - len(self._entries)
        total = sum(entry.file_size for entry in self._entries)
        if len(files) > MAX_ENTRIES or total > expanded:
            self._zip.close()
            raise InputTooLarge(
                f"{name} expands to {len(files):,} files and {total:,} bytes, "
                f"the limits are {MAX_ENTRIES:,} and {expanded:,}: split it"
            )

    def __len__(self) -> int:
        return len(self._entries)

    def pictures(self) -> Iterator[tuple[str, bytes | InputError]]:
        """Give each picture's name and bytes, in name order, or the error that takes its place."""
        with self._zip:
            for entry in self._entries:
                name = f"{self.name}/{entry.filename}"
                try:
                    yield name, self._read(entry, name)
                except InputError as error:
                    yield name, error

    def _read(self, entry: zipfile.ZipInfo, name: str) -> bytes:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or path.parts[0][1:2] == ":":
            raise InputError(f"{name} is refused: its path leads out of the archive")
        if entry.flag_bits & 1:
            raise InputError(f"{name} is encrypted: unpack the archive with its password first")
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > self._largest or (entry.file_size > RATIO_FREE and ratio > MAX_RATIO):
            raise InputTooLarge(
                f"{name} expands {ratio:,.0f} times to {entry.file_size:,} bytes and was not unpacked: "
                "no picture packs like that"
            )
        try:
            # Reading ends at the announced size, so an entry that lies about it fails its checksum.
            return self._zip.read(entry)
        except NotImplementedError as error:
            raise InputError(f"{name} is packed in a way that is not supported: {error}") from error
        except DAMAGED as error:
            raise InputError(f"{name} is damaged in its archive: copy the archive again") from error


def _is_picture(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is to be read; resource forks and hidden files are not."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden
