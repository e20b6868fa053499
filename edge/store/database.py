"""Opening, claiming and migrating the database; its transactions and errors."""

from __future__ import annotations

import fcntl
import itertools
import logging
import secrets
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Self

from edge.errors import StoreDamaged, StoreError, StoreUnavailable
from edge.store import damage, schema

log = logging.getLogger(__name__)

BUSY_S = 10.0
"""How long one process waits for the other's transaction, which takes milliseconds, on a slow card more."""
PAGE_BYTES = 1024
"""Of a new database. A cell changes some twenty pages of tables and indexes, each of which is written whole: with
SQLite's usual 4096 bytes a card wears twice as fast (bench/card.py)."""
CHECKPOINT_PAGES = 4000
"""So many pages the log takes before they go to their places in the file, once each however often they changed."""

# What SQLite says, by its codes: https://www.sqlite.org/rescode.html
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
    sqlite3.SQLITE_IOERR_DATA,
)
_PASSING = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_READONLY: "the disk is read-only, as the system makes one that fails: restart, and replace the card",
    sqlite3.SQLITE_IOERR: "the disk fails, or is full",
    sqlite3.SQLITE_CANTOPEN: "its folder cannot be written, or the disk is full or read-only",
    sqlite3.SQLITE_BUSY: "another program holds it",
}


