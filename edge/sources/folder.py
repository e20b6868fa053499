"""A watched folder: every picture that is or comes to lie in it, each read once, also across restarts.

The folder is looked through again and again, which works on every file system; a network share announces
nothing. Nothing is lost and nothing doubled, because a file counts as read only when what was decided on it
is stored: see `sources.base.ReadLog`.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.errors import InputError, SourceError
from edge.pictures import images
from edge.pictures.archives import PICTURE_SUFFIXES
from edge.records import Frame
from edge.sources.base import FileFrame, FileKey, ReadLog, SourceEnded
from edge.text import printable

POLL_S: Final = 1.0
"""How long the folder is left alone between two looks, in seconds."""

SETTLE_S: Final = 1.0
"""How long a file's size and time must rest before it is read, in seconds: it may still be being written."""

log = logging.getLogger(__name__)


class FolderSource:
    """Reads the pictures of a folder and all below it, in name order.

    Files whose name begins with a dot or ends other than a picture's are passed over, and links to
    folders are not followed. A file that cannot be decoded is reported once and marked as read; one that
    cannot even be opened is reported once and tried again.

    Args:
        path: the folder.
        read_log: what was read before. It is asked for each file that is new to this source, and told of
            the files that cannot be decoded; the others are marked by whoever stores what they showed.
        once: end when everything that lies there is read, instead of waiting for more.
        poll_s: how long the folder is left alone between two looks, in seconds.
        settle_s: how long a file must rest before it is read, in seconds.
    """

    def __init__(
        self,
        path: Path,
        read_log: ReadLog,
        *,
        once: bool = False,
        poll_s: float = POLL_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self.live = self.continuous = False
        self._path = path
        self._read_log = read_log
        self._once = once
        self._poll_s = poll_s
        self._settle_s = settle_s
        self._forget()

    def _forget(self) -> None:
        self._open = False
        self._number = 0
        self._ended = False
        self._next_look = 0.0
        self._ready: deque[tuple[Path, FileKey]] = deque()
        self._resting: dict[FileKey, float] = {}  # since when
        self._done: set[FileKey] = set()  # handed out, given up, or read before
        self._reported: set[FileKey] = set()  # could not be read; a warning said so
        self._faults: set[str] = set()  # folders that cannot be looked into; a warning said so

    def open(self) -> None:
        """Check that the folder is there.

        Raises:
            SourceError: it is missing, is no folder, or cannot be looked into.
        """
        try:
            os.scandir(self._path).close()
        except OSError as error:
            why = error.strerror or error
            raise SourceError(f"{self._path} cannot be watched: {why}; see [source] path") from error
        self._forget()
        self._open = True

    def close(self) -> None:
        """Stop watching. What was handed out and not marked as read will be read again."""
        self._forget()

    def read(self, timeout_s: float) -> Frame | None:
        """The next picture in name order of those that lie ready; None where none is in time."""
        if not self._open:
            raise SourceError(f"{self._path} is not open")
        deadline = time.monotonic() + timeout_s
        looked = False  # at least once in each call, however little time it is given
        while not self._ended:
            while self._ready:
                frame = self._frame(*self._ready.popleft())
                if frame is not None:
                    return frame
            now = time.monotonic()
            if now >= self._next_look and not (looked and now >= deadline):
                self._look()
                looked = True
                self._ended = self._once and not self._ready and not self._resting
            elif now >= deadline:
                return None
            else:
                time.sleep(min(self._next_look, deadline) - now)
        raise SourceEnded

    def _look(self) -> None:
        """Find what is new, and what has come to rest."""
        now = time.monotonic()
        found = dict(self._files())
        resting: dict[FileKey, float] = {}
        for key, path in sorted(found.items()):
            if key in self._done:
                continue
            if key not in self._resting and self._read_log.has_read(key):
                self._done.add(key)
                continue
            since = self._resting.get(key, now)
            if now - since >= self._settle_s:
                self._done.add(key)
                self._ready.append((path, key))
            else:
                resting[key] = since
        self._resting = resting
        if not self._faults:  # a share that is away for a moment must not have its files read again
            self._done &= found.keys()
            self._reported &= found.keys()
        self._next_look = time.monotonic() + self._poll_s

    def _files(self) -> Iterator[tuple[FileKey, Path]]:
        """The pictures that lie there now, in the state they are in."""
        faults: set[str] = set()
        folders = [self._path]  # a stack, as folders may nest deeper than calls can
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as listing:
                    entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
            except OSError as error:
                faults.add(str(folder))
                if str(folder) not in self._faults:
                    log.warning(
                        "%s cannot be looked into, trying on: %s", printable(str(folder)), error.strerror
                    )
                continue
            for name, is_folder in entries:
                path = folder / name
                if name.startswith("."):
                    continue
                if is_folder:
                    folders.append(path)
                elif path.suffix.lower() in PICTURE_SUFFIXES and (key := self._key(path)):
                    yield key, path
        self._faults = faults

    def _key(self, path: Path) -> FileKey | None:
        """The state of a file; None where it is gone or no file."""
        try:
            about = path.stat()
        except OSError:
            return None  # moved on between being listed and being looked at
        if not stat.S_ISREG(about.st_mode):
            return None
        # A file name is bytes: those that are no UTF-8 are written as \xff, to fit a database and JSON.
        name = os.fsencode(path.relative_to(self._path).as_posix()).decode("utf-8", "backslashreplace")
        return FileKey(name, about.st_size, about.st_mtime_ns)

    def _frame(self, path: Path, key: FileKey) -> Frame | None:
        """Read one file; None where it cannot be, or changed since it was found."""
        try:
            data = images.read(path)
        except InputError as error:  # it may be readable later: rights are changed, a share comes back
            if self._key(path) == key:
                self._report(error, key)
                if not self._once:
                    self._done.discard(key)
            return None
        if self._key(path) != key:
            return None  # it will be found again in its new state
        try:
            image = images.decode(data, str(path))
        except InputError as error:
            self._report(error, key)
            self._read_log.mark_read(key)
            return None
        image.flags.writeable = False
        frame = FileFrame(image, self._number, datetime.now(UTC), key.name, key=key)
        self._number += 1
        return frame

    def _report(self, error: InputError, key: FileKey) -> None:
        """Warn of a file, once."""
        if key not in self._reported:
            self._reported.add(key)
            log.warning("%s", printable(str(error)))
