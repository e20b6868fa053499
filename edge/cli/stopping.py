"""Programs that run until they are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


def stopped_by_signals(stop: Callable[[], None]) -> None:
    """Have SIGTERM and Ctrl-C ask for an end; a second one of the same kind ends the program at once.

    Args:
        stop: only sets a flag.
    """

    def ask(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
