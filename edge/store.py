"""SQLite on the device: what was decided, and what the broker has not heard of yet.

A frame's cells, their messages, the numbers these got and the mark of the file that was read are one
transaction: after a crash or a power cut all of it is there or none. The database is in WAL mode with
`synchronous = FULL`, so that a commit has reached the card before anyone hears of it: one sync a frame.

A message stays in the outbox until the broker has acknowledged it. After that its row is kept, marked, for
`KEEP_PUBLISHED`, so that what a subscriber missed can be sent again; then it is deleted. Cells are kept.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from edge.cellrecord import utc_text
from edge.differential import Sample
from edge.errors import StoreError
from edge.records import Decision, Verdict
from edge.sources.base import FileKey

KEEP_PUBLISHED = timedelta(days=7)
"""How long an acknowledged message stays in the outbox for a replay."""

# One entry a schema version: the statements that lead there from the version before. Never edit an entry
# that was released; add one.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE meta (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            store_id TEXT NOT NULL,
            boot INTEGER NOT NULL,
            seq INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE samples (
            id TEXT PRIMARY KEY,
            started_at TEXT NOT NULL,
            target INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE cells (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            sample TEXT NOT NULL REFERENCES samples (id),
            file TEXT NOT NULL,
            cell INTEGER NOT NULL,
            box TEXT,
            class TEXT NOT NULL,
            confidence REAL NOT NULL,
            verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'flagged')),
            reasons TEXT NOT NULL,
            probabilities TEXT NOT NULL,
            model TEXT NOT NULL,
            model_sha256 TEXT NOT NULL,
            captured_at TEXT NOT NULL,
            elapsed_ms REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX cells_of_sample ON cells (sample, verdict, class)",
        """CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            payload TEXT NOT NULL,
            published_at TEXT
        ) STRICT""",
        "CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL",
        "CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL",
        """CREATE TABLE files_read (
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            PRIMARY KEY (name, size, mtime_ns)
        ) STRICT, WITHOUT ROWID""",
    ),
)


class Ticket(NamedTuple):
    """A message's number in the device's gapless count, and its id, which never changes."""

    seq: int
    id: str


class Outgoing(NamedTuple):
    """A message that waits for the broker; `topic` is below ``<prefix>/<device>/``."""

    seq: int
    topic: str
    payload: str


class Tally(NamedTuple):
    """A sample's cells: the accepted ones by class, and the number of flagged ones."""

    accepted: dict[str, int]
    flagged: int


