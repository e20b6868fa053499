"""Whether the database is whole, and what waits in it. Opened for reading only; nothing is made beside it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.doctor.running import daemon_process
from edge.store import schema
from edge.store.damage import is_marked

CHECK_S = 30.0
MANY_WAIT = 1000
_RESTART = (
    "restart the service: it keeps a damaged database aside and takes over what it can; look at the card, too"
)
STEPS = 10_000
"""After so many of SQLite's steps it is looked whether the time is up."""


def look(patient: Patient) -> Iterator[Finding]:
    """Look at the database that the configuration names."""
    if patient.settings is None:
        yield unsure("file", "without a configuration it is not known where", "see configuration")
        return
    path = patient.settings.store.path
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        yield unsure("file", f"{path} is not there yet: no daemon has run", "start the service")
        return
    except OSError as error:
        yield unsure("file", f"{path}: {error.strerror}", "run leukoscope doctor with sudo")
        return
    running = daemon_process(path)
    by = f"process {running} has it" if running else "no daemon has it"
    yield good("file", f"{path}: {size / 2**20:.1f} MiB, {by}")
    yield from _kept_aside(path)
    # Without a daemon SQLite would make its two files anew, as whoever asks, perhaps root, and the daemon could
    # not use them; "immutable" makes none, and is true as long as nobody writes.
    mode = "mode=ro" if running else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)) as connection:
            yield from _content(connection)
    except sqlite3.Error as error:
        yield bad(
            "integrity",
            f"{path} cannot be read: {error}",
            _RESTART,
        )


def _kept_aside(path: Path) -> Iterator[Finding]:
    try:
        aside = sorted(path.parent.glob(f"{path.name}.damaged-*"))
        marked = is_marked(path)
    except OSError:
        return
    if marked:
        yield bad("marked", "damage was noted", _RESTART)
    if aside:
        yield unsure(
            "kept aside",
            f"a damaged database was kept aside: {aside[-1].name}",
            "save what it holds (sqlite3 FILE .recover), then move it elsewhere; look at the card",
        )


def _content(connection: sqlite3.Connection) -> Iterator[Finding]:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    current = len(schema.MIGRATIONS)
    if version > current:
        yield bad(
            "schema", f"written by a newer leukoscope (schema {version})", "install the newer leukoscope"
        )
        return
    if version < current:
        yield unsure(
            "schema",
            f"written by an older leukoscope (schema {version}); this one brings it to {current} when it starts",
            "restart the service",
        )
        return
    yield _integrity(connection)
    yield _outbox(connection)


def _integrity(connection: sqlite3.Connection) -> Finding:
    """SQLite's quick check, as far as it comes in the time."""
    end = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        faults = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        return unsure(
            "integrity",
            f"nothing wrong was found within {CHECK_S:.0f} s, but not all was looked at",
            "at a quiet time: sqlite3 FILE 'PRAGMA integrity_check'",
        )
    finally:
        connection.set_progress_handler(None, 0)
    if faults == ["ok"]:
        return good("integrity", "whole (quick_check)")
    return bad(
        "integrity",
        f"damaged: {faults[0]}",
        _RESTART,
    )


def _outbox(connection: sqlite3.Connection) -> Finding:
    waiting, oldest = connection.execute(
        "SELECT count(*), min(put_at) FROM delivery WHERE published_at IS NULL"
    ).fetchone()
    if not waiting:
        return good("outbox", "empty: the broker has everything")
    since = datetime.fromisoformat(oldest)
    age = (datetime.now(UTC) - since).total_seconds()
    wait = "1 message waits" if waiting == 1 else f"{waiting} messages wait"
    text = f"{wait} for the broker, the first since {since:%Y-%m-%d %H:%M} UTC"
    if age < 60 and waiting < MANY_WAIT:
        return good("outbox", text)
    return unsure("outbox", text, "they are sent once the broker takes them: see broker")
