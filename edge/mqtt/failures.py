"""What failed at the broker: how often, since when, when last. Kept in memory, and in the database now and then."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from edge.store import Failure


class Failures:
    """Counts failures by what failed and why. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Failure] = {}
        self._unkept: set[tuple[str, str]] = set()

    def remember(self, kept: Iterable[Failure]) -> None:
        """Go on from what was kept of an earlier run."""
        with self._lock:
            self._known |= {(each.what, each.reason): each for each in kept}

    def note(self, what: str, reason: str) -> None:
        """Something failed, just now."""
        now = datetime.now(UTC)
        with self._lock:
            known = self._known.get((what, reason), Failure(what, reason, 0, now, now))
            self._known[what, reason] = known._replace(times=known.times + 1, last_at=now)
            self._unkept.add((what, reason))

    def forget(self, before: datetime) -> None:
        """Forget what failed for the last time before a moment."""
        with self._lock:
            self._known = {key: each for key, each in self._known.items() if each.last_at >= before}
            self._unkept &= self._known.keys()

    def all(self) -> tuple[Failure, ...]:
        """What failed, the newest first."""
        with self._lock:
            return tuple(sorted(self._known.values(), key=lambda failure: failure.last_at, reverse=True))

    def unkept(self) -> tuple[Failure, ...]:
        """What has failed since this was asked last."""
        with self._lock:
            failed, self._unkept = self._unkept, set()
            return tuple(self._known[each] for each in sorted(failed))
