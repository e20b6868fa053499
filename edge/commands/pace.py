"""How often something may be done. Pure: the time comes in as an argument."""

from __future__ import annotations


class Pace:
    """A token bucket: some at once, and in the long run one every so often.

    Args:
        every_s: seconds, above 0.
        at_once: at least 1.
    """

    def __init__(self, every_s: float, at_once: int) -> None:
        self.every_s = every_s
        self._at_once = at_once
        self._left = float(at_once)
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Whether one more may be done; if so, it counts as done.

        Args:
            now: seconds of a clock that does not jump.
        """
        self._left = min(self._at_once, self._left + max(0.0, now - self._at) / self.every_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