class Writer:
    """Writes within one transaction; see `Store.write`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ticket(self) -> Ticket:
        """Draw the next number. Rolled back with everything else, so that none is ever missing."""
        row = self._connection.execute("UPDATE meta SET seq = seq + 1 RETURNING seq, store_id").fetchone()
        return Ticket(row[0], f"{row[1]}-{row[0]}")

    def sample(self, sample: Sample) -> None:
        """Start a sample where there is none of its name yet."""
        self._connection.execute(
            "INSERT INTO samples VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (sample.id, utc_text(sample.started_at), sample.target),
        )

    def cell(self, ticket: Ticket, decision: Decision, *, sample: str, model: str, model_sha256: str) -> None:
        """Keep one decided cell. Confidence and probabilities are kept unrounded."""
        cell, prediction = decision.cell, decision.prediction
        probabilities = {name: float(value) for name, value in prediction.probabilities.items()}
        self._connection.execute(
            "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                ticket.seq,
                ticket.id,
                sample,
                cell.field.frame.name,
                cell.index,
                None if cell.box is None else json.dumps([int(edge) for edge in cell.box]),
                decision.cell_class,
                float(decision.confidence),
                decision.verdict.value,
                json.dumps([reason.value for reason in decision.reasons]),
                json.dumps(probabilities),
                model,
                model_sha256,
                utc_text(cell.field.frame.captured_at),
                float(prediction.elapsed_ms),
            ),
        )

    def message(self, ticket: Ticket, topic: str, payload: str) -> None:
        """Put a message in the outbox."""
        self._connection.execute(
            "INSERT INTO outbox (seq, topic, payload) VALUES (?, ?, ?)", (ticket.seq, topic, payload)
        )

    def file_read(self, key: FileKey) -> None:
        """Mark a file as read in this state."""
        self._connection.execute("INSERT INTO files_read VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key)


class Store:
    """The device's database. Used from several threads: each call takes a lock.

    Is a `sources.base.ReadLog`, and the outbox that `edge.mqtt` empties.

    Args:
        path: the file; it and its folder are made where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._claim: IO[str] | None = None
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Claim the database for this process, bring it to the present schema and begin a new boot.

        Raises:
            StoreError: it cannot be made or read, another process has it, or a newer program wrote it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._claim = self.path.with_name(self.path.name + ".lock").open("w")
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StoreError(f"{self.path}: another leukoscope is using this database") from error
        except OSError as error:
            self.close()
            raise StoreError(f"{self.path}: {error.strerror or error}") from error
        try:
            with self._errors():
                self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._migrate()
                self._begin_boot()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Give the database back; does nothing where it is not open."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._claim is not None:
                self._claim.close()
                self._claim = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def boot_id(self) -> str:
        """Names this opening of this database; the number at its end counts them."""
        store_id, boot = self._one("SELECT store_id, boot FROM meta")
        return f"{store_id}-b{boot}"

    @property
    def last_seq(self) -> int:
        """The last number given out; 0 before the first."""
        return int(self._one("SELECT seq FROM meta")[0])

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One transaction: everything written within is kept, or, after an exception, nothing.

        Raises:
            StoreError: the disk is full, or the database is damaged.
        """
        with self._transaction() as connection:
            yield Writer(connection)

    def pending(self, after: int, limit: int) -> list[Outgoing]:
        """Unacknowledged messages with a number above `after`, in order, at most `limit`."""
        rows = self._all(
            "SELECT seq, topic, payload FROM outbox WHERE published_at IS NULL AND seq > ? "
            "ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [Outgoing(*row) for row in rows]

    def published(self, seqs: Sequence[int], *, at: datetime) -> None:
        """Mark messages as acknowledged, and delete those acknowledged more than `KEEP_PUBLISHED` ago."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE outbox SET published_at = ? WHERE seq = ?", [(utc_text(at), seq) for seq in seqs]
            )
            connection.execute("DELETE FROM outbox WHERE published_at < ?", (utc_text(at - KEEP_PUBLISHED),))

    def outbox_depth(self) -> int:
        """How many messages wait for the broker's acknowledgement."""
        return int(self._one("SELECT count(*) FROM outbox WHERE published_at IS NULL")[0])

    def has_read(self, key: FileKey) -> bool:
        """Whether this state of this file was read at any time before."""
        return bool(self._all("SELECT 1 FROM files_read WHERE name = ? AND size = ? AND mtime_ns = ?", key))

    def mark_read(self, key: FileKey) -> None:
        """Remember a file that holds nothing to store."""
        with self.write() as write:
            write.file_read(key)

    def latest_sample(self) -> Sample | None:
        """The sample that the last cell went to; None before the first."""
        rows = self._all(
            "SELECT id, started_at, target FROM samples "
            "WHERE id = (SELECT sample FROM cells ORDER BY seq DESC LIMIT 1)"
        )
        return Sample(rows[0][0], datetime.fromisoformat(rows[0][1]), rows[0][2]) if rows else None

    def tally(self, sample: str) -> Tally:
        """Count a sample's cells."""
        rows = self._all(
            "SELECT verdict, class, count(*) FROM cells WHERE sample = ? GROUP BY verdict, class", (sample,)
        )
        accepted = {name: count for verdict, name, count in rows if verdict == Verdict.ACCEPTED}
        return Tally(accepted, sum(count for verdict, _, count in rows if verdict == Verdict.FLAGGED))

    def _one(self, sql: str) -> tuple[int | str, ...]:
        return self._all(sql)[0]

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._open_connection().execute(sql, values).fetchall()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: the database is not open")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            connection = self._open_connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT (disk full) may already have ended the transaction.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _migrate(self) -> None:
        version = int(self._one("PRAGMA user_version")[0])
        if version > len(MIGRATIONS):
            raise StoreError(f"{self.path}: written by a newer leukoscope (schema {version})")
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            with self._transaction() as connection:
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    def _begin_boot(self) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO meta VALUES (1, ?, 1, 0) ON CONFLICT DO UPDATE SET boot = boot + 1",
                (secrets.token_hex(4),),
            )
