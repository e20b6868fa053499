"""Whether the device's clock can be believed. A Raspberry Pi has none that runs without power.

Nothing is measured with it: how long something took or rested is told by `time.monotonic`, and the order of what was
decided by its numbers. It only dates cells, samples and what people do; where it is wrong, that is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from edge.health.problems import Health

RELEASED: Final = datetime(2026, 11, 20, tzinfo=UTC)
"""This program is no older."""
JUMP_S: Final = 60.0
"""A clock that is set by less was as good as right."""
TOLD_S: Final = 3600.0
"""For so long it is said that the clock has jumped."""
CODE: Final = "clock"


class ClockWatch:
    """Compares the clock with the time that really passes. Used from the daemon's thread.

    Args:
        health: is told of a clock that is wrong or has jumped.
        wall: the clock, in seconds since 1970.
        steady: the time that passes, in seconds.
    """

    def __init__(
        self,
        health: Health,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._health = health
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._told_until = 0.0

    def look(self) -> None:
        """See whether it has jumped since the last look, and whether what it says can be."""
        wall, steady = self._wall(), self._steady()
        jump, self._offset = wall - steady - self._offset, wall - steady
        if abs(jump) >= JUMP_S:
            self._told_until = steady + TOLD_S
            self._health.report(
                CODE,
                f"the clock was set {'forward' if jump > 0 else 'back'} by {_words(abs(jump))}, from "
                f"{_moment(wall - jump)} to {_moment(wall)}: what was dated before bears another time",
            )
        if wall < RELEASED.timestamp():
            self._health.report(
                CODE,
                f"the clock says {_moment(wall)[:10]}, which is before this program was made: cells and samples are "
                "dated wrongly until it is set, by network time or with timedatectl",
            )
            self._told_until = 0.0
        elif steady >= self._told_until:
            self._health.clear(CODE)


def _moment(seconds: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat(" ", "minutes")


def _words(seconds: float) -> str:
    for unit, size in (("years", 365.25 * 86400), ("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"
