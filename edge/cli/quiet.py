"""Keeps what C libraries print out of the user's terminal, and what is said again and again out of the journal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterator

SAID_OFTEN = 5
"""So often the same line is told within `SAID_FOR_S`."""
SAID_FOR_S = 3600.0
LINES_REMEMBERED = 200


@contextlib.contextmanager
def libraries_silenced() -> Iterator[None]:
    """Send file descriptor 2 nowhere while Python's own standard error goes on.

    The decoders of JPEG and TIFF and the model's runtime write remarks there, without the name of the file
    that they are about; what is wrong with a file is ours to say. With ``--verbose`` all is left as it is.
    """
    try:
        is_ours = sys.stderr.fileno() == 2
    except (io.UnsupportedOperation, ValueError, AttributeError):
        is_ours = False
    if not is_ours or logging.getLogger().isEnabledFor(logging.INFO):
        yield
        return
    before, real = sys.stderr, os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        before.flush()
        os.dup2(nowhere, 2)
        with open(real, "w", 1, before.encoding, "backslashreplace", closefd=False) as sys.stderr:
            yield
    finally:
        sys.stderr = before
        os.dup2(real, 2)
        os.close(real)
        os.close(nowhere)


@contextlib.contextmanager
def unrepeated() -> Iterator[None]:
    """Tell the same log line a few times an hour only, with how often it was left out: a journal lies on a card.

    A line that is left out is told again, with the number, when the hour is over.
    """
    filters = [(handler, _Unrepeated()) for handler in logging.getLogger().handlers]
    for handler, each in filters:
        handler.addFilter(each)
    try:
        yield
    finally:
        for handler, each in filters:
            handler.removeFilter(each)


class _Unrepeated(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, tuple[float, int]] = {}  # the line → since when, and how often it came

    def filter(self, record: logging.LogRecord) -> bool:
        line, now = record.getMessage(), time.monotonic()
        since, times = self._told.pop(line, (now, 0))
        if now - since >= SAID_FOR_S:
            if times > SAID_OFTEN:
                record.msg, record.args = f"{line} ({times - SAID_OFTEN} times more in the hour before)", ()
            since, times = now, 0
        self._told[line] = (since, times + 1)  # at the end: the oldest is forgotten first
        if len(self._told) > LINES_REMEMBERED:
            del self._told[next(iter(self._told))]
        return times < SAID_OFTEN
