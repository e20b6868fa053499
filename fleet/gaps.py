"""Which missing numbers are to be asked of a device now."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

AT_ONCE = 5000
"""So many numbers are asked of a device at once: some 25 MB."""
PATIENCE_LAST_S = 3600.0
"""Where nothing of what was asked for came, it is asked for after twice the time before, at most after this."""


class Gap(NamedTuple):
    """Numbers that a device gave out, and that the database lacks.

    Attributes:
        device: whose.
        epoch: of which of its databases.
        first: the first missing number.
        last: the last missing number.
    """

    device: str
    epoch: str
    first: int
    last: int


@dataclass
class _Watched:
    """A device that something is missing of.

    Attributes:
        reach: how far its gaps reached, and when that was.
        asked_at: when it was last asked; None: not yet.
        wait_s: how long it is given to answer.
        missing: how many numbers were missing then.
    """

    wait_s: float
    reach: deque[tuple[float, int]] = field(default_factory=deque)
    asked_at: float | None = None
    missing: int = 0


class GapWatch:
    """Gives late messages time to fill the gaps by themselves, and devices time to answer.

    Args:
        patience_s: how long a number may be missing before it is asked for, and how long a device is given.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._watched: dict[tuple[str, str], _Watched] = {}

    def due(self, gaps: Sequence[Gap], *, now: float) -> list[Gap]:
        """What to ask for: one span a device at most, of at most `AT_ONCE` numbers; some may be there already.

        Args:
            gaps: everything that is missing, sorted by device and number.
            now: seconds, from any moment.
        """
        by_device = {
            key: list(group) for key, group in itertools.groupby(gaps, lambda gap: (gap.device, gap.epoch))
        }
        self._watched = {key: watched for key, watched in self._watched.items() if key in by_device}
        spans = (self._span(key, missing, now) for key, missing in by_device.items())
        return [span for span in spans if span is not None]

    def _span(self, key: tuple[str, str], gaps: list[Gap], now: float) -> Gap | None:
        watched = self._watched.setdefault(key, _Watched(self._patience_s))
        watched.reach.append((now, gaps[-1].last))
        overdue = 0  # up to this number
        while watched.reach and watched.reach[0][0] <= now - self._patience_s:
            overdue = watched.reach.popleft()[1]
        if overdue:
            watched.reach.appendleft((now - self._patience_s, overdue))
        if gaps[0].first > overdue:
            return None
        missing = sum(gap.last - gap.first + 1 for gap in gaps)
        if watched.asked_at is not None:
            if now < watched.asked_at + watched.wait_s:
                return None
            came = missing < watched.missing
            watched.wait_s = self._patience_s if came else min(2 * watched.wait_s, PATIENCE_LAST_S)
        watched.asked_at, watched.missing = now, missing
        last = min(
            max(gap.last for gap in gaps if gap.first <= overdue), overdue, gaps[0].first + AT_ONCE - 1
        )
        return gaps[0]._replace(last=last)
