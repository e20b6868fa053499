"""Messages as they came → the mirror, several in one transaction; each is acknowledged when it is on the disk."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from dashboard.mirror import Change, Message
from edge.errors import StoreError

TOGETHER = 100
"""Messages in one transaction at most."""
WAITING = 500
"""Messages that may wait; whoever brings more waits too, and the broker with them."""
AGAIN_S = 5.0
"""What could not be written is tried again so much later."""


class Sink(Protocol):
    """What takes in messages."""

    def apply_all(self, messages: Iterable[Message]) -> Sequence[Change]:
        """Take messages in, and have them on the disk.

        Raises:
            StoreError: they could not be kept.
        """


class Arrived(NamedTuple):
    """A message, and how to say that it is kept; `acknowledge` is None where nobody waits for that."""

    message: Message
    acknowledge: Callable[[], None] | None


class Inbox:
    """Writes what arrives, in the order of its coming, in a thread of its own.

    Args:
        sink: the mirror.
        told: gets what has changed.
        trouble: gets what keeps messages from being written, and an empty text when that is over.
    """

    def __init__(
        self, sink: Sink, *, told: Callable[[Sequence[Change]], None], trouble: Callable[[str], None]
    ) -> None:
        self._sink, self._told, self._trouble = sink, told, trouble
        self._arrived: queue.Queue[Arrived] = queue.Queue(WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)

    def open(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what is not written was not acknowledged, and comes again."""
        self._ending.set()
        self._thread.join()

    def put(self, arrived: Arrived) -> None:
        """Take a message in, as soon as there is room; after the end, none."""
        while not self._ending.is_set():
            with contextlib.suppress(queue.Full):
                self._arrived.put(arrived, timeout=0.25)
                return

    def _run(self) -> None:
        while not self._ending.is_set():
            batch = self._next()
            if batch and self._write(batch):
                for arrived in batch:
                    if arrived.acknowledge is not None:
                        arrived.acknowledge()

    def _next(self) -> list[Arrived]:
        try:
            batch = [self._arrived.get(timeout=0.25)]
        except queue.Empty:
            return []
        while len(batch) < TOGETHER and not self._arrived.empty():
            batch.append(self._arrived.get_nowait())
        return batch

    def _write(self, batch: list[Arrived]) -> bool:
        """Write messages, however often that must be tried; False where the end comes first."""
        failed = False
        while not self._ending.is_set():
            try:
                changes = self._sink.apply_all([arrived.message for arrived in batch])
            except StoreError as error:
                failed = True
                self._trouble(str(error))
                self._ending.wait(AGAIN_S)
                continue
            if failed:
                self._trouble("")
            self._told(changes)
            return True
        return False
