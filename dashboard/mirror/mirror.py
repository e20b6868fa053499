"""What devices say, kept where the dashboard runs, so that every page can show it at once and after a restart.

A subscriber sees messages twice, late, and after gaps. Here each is taken in once, by device and id; what was said
later holds, in the order of `seq` and not of arrival; and what is missing can be told, so that it is asked for again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dashboard.mirror import schema, spans
from dashboard.mirror.queries import Queries
from dashboard.mirror.reading import Refused, read
from dashboard.mirror.rows import Change, Message, Span
from dashboard.mirror.writing import write
from edge.errors import StoreError

log = logging.getLogger(__name__)

PICTURES_KEPT = 2 * 10**9
"""Bytes of pictures, unless the settings say otherwise; the oldest are given up beyond: some 400,000 cells."""
SPARE = 0.05
"""So much more is given up at once, so that it is not done for each cell."""


def _now() -> datetime:
    return datetime.now(UTC)


class Mirror(Queries):
    """The dashboard's copy of what its devices said. Used from several threads: each call takes a lock.

    Args:
        path: the database; its folder must exist.
        prefix: of all topics.
        pictures_kept: bytes of cells' pictures that are kept.
        clock: tells the time, in UTC.

    Attributes:
        refused: how many messages were not believed, by why.
    """

    def __init__(
        self,
        path: Path,
        *,
        prefix: str = "leukoscope",
        pictures_kept: int = PICTURES_KEPT,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.path = path
        self.refused: Counter[str] = Counter()
        self._prefix = prefix
        self._pictures_kept = pictures_kept
        self._picture_bytes = 0
        self._clock = clock
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the database, or make it; one of another version is emptied, as the devices can tell it again.

        Raises:
            StoreError: it cannot be used.
        """
        try:
            self._open = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self.path.chmod(0o600)
            # SQLite's own knows the letters of ASCII alone.
            self._open.create_function("fold", 1, str.casefold, deterministic=True)
            self._open.execute("PRAGMA journal_mode = WAL")
            self._open.execute("PRAGMA synchronous = NORMAL")
            self._lay_out(self._open)
            self._picture_bytes = self._one("SELECT coalesce(sum(size), 0) FROM pictures")[0]
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Give the database back; does nothing where it is not open."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def apply_all(self, messages: Iterable[Message]) -> list[Change]:
        """Take messages in, in one transaction.

        What cannot be what a device says is counted in `refused` and changes nothing.

        Returns:
            What is other than before, each change once; nothing of a message that was here before.

        Raises:
            StoreError: the disk is full, or the database is damaged; nothing was taken in.
        """
        changes: dict[Change, None] = {}
        at = self._clock()
        with self._transaction() as connection:
            for message in messages:
                changes |= dict.fromkeys(self._take(connection, message, at))
            self._prune(connection)
        return list(changes)

    def missing(self, device: str) -> tuple[Span, ...]:
        """Numbers that the device has given out and that did not arrive: what to ask a replay for, in order.

        Counted from the first of a sample that was open when the device was first heard, where it tells that.
        """
        with self._lock:
            return spans.missing(self._connection(), device)

    def forgo(self, device: str, span: Span) -> None:
        """Miss these numbers no more: the device has them no longer."""
        with self._transaction() as connection:
            row = connection.execute("SELECT max(stream) FROM streams WHERE device = ?", (device,)).fetchone()
            if row[0] is not None:
                spans.arrived(connection, row[0], span)

    def keep_embeddings(self, vectors: Mapping[int, NDArray[np.float32]], model_sha256: str) -> None:
        """Keep what a model made of cells' pictures, by the cells' numbers; in half precision."""
        if vectors:
            rows = [(cell, model_sha256, each.astype(np.float16).tobytes()) for cell, each in vectors.items()]
            with self._transaction() as connection:
                connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)", rows)

    def _take(self, connection: sqlite3.Connection, message: Message, at: datetime) -> list[Change]:
        try:
            incoming = read(message, prefix=self._prefix)
            if incoming is None:
                return []
            connection.execute("SAVEPOINT message")
            try:
                changes = write(connection, incoming, at)
            except (Refused, OverflowError, sqlite3.IntegrityError) as error:
                connection.execute("ROLLBACK TO message")
                # What the tables cannot hold must not be tried again and again, with all that came after it.
                raise error if isinstance(error, Refused) else Refused("malformed") from error
            finally:
                connection.execute("RELEASE message")
        except Refused as refused:
            if not self.refused[refused.why]:
                log.warning("a message under %r is refused: %s", message.topic[:128], refused.why)
            self.refused[refused.why] += 1
            return []
        if incoming.jpeg is not None and changes:
            self._picture_bytes += len(incoming.jpeg)
        return changes

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Give up the oldest pictures where they take more room than they may."""
        if self._picture_bytes <= self._pictures_kept:
            return
        spare = self._picture_bytes - self._pictures_kept * (1 - SPARE)
        last = freed = 0
        for arrival, size in connection.execute("SELECT arrival, size FROM pictures ORDER BY arrival"):
            last, freed = arrival, freed + size
            if freed >= spare:
                break
        connection.execute("DELETE FROM pictures WHERE arrival <= ?", (last,))
        self._picture_bytes -= freed
        log.info("pictures of %d bytes were given up for newer ones", freed)

    def _lay_out(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == schema.VERSION:
            return
        with self._transaction():
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            for (table,) in tables:
                connection.execute(f'DROP TABLE "{table}"')
            for statement in schema.TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {schema.VERSION}")

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            raise StoreError(f"{self.path}: the database is not open")
        return self._open

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:  # a failed COMMIT may have ended it
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error