class Database:
    """A connection to the file. Used from several threads: each call takes a lock.

    Args:
        path: the file; it and its folder are made where they are missing, unless `shared`.
        shared: beside the daemon, or while it is not there: claims nothing, makes nothing. It begins a boot only where
            it writes while there is no daemon: the file may be a copy of an older state, see `_begin_beside`.

    Attributes:
        replaced: what `open` did with a damaged database; None where there was none.
        trouble: why nothing can be written at the moment; None once something was.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path = path
        self.shared = shared
        self.replaced: damage.Replaced | None = None
        self.trouble: str | None = None
        self._lock = threading.RLock()
        self._claim: IO[str] | None = None
        self._begun = False
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Claim the database for this process, bring it to the present schema and begin a new boot.

        A damaged one is kept aside, and a new one begun with all that it still tells, see `edge.store.damage`. A
        shared one must be there already, with the present schema; it is used as it is.

        Raises:
            StoreUnavailable: the disk is full, read-only or fails.
            StoreDamaged: it is shared, and damaged.
            StoreError: another process has it, or another version wrote it.
        """
        try:
            if self.shared:
                self._look()
                self._connect(self.path)
                self._migrate()
            else:
                self._claim_it()
                self._open_sound()
        except BaseException:
            self.close()
            raise

    def _open_sound(self) -> None:
        if not damage.is_marked(self.path):
            try:
                self._connect(self.path)
                self._check()
                self._migrate()
                self._check_tables()
                self._begin_boot()
                return
            except StoreDamaged:  # which has left the mark
                self._disconnect()
        with self._errors():
            self.replaced = damage.replace(self.path, self._make_empty)
        log.warning("the damaged database is kept as %s", self.replaced.aside)
        self._connect(self.path)

    def _make_empty(self, path: Path) -> None:
        try:
            self._connect(path)
            self._migrate()
            self._begin_boot()
        finally:
            self._disconnect()

    def _connect(self, path: Path) -> None:
        with self._errors():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def _check(self) -> None:
        """See whether the file holds together. Reads all of it: some seconds for what a year brings."""
        found = str(self._one("PRAGMA quick_check(1)")[0])
        if found != "ok":
            raise self._damaged(found)

    def _check_tables(self) -> None:
        """Whether the tables still have the columns that they were made with."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
            for statement in itertools.chain.from_iterable(schema.MIGRATIONS):
                fresh.execute(statement)
            columns = (
                "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c "
                "WHERE m.type = 'table'"
            )
            missing = set(fresh.execute(columns)) - set(self._all(columns))
        if missing:
            raise self._damaged(f"there is no {min(missing)[0]}")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Give the database back; does nothing where it is not open."""
        with self._lock:
            self._disconnect()
            if self._claim is not None:
                self._claim.close()
                self._claim = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> int:
        """A number that changes when another process has written; `PRAGMA data_version`."""
        return int(self._one("PRAGMA data_version")[0])

    def _look(self) -> None:
        # A file that SQLite would make here, perhaps as root, would keep the daemon from its own.
        try:
            with self.path.open("r+b"):
                pass
        except FileNotFoundError as error:
            raise StoreError(
                f"{self.path}: there is no database yet; the daemon (leukoscope run) makes it when it starts"
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.path}: {error.strerror}; ask as the user that the daemon runs as, or with sudo"
            ) from error

    def _claim_it(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._claim = self.path.with_name(self.path.name + ".lock").open("w")
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"{self.path}: another leukoscope is using this database") from error
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror or error}") from error

    def _one(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
        return self._all(sql, values)[0]

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
                raise self._error(error) from error
            except UnicodeDecodeError as error:  # of what SQLite says, which quotes what is damaged
                raise self._damaged(str(error)) from error
            except OSError as error:
                raise StoreUnavailable(f"{self.path}: {error.strerror or error}") from error

    @contextmanager
    def _understanding(self) -> Iterator[None]:
        """Reading what was kept: a value that is none of those that are written is damage."""
        try:
            yield
        except (ValueError, TypeError, zlib.error) as error:
            raise self._damaged(f"a value that was never written: {error}") from error

    def _error(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0)
        # What is no UTF-8 is found by Python, not by SQLite, and has no code.
        if code & 0xFF in _DAMAGED or code in _UNREADABLE or str(error).startswith("Could not decode"):
            return self._damaged(str(error))
        if code & 0xFF not in _PASSING:
            return StoreError(f"{self.path}: {error}")
        return StoreUnavailable(f"{self.path}: {error}; {_PASSING[code & 0xFF]}")

    def _damaged(self, why: str) -> StoreDamaged:
        if not self.shared:
            damage.mark(self.path, why)
        return StoreDamaged(f"{self.path} is damaged: {why}; the daemon keeps it aside when it next starts")

    def touch(self) -> None:
        """See whether something can be written.

        Raises:
            StoreUnavailable: nothing can.
        """
        with self._transaction() as connection:
            connection.execute("UPDATE meta SET boot = boot")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
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
        except StoreUnavailable as error:
            self.trouble = str(error)
            raise
        self.trouble = None

    def _migrate(self) -> None:
        version = int(self._one("PRAGMA user_version")[0])
        if version > len(schema.MIGRATIONS):
            raise StoreError(f"{self.path}: written by a newer leukoscope (schema {version})")
        if self.shared and version < len(schema.MIGRATIONS):
            raise StoreError(
                f"{self.path}: written by an older leukoscope (schema {version}); the daemon (leukoscope run) "
                "brings it forward when it starts"
            )
        for number, statements in enumerate(schema.MIGRATIONS[version:], start=version + 1):
            with self._transaction() as connection:
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    def _begin_beside(self) -> None:
        """Before the first writing beside the daemon: where there is none, ids begin anew, as they do when it starts.

        Else what is done to a database that was put back to an older state, and not started yet, would bear ids that
        the newer state had given already.
        """
        if not self.shared or self._begun:
            return
        self._begun = True
        try:
            with self.path.with_name(self.path.name + ".lock").open() as claim:
                fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except OSError:  # it is held, or cannot be looked at
            return
        self._begin_boot()

    def _begin_boot(self) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO meta (only, store_id, boot, seq, nonce) VALUES (1, ?, 1, 0, ?) "
                "ON CONFLICT DO UPDATE SET boot = boot + 1, nonce = excluded.nonce",
                (secrets.token_hex(4), secrets.token_hex(3)),
            )
