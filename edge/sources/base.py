"""What every source of frames offers, and the little that the folder source asks of others.

A source is made (its constructor only stores), opened, read from one thread, and closed. Sources import
nothing of the daemon; what one needs from outside (a log of the files that were read) is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from edge.records import Frame


class SourceEnded(Exception):
    """Raised by `Source.read` when there will never be another frame."""


class Source(Protocol):
    """Somewhere that frames come from.

    Attributes:
        live: a frame that nobody takes in time may be dropped for a newer one (a camera). False: every
            frame must be read (a folder, a film, or a slide where each field is shown once).
        continuous: each frame shows the slide that the frame before showed, moved on or not, so that a cell
            lies in many of them. False: the pictures have nothing to do with each other.
    """

    live: bool
    continuous: bool

    def open(self) -> None:
        """Acquire what the source needs. A source can be opened again after it was closed.

        Raises:
            SourceError: it is not there, or cannot be used.
        """

    def close(self) -> None:
        """Give everything back. Closing twice, or closing what was never opened, does nothing."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None where none came within `timeout_s` seconds.

        Frames are numbered from 0 at each opening, without gaps.

        Raises:
            SourceEnded: there will never be another frame; raised again at each further call.
            SourceError: the source failed.
        """


class FileKey(NamedTuple):
    """One state of one file: a file that was written anew under its old name is another picture.

    Attributes:
        name: the path below the watched folder, with `/` between its parts; always valid Unicode.
        size: in bytes.
        mtime_ns: when it was last modified, in nanoseconds since 1970 as the file system tells it.
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class FileFrame(Frame):
    """A frame that is a file.

    Whoever stores what was decided on the frame marks `key` as read in the same transaction, so that a
    file whose reading was cut short by a crash is read again, and one that was decided is not.

    Attributes:
        key: the file in the state in which it was read; `key.name` is the frame's `name`.
    """

    key: FileKey = field(kw_only=True)


class ReadLog(Protocol):
    """Which files were read, across restarts. Called from the thread that reads the source."""

    def has_read(self, key: FileKey) -> bool:
        """Whether this state of this file was read and stored, or given up, at any time before."""

    def mark_read(self, key: FileKey) -> None:
        """Remember a file that cannot be decoded, so that it is tried and reported once only."""
