"""What is said beside the outbox: the newest of each topic, and what is retained again at each connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from edge.wire.messages import Message


class Beside:
    """Messages that need not be kept over a restart. Every method may be called from any thread.

    Attributes:
        again_at: when something that was refused is to be said again, as `time.monotonic` counts.
    """

    def __init__(self) -> None:
        self.again_at = float("inf")
        self._lock = threading.Lock()
        self._retained: dict[str, Message] = {}
        self._fresh: dict[str, Message] = {}
        self._again: set[str] = set()

    def put(self, message: Message) -> None:
        """Say this; it takes the place of an unsent one of its topic."""
        with self._lock:
            self._fresh[message.topic] = message
            if message.retain:
                self._retained[message.topic] = message

    def kept(self, topic: str) -> Message | None:
        """What is retained of a topic, as far as it was said here."""
        with self._lock:
            return self._retained.get(topic)

    def begin(self, status: Message, *, known: Message | None) -> None:
        """A connection begins: all that is retained is said anew; what else was said before is old news.

        Args:
            status: is said with it, unless another has been said since `known`, of which whoever said it knew more.
            known: what was kept of its topic when `status` was asked for.
        """
        with self._lock:
            if self._retained.get(status.topic) is known:
                self._retained[status.topic] = status
            self._fresh = dict(self._retained)

    def end(self) -> None:
        """The connection has ended: what was not said is lost with it, but for what is retained."""
        with self._lock:
            self._fresh.clear()

    def next(self, without: Collection[int | str]) -> Message | None:
        """Take what is to be said next, of none of these topics; None where there is nothing."""
        with self._lock:
            topic = next((topic for topic in self._fresh if topic not in without), None)
            return None if topic is None else self._fresh.pop(topic)

    def say_again(self, topic: str, at: float) -> None:
        """Say what is retained of a topic again, at a moment."""
        with self._lock:
            self._again.add(topic)
            self.again_at = min(self.again_at, at)

    def look(self) -> None:
        """Take up what is due to be said again, before what is new."""
        if time.monotonic() < self.again_at:
            return
        with self._lock:
            self.again_at = float("inf")
            due = {topic: self._retained[topic] for topic in self._again if topic in self._retained}
            self._again.clear()
            self._fresh = due | self._fresh

    def leave_off(self, topic: str) -> None:
        """Say nothing more of a topic at later connections."""
        with self._lock:
            self._retained.pop(topic, None)
