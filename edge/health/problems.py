"""What is wrong with the device right now, said in one place by whoever notices, and shown by whoever asks.

Sources, the store, the broker's session and the machine report; the daemon says it in `status`, the watchdog's
line of status, metrics and `leukoscope doctor`. A problem is a state, not an event: it is reported when it
begins, may be reported again, and is cleared when it is over.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import NamedTuple

log = logging.getLogger(__name__)


class Problem(NamedTuple):
    """Something that is wrong.

    Attributes:
        code: a word for programs, such as ``camera`` or ``disk_full``; one problem a code at a time.
        text: a sentence for people: what is wrong, and what to do about it. Never holds a secret.
        since: when it was first reported, in UTC.
    """

    code: str
    text: str
    since: datetime


class Health:
    """The problems that there are. Every method may be called from any thread.

    Attributes:
        version: grows with each change; whoever shows the problems compares it.
    """

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self._problems: dict[str, Problem] = {}

    def report(self, code: str, text: str) -> None:
        """Say that something is wrong, or, under the same code, that it is so in other words."""
        with self._lock:
            known = self._problems.get(code)
            if known is not None and known.text == text:
                return
            self._problems[code] = Problem(code, text, datetime.now(UTC) if known is None else known.since)
            self.version += 1
        log.warning("%s", text)

    def clear(self, code: str) -> None:
        """Say that it is over. Clearing what was never reported does nothing."""
        with self._lock:
            if self._problems.pop(code, None) is None:
                return
            self.version += 1
        log.info("%s: all is well again", code)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong, the oldest first."""
        with self._lock:
            return tuple(sorted(self._problems.values(), key=lambda problem: (problem.since, problem.code)))
