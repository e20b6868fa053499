"""When the disk takes nothing: full, read-only, failing. Reading waits, status says so, and nothing decided is lost.

A daemon that ended would only be started again, find the same disk and lose what it had decided. So it holds back: the
cells in hand are offered to the disk again and again, the source waits or drops frames, the broker's session and the
watchdog go on. Once something can be written, all goes on by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from edge.errors import StoreUnavailable
from edge.health.problems import Health
from edge.store import Store

RETRY_S: Final = 5.0
"""The disk is tried again this much later."""
PATIENCE_S: Final = 300.0
"""How long a disk that takes nothing is waited for at the start."""
CODE: Final = "storage"


class Storage:
    """Watches over what is written. Used from the daemon's thread.

    Args:
        store: the database.
        health: is told while nothing can be written.
        turn: called several times a second while it is waited; False ends the waiting.
    """

    def __init__(self, store: Store, health: Health, *, turn: Callable[[], bool]) -> None:
        self._store = store
        self._health = health
        self._turn = turn
        self._due_at = 0.0

    def open(self, *, device: str, wait: Callable[[], bool]) -> None:
        """Open the database, and tell what became of a damaged one.

        Args:
            device: its name, for the audit trail.
            wait: asked, while the disk takes nothing, whether to wait a little longer.

        Raises:
            StoreUnavailable: the disk takes nothing, and is not waited for any longer.
            StoreError: it cannot be used.
        """
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._store.open()
                break
            except StoreUnavailable as error:
                self._tell(str(error))
                if not wait() or time.monotonic() > until:
                    raise
                time.sleep(RETRY_S)
        self._health.clear(CODE)
        replaced = self._store.replaced
        if replaced is not None:
            self._health.report("database", str(replaced))
            with suppress(StoreUnavailable), self._store.write() as write:
                write.audit(
                    "database/replaced",
                    author=device,
                    via="device",
                    at=datetime.now(UTC),
                    sample=None,
                    detail=str(replaced),
                )

    def insist(self, write: Callable[[], None]) -> None:
        """Write, and wait with it until it can be written.

        Raises:
            StoreUnavailable: it could not, and is not waited for any longer.
        """
        while True:
            try:
                write()
                break
            except StoreUnavailable as error:
                self._tell(str(error))
                retry_at = time.monotonic() + RETRY_S
                while time.monotonic() < retry_at:
                    if not self._turn():
                        raise
        self._health.clear(CODE)

    def look(self) -> None:
        """Say whether something can be written; try it, now and then, while nothing could."""
        if self._store.trouble is not None and time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + RETRY_S
            with suppress(StoreUnavailable):
                self._store.touch()
        trouble = self._store.trouble
        if trouble is None:
            self._health.clear(CODE)
        else:
            self._tell(trouble)

    def _tell(self, trouble: str) -> None:
        self._health.report(CODE, f"nothing can be stored, so nothing is counted: {trouble}")
