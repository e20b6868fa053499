"""A line on standard error that says how far long work has come, where a person watches."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import click

SHORT_S: Final = 1.0
"""Work that ends sooner shows nothing."""

EVERY_S: Final = 0.2

WIDEST: Final = 30
NARROWEST: Final = 5
"""Characters of the bar; a terminal that has no room for this gets the words alone."""


class Progress:
    """Counts steps, and shows them on a terminal.

    Args:
        count: says how many steps will come; asked once, when there is something to show.
        shown: False where other lines already tell how far the work is.
    """

    def __init__(self, count: Callable[[], int], *, shown: bool = True) -> None:
        self._count = count
        self._shown = shown and sys.stderr.isatty()
        self._total = 0
        self._done = 0
        self._started = time.monotonic()
        self._next = self._started + SHORT_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + EVERY_S
        self._total = max(self._total or self._count(), self._done)
        rate = self._done / (now - self._started)
        left = (self._total - self._done) / rate
        words = f"{self._done:,} of {self._total:,}, {rate:,.0f}/s, {left:,.0f} s left"
        # A line that is wrapped could not be wiped away.
        columns = _columns()
        words = words[: columns - 1]
        width = min(WIDEST, columns - len(words) - 2)
        bar = _bar(self._done / self._total, width) + " " if width >= NARROWEST else ""
        click.echo(f"\r\x1b[K{bar}{words}", err=True, nl=False)

    def clear(self) -> None:
        """Remove the line, so that another can be written in its place."""
        if self._total:
            click.echo("\r\x1b[K", err=True, nl=False)


def _columns() -> int:
    """The width of the terminal that standard error is; standard output may be a file."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = 0
    return columns or shutil.get_terminal_size().columns


def _bar(part: float, width: int) -> str:
    """A bar so many characters wide, of which a part is full, in what the terminal's encoding has."""
    full = int(width * part)
    try:
        "█░".encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#" * full + "." * (width - full)
    return "█" * full + "░" * (width - full)
