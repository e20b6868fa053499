"""Databases of earlier versions, brought forward with all that they hold."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from helpers import MORNING, decided
from keeping import SAMPLE, keep

from edge.differential import Tally
from edge.errors import StoreError
from edge.records import Box, Reason, Verdict
from edge.sources.base import FileKey
from edge.store import Store, Ticket, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on the way" / "leukoscope.sqlite"


def test_an_older_database_is_brought_forward_and_a_newer_one_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(path) as store:
        keep(store, decided())
    with monkeypatch.context() as later:
        added = ("ALTER TABLE samples ADD COLUMN note TEXT", "UPDATE samples SET note = 'carried over'")
        later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
        with Store(path) as store:
            assert store.outbox_depth() == 1
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT note FROM samples").fetchall() == [("carried over",)]
        connection.close()
    with pytest.raises(StoreError, match="newer leukoscope"):
        Store(path).open()


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        keep(store, decided())
    with monkeypatch.context() as later:
        bad = ("ALTER TABLE samples ADD COLUMN note TEXT", "UPDATE nowhere SET x = 1")
        later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, bad))
        with pytest.raises(StoreError, match="no such table"):
            Store(path).open()
    with Store(path) as store:
        assert keep(store, decided())[0].seq == 2


VERSION_1 = Path(__file__).parent / "stores" / "version-1.sql"


def test_a_database_of_the_first_version_is_brought_forward_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text("utf-8"))
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreError, match="written by an older leukoscope"), Store(path, shared=True):
        pass
    with Store(path) as store:
        assert re.fullmatch("82db7367-[0-9a-f]{6}-b2", store.boot_id)
        assert store.last_seq == 4
        (sample,) = store.samples()
        assert sample == SAMPLE
        assert store.latest_sample() == sample
        assert store.open_sample() is None
        assert store.tally(sample.id) == Tally({"neutrophil": 2, "basophil": 1}, 1)
        assert [row.seq for row in store.pending(0, 10)] == [3, 4]
        assert store.has_read(FileKey("a.jpg", 10, 20))
        flagged = store.cells_of(sample.id)[2]
        assert (flagged.id, flagged.file, flagged.index) == ("82db7367-3", "a.jpg", 1)
        assert (flagged.box, flagged.cell_class) == (Box(83, 90, 190, 184), "monocyte")
        assert (flagged.verdict, flagged.reasons) == (Verdict.FLAGGED, (Reason.AMBIGUOUS,))
        assert (flagged.place, flagged.views, flagged.reviewed) == (None, 1, None)
        assert store.crop(flagged.id) is None
        ticket = keep(store, decided("neutrophil"))[0]
        assert ticket == Ticket(5, store.boot_id.replace("b2", "5"))
        with store.write() as write:
            assert write.review(write.ticket(), flagged.id, "monocyte", operator="", at=MORNING) == "monocyte"
        assert store.tally(sample.id) == Tally({"neutrophil": 3, "basophil": 1, "monocyte": 1}, 0, 1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


VERSION_2 = Path(__file__).parent / "stores" / "version-2.sql"


def test_a_database_of_the_second_version_is_brought_forward_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_2.read_text("utf-8"))
        connection.execute("PRAGMA user_version = 2")
    with Store(path) as store:
        assert re.fullmatch("8c458bc8-[0-9a-f]{6}-b2", store.boot_id)
        assert store.last_seq == 7
        day, finished, opened = store.samples()
        assert (day.named, day.first_seq) == (False, 1)
        assert (finished.id, finished.operator, finished.signed_by, finished.signed_at) == (
            "S-1",
            "Ann",
            None,
            None,
        )
        assert (finished.first_seq, opened.first_seq) == (2, None)
        assert finished.finished_at == finished.reached_at == SAMPLE.started_at + timedelta(minutes=2)
        assert store.open_sample() == opened
        assert store.tally("S-1") == Tally({"eosinophil": 1, "lymphocyte": 1, "neutrophil": 1}, 0, 1)
        assert [(cell.threshold, cell.throttled, cell.views) for cell in store.cells_of("S-1")] == [
            (None, (), 3)
        ] * 3
        assert [entry.action for entry in store.audit("S-1")] == [
            "sample/start", "review", "sample/target", "sample/finish",
        ]  # fmt: skip
        assert [(review.reading, review.operator) for review in store.reviews("S-1")] == [
            ("eosinophil", "Bob")
        ]
        assert [row.seq for row in store.pending(0, 10)] == [3, 4, 5, 6, 7]
        assert store.answer("q1") == '{"ok": true}'
        assert store.skipped("S-1") == {"moving": 3}
        assert len(store.keyframes("S-2")) == 1
        with store.write() as write:
            write.sample_signed("S-1", by="Ann", at=MORNING)
        assert (signed := store.sample("S-1"))
        assert (signed.signed_by, signed.signed_at) == ("Ann", SAMPLE.started_at)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize(("version", "old"), [(1, VERSION_1), (2, VERSION_2)])
def test_a_database_brought_forward_has_the_tables_of_a_new_one(
    tmp_path: Path, version: int, old: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "old")) as connection:
        connection.executescript(old.read_text("utf-8"))
        connection.execute(f"PRAGMA user_version = {version}")
    tables = []
    for name in ("old", "new"):
        with Store(tmp_path / name):
            pass
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            tables.append(connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
    assert tables[0] == tables[1]
