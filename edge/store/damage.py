"""A damaged database: kept aside, never deleted; a new one is begun with everything that the old one still tells.

Whoever finds the damage leaves a mark beside the database, which holds the name under which it will be kept. The next
start makes the new database under another name, whole, and only then exchanges the two; cut short at any moment, it is
done again. The new database counts on from the highest number that the old one tells, under its name (`store_id`), so
that a number that was lost shows as a gap; where nothing tells either, it counts from 1 under a new name. As each start
has a part in the ids, none is given twice.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from edge.records import Reason

log = logging.getLogger(__name__)

FARTHEST = 2**53
"""No row has a higher number."""
_ILLEGIBLE = (sqlite3.DatabaseError, UnicodeDecodeError, TypeError)
"""What reading a damaged database may raise; SQLite's own sentences quote the damage, and may be no text."""
TOTALS = ("meta", "outbox_totals")
"""Tables of one row, which the new database has already; it counts for itself."""


class Replaced(NamedTuple):
    """What became of a damaged database.

    Attributes:
        aside: where it is now.
        rows: how many rows could be taken over.
        unread: the tables of which something is missing.
    """

    aside: Path
    rows: int
    unread: tuple[str, ...]

    def __str__(self) -> str:
        missing = f"something is missing of: {', '.join(self.unread)}" if self.unread else "none is missing"
        return (
            f"the database was damaged and is kept as {self.aside}; {self.rows} rows were taken over, {missing}; "
            "the card may be failing: copy both files elsewhere, and replace it"
        )


def mark(path: Path, why: str) -> None:
    """Note that a database is damaged, for the next start. A disk that takes no note will show the damage again."""
    with suppress(FileExistsError, OSError), _mark(path).open("x") as note:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        note.write(json.dumps({"aside": f"{path.name}.damaged-{moment}", "why": why}))


def is_marked(path: Path) -> bool:
    """Whether damage was noted."""
    return _mark(path).exists()


def replace(path: Path, make: Callable[[Path], None]) -> Replaced:
    """Set a marked database aside, and put a new one in its place.

    Args:
        path: the damaged database.
        make: makes an empty one of the present schema, with no other connection left open on it.

    Raises:
        OSError, sqlite3.Error: the disk is full or fails; the mark stays.
    """
    aside = path.with_name(_aside_name(path))
    new = path.with_name(path.name + ".new")
    rows, unread = 0, tuple[str, ...](("all that it held",))
    if path.exists() and not aside.exists():
        for left in _files(new):
            left.unlink(missing_ok=True)
        make(new)
        rows, unread = _take_over(path, new)
        path.rename(aside)
    if aside.exists() and new.exists():
        _, wal, shm = _files(path)
        if wal.exists():  # the main file is gone already: this can only be the old one's
            wal.rename(aside.with_name(aside.name + "-wal"))
        shm.unlink(missing_ok=True)
        new.rename(path)
    _sync(path.parent)
    _mark(path).unlink()
    return Replaced(aside, rows, unread)


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".damage")


def _aside_name(path: Path) -> str:
    try:
        return Path(str(json.loads(_mark(path).read_text("utf-8"))["aside"])).name
    except (ValueError, KeyError, TypeError):  # the mark itself was cut short
        _mark(path).unlink()
        mark(path, "")
        return str(json.loads(_mark(path).read_text("utf-8"))["aside"])


