"""A database that was put back to an older state: what people do to it before the daemon starts has ids of its own."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from edge.commands.desk import Author, Desk
from edge.store import Store

ANN = Author("Ann", "cli")


def finish(store: Store, sample: str) -> None:
    """Start a sample and finish it."""
    desk = Desk(store, device="bench", classes=("neutrophil",), target=100)
    with store.write() as write:
        desk.start(write, sample, target=None, author=ANN, at=datetime.now(UTC))
    with store.write() as write:
        desk.finish(write, None, author=ANN, at=datetime.now(UTC))


def said(path: Path) -> dict[int, tuple[str, str]]:
    """The number of each message, its id and its start of the program."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT seq, payload ->> 'id', payload ->> 'boot_id' FROM outbox"
        ).fetchall()
    return {seq: (name, boot) for seq, name, boot in rows}


def test_ids_differ_where_the_command_line_is_first_at_a_copy(tmp_path: Path) -> None:
    path, copy = tmp_path / "db", tmp_path / "copy"
    with Store(path) as store:
        finish(store, "S-1")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        finish(store, "S-2")
    shutil.move(copy, path)  # somebody puts it back …
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    before = said(path)
    with Store(path, shared=True) as beside:  # … and finishes a sample before the service is started
        assert beside.open_sample() is None
        assert said(path) == before, "who only looks changes nothing"
        boot = beside.boot_id
        finish(beside, "S-2")
        assert beside.boot_id != boot
        finish(beside, "S-3")
        after = said(path)
    assert [seq for seq in after if seq not in before] == [2, 3]
    store_id, nonce, _ = after[2][1].split("-")
    assert nonce != before[1][1].split("-")[1]
    for seq in (2, 3):
        assert after[seq][0] == f"{store_id}-{nonce}-{seq}", "an id is made of the boot's and the number"
        assert after[seq][1] == after[2][1]


def test_beside_a_daemon_the_start_is_the_daemons(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with Store(path) as store, Store(path, shared=True) as beside:
        boot = store.boot_id
        finish(beside, "S-1")
        assert store.boot_id == beside.boot_id == boot
        assert said(path)[1][1] == boot


def test_a_copy_without_the_daemons_claim_is_a_copy_too(tmp_path: Path) -> None:
    path, copy = tmp_path / "db", tmp_path / "elsewhere" / "db"
    copy.parent.mkdir()
    with Store(path):
        pass
    shutil.copy(path, copy)
    with Store(copy, shared=True) as beside:
        boot = beside.boot_id
        finish(beside, "S-1")
        assert beside.boot_id != boot
    assert sorted(each.name for each in copy.parent.iterdir()) == ["db"], "and none is made"
