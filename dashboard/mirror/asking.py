"""How the mirror's database is asked: one question at a time, whichever thread has it."""

from __future__ import annotations

import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import StoreError


class Asked:
    """A database that is asked, which whoever inherits this opens."""

    path: Path
    _lock: threading.RLock

    @abstractmethod
    def _connection(self) -> sqlite3.Connection:
        """The open database.

        Raises:
            StoreError: it is not open.
        """

    def _one(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
        return self._all(sql, values)[0]

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection().execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error