def _files(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_over(old_path: Path, new_path: Path) -> tuple[int, tuple[str, ...]]:
    """Copy every row that can be read and understood; all of it is one transaction."""
    taken, unread = 0, []
    with (
        closing(sqlite3.connect(f"{old_path.absolute().as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(new_path, isolation_level=None)) as new,
    ):
        # Without a log beside it: what is committed must be in the file itself, which alone gets the old one's name.
        # SQLite does not say where a full disk keeps a log from being brought into its file.
        if _one(new, "PRAGMA journal_mode = DELETE") != "delete":
            raise sqlite3.OperationalError(f"{new_path} cannot be written without a log")
        new.execute("BEGIN IMMEDIATE")
        triggers = new.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            new.execute(f"DROP TRIGGER {name}")
        for (table,) in new.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            if table not in TOTALS:
                rows, whole = _copy(old, new, table)
                taken += rows
                if not whole:
                    unread.append(table)
        _mend(old, new)
        for _, statement in triggers:
            new.execute(statement)
        new.execute("COMMIT")
    return taken, tuple(unread)


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> tuple[int, bool]:
    """Copy a table's good rows; says how many there were, and whether nothing else was found."""
    present = [column[1] for column in new.execute(f"PRAGMA table_info({table})")]
    try:
        columns = [column[1] for column in old.execute(f"PRAGMA table_info({table})") if column[1] in present]
        rowid = "WITHOUT ROWID" not in _one(old, f"SELECT sql FROM sqlite_master WHERE name = '{table}'")
    except _ILLEGIBLE:
        return 0, False
    whole = _Whole()
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    taken = 0
    for row in (_numbered if rowid else _ordered)(old, table, columns, whole):
        if not _understood(dict(zip(columns, row, strict=True))):
            whole.missed = True
            continue
        try:
            taken += new.execute(insert, row).rowcount
        except sqlite3.IntegrityError:  # a value that the table does not allow
            whole.missed = True
    return taken, not whole.missed


class _Whole:
    """Whether anything was missed."""

    missed = False


def _numbered(
    old: sqlite3.Connection, table: str, columns: list[str], whole: _Whole
) -> Iterator[tuple[Any, ...]]:
    """The rows by number; behind what cannot be read, it goes on at ever farther numbers."""
    at, step = -1, 1
    while at < FARTHEST:
        try:
            for number, *row in old.execute(
                f"SELECT rowid, {', '.join(columns)} FROM {table} WHERE rowid > ? ORDER BY rowid", (at,)
            ):
                if number <= at:
                    raise sqlite3.DatabaseError("rows out of order")
                at, step = number, 1
                yield tuple(row)
        except _ILLEGIBLE:
            whole.missed = True
            at, step = at + step, 2 * step
        else:
            return


def _ordered(
    old: sqlite3.Connection, table: str, columns: list[str], whole: _Whole
) -> Iterator[tuple[Any, ...]]:
    """The rows from both ends up to what cannot be read."""
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{number + 1} {direction}" for number in range(len(columns)))
        try:
            yield from old.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}")
        except _ILLEGIBLE:
            whole.missed = True
        else:
            return


def _one(connection: sqlite3.Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]


def _mend(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Go on with the numbers, and see that nothing refers to what was lost."""
    highest = [
        _one(new, f"SELECT coalesce(max(seq), 0) FROM {table}") for table in ("cells", "reviews", "delivery")
    ]
    newest = new.execute("SELECT id FROM cells ORDER BY seq DESC LIMIT 1").fetchone()
    store_id, boot = newest[0].split("-")[0] if newest else _one(new, "SELECT store_id FROM meta"), 0
    with suppress(*_ILLEGIBLE):
        for name, starts, seq in old.execute("SELECT store_id, boot, seq FROM meta").fetchmany(1):
            store_id = name if isinstance(name, str) and name else store_id
            boot = starts if isinstance(starts, int) and 0 <= starts < FARTHEST else boot
            highest += [seq] if isinstance(seq, int) and seq < FARTHEST else []
    new.execute("UPDATE meta SET store_id = ?, boot = ?, seq = ?", (store_id, boot + 1, max(highest)))
    # A cell is never given up for its sample's sake.
    new.execute(
        "INSERT OR IGNORE INTO samples (id, started_at, target) "
        "SELECT sample, min(captured_at), 100 FROM cells GROUP BY sample"
    )
    for table in ("outbox", "delivery"):
        other = "delivery" if table == "outbox" else "outbox"
        new.execute(f"DELETE FROM {table} WHERE seq NOT IN (SELECT seq FROM {other})")
    new.execute(
        "UPDATE outbox_totals SET waiting = (SELECT count(*) FROM delivery WHERE published_at IS NULL), "
        "bytes = (SELECT coalesce(sum(bytes), 0) FROM delivery)"
    )
    for table, rowid, *_ in new.execute("PRAGMA foreign_key_check").fetchall():
        if rowid is not None:
            new.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
    new.execute("DELETE FROM skipped WHERE sample NOT IN (SELECT id FROM samples)")


def _understood(row: Mapping[str, Any]) -> bool:
    """Whether the values are such as the program writes; a flipped bit in one must not end it later."""
    try:
        for column, value in row.items():
            if value is None:
                continue
            if column == "at" or column.endswith("_at"):
                datetime.fromisoformat(value)
            elif column in ("box", "probabilities", "throttled"):
                json.loads(value)
            elif column == "reasons":
                [Reason(reason) for reason in json.loads(value)]
            elif column == "payload":
                json.loads(value)
            elif column == "grey" and len(zlib.decompress(value)) != row["height"] * row["width"]:
                return False
    except (ValueError, TypeError, zlib.error):
        return False
    return True
