"""How often somebody may try to sign in."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

TRIES = 5
"""So many wrong passwords in a row cost nothing."""
PAUSE_S, LONGEST_PAUSE_S = 5.0, 900.0
"""The pause after the next one; twice as long after each that follows."""
REMEMBERED = 10_000
"""Names and addresses at most: whoever tries many must not fill the memory."""


class Attempts:
    """Wrong passwords, counted by name and by address. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, *keys: str) -> float:
        """How long until the next try is looked at; 0: at once."""
        now = self._clock()
        return max(0.0, *(self._failed.get(key, (0, now))[1] - now for key in keys))

    def begin(self, *keys: str) -> float:
        """Begin a try, which counts as a wrong password until `succeeded` says otherwise.

        It is counted before the password is looked at: who sends a thousand tries at once has had a thousand.

        Returns:
            How long to wait first; 0 where the try may be made, and is counted.
        """
        wait_s = self.wait_s(*keys)
        if not wait_s:
            self.failed(*keys)
        return wait_s

    def failed(self, *keys: str) -> None:
        """A password was wrong."""
        now = self._clock()
        for key in keys:
            count, until = self._failed.pop(key, (0, now))
            if now - until > LONGEST_PAUSE_S:
                count = 0
            count += 1
            pause = 0.0 if count < TRIES else min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** (count - TRIES))
            self._failed[key] = count, now + pause
        while len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        """The password was right: what was wrong before is forgotten."""
        for key in keys:
            self._failed.pop(key, None)
