"""A line on standard error that says how far long work has come, where a person watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import click

SHORT_S: Final = 1.0
"""Work that ends sooner shows nothing."""

EVERY_S: Final = 0.2


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
        full = 30 * self._done // self._total
        bar = "█" * full + "░" * (30 - full)
        click.echo(
            f"\r\x1b[K{bar} {self._done:,} of {self._total:,}, {rate:,.0f}/s, {left:,.0f} s left",
            err=True,
            nl=False,
        )

    def clear(self) -> None:
        """Remove the line, so that another can be written in its place."""
        if self._total:
            click.echo("\r\x1b[K", err=True, nl=False)
