"""The database: all of a frame or none of it, numbers without gaps, nothing lost over restarts."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from helpers import MORNING, decided

from edge import store as module
from edge.differential import Sample
from edge.errors import StoreError
from edge.records import Decision, Reason
from edge.sources.base import FileKey
from edge.store import KEEP_PUBLISHED, Store, Tally, Ticket

SAMPLE = Sample("bench-2026-01-31", MORNING.replace(microsecond=123000), 100)
KEY = FileKey("slide/1.jpg", 1234, 1_700_000_000_123_456_789)


def keep(store: Store, *decisions: Decision, key: FileKey | None = None) -> list[Ticket]:
    with store.write() as write:
        write.sample(SAMPLE)
        tickets = []
        for decision in decisions:
            ticket = write.ticket()
            write.cell(ticket, decision, sample=SAMPLE.id, model="cnn-int8", model_sha256="ab" * 32)
            write.message(ticket, f"cell/{decision.verdict}", f'{{"seq": {ticket.seq}}}')
            tickets.append(ticket)
        if key is not None:
            write.file_read(key)
    return tickets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on the way" / "leukoscope.sqlite"


def test_numbers_go_on_over_restarts_without_gaps_and_ids_are_unique(path: Path) -> None:
    tickets: list[Ticket] = []
    boots = set()
    for _ in range(3):
        with Store(path) as store:
            boots.add(store.boot_id)
            tickets += keep(store, decided(), decided())
            assert store.last_seq == tickets[-1].seq
    assert [ticket.seq for ticket in tickets] == [1, 2, 3, 4, 5, 6]
    assert len({ticket.id for ticket in tickets}) == 6
    assert len(boots) == 3


def test_two_databases_never_give_the_same_id(tmp_path: Path) -> None:
    with Store(tmp_path / "a") as one, Store(tmp_path / "b") as other:
        assert keep(one, decided())[0].id != keep(other, decided())[0].id
        assert one.boot_id != other.boot_id


def test_a_frame_that_fails_halfway_leaves_nothing(path: Path) -> None:
    with Store(path) as store:
        keep(store, decided())
        with pytest.raises(ZeroDivisionError), store.write() as write:
            ticket = write.ticket()
            write.cell(ticket, decided(), sample=SAMPLE.id, model="m", model_sha256="")
            write.message(ticket, "cell/accepted", "{}")
            write.file_read(KEY)
            _ = 1 / 0
        assert store.last_seq == 1
        assert store.outbox_depth() == 1
        assert store.tally(SAMPLE.id) == Tally({"basophil": 1}, 0)
        assert not store.has_read(KEY)
        assert keep(store, decided(), key=KEY)[0].seq == 2
        assert store.has_read(KEY)


def test_the_outbox_gives_in_order_what_was_not_acknowledged(path: Path) -> None:
    with Store(path) as store:
        keep(store, *(decided() for _ in range(5)))
        store.published([1, 3], at=MORNING)
        assert [row.seq for row in store.pending(0, 10)] == [2, 4, 5]
        assert [row.seq for row in store.pending(0, 2)] == [2, 4]
        assert [row.seq for row in store.pending(4, 10)] == [5]
        assert store.pending(0, 1)[0].topic == "cell/accepted"
        assert store.outbox_depth() == 3
    with Store(path) as store:
        assert [row.seq for row in store.pending(0, 10)] == [2, 4, 5]


def test_acknowledged_messages_are_kept_for_a_replay_and_then_deleted(path: Path) -> None:
    with Store(path) as store:
        keep(store, decided(), decided(), decided())
        store.published([1], at=MORNING)
        store.published([2], at=MORNING + KEEP_PUBLISHED)
        assert _numbers(path) == [1, 2, 3]
        store.published([], at=MORNING + KEEP_PUBLISHED + timedelta(seconds=1))
        assert _numbers(path) == [2, 3]
        assert store.tally(SAMPLE.id).accepted == {"basophil": 3}, "cells are kept for good"


def _numbers(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT seq FROM outbox ORDER BY seq")]
    finally:
        connection.close()


def test_a_sample_counts_accepted_by_class_and_flagged_apart(path: Path) -> None:
    with Store(path) as store:
        assert store.latest_sample() is None
        doubtful = decided("monocyte", reasons=(Reason.AMBIGUOUS, Reason.CUT_OFF))
        keep(store, decided("neutrophil"), decided("neutrophil"), decided("monocyte"), doubtful)
        assert store.tally(SAMPLE.id) == Tally({"monocyte": 1, "neutrophil": 2}, 1)
        assert store.latest_sample() == SAMPLE
        assert store.tally("another") == Tally({}, 0)


def test_a_file_written_anew_is_another_file(path: Path) -> None:
    with Store(path) as store:
        store.mark_read(KEY)
        store.mark_read(KEY)
    with Store(path) as store:
        assert store.has_read(KEY)
        assert not store.has_read(KEY._replace(mtime_ns=KEY.mtime_ns + 1))
        assert not store.has_read(KEY._replace(size=1))


def test_one_process_at_a_time(path: Path) -> None:
    with Store(path), pytest.raises(StoreError, match="another leukoscope"):
        Store(path).open()
    with Store(path):
        pass


@pytest.mark.parametrize("content", [b"this is no database at all, but long enough to look at" * 20])
def test_a_damaged_file_is_one_sentence_and_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="broken: file is not a database"):
        Store(path).open()
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        Store(tmp_path / "file" / "db").open()


def test_an_older_database_is_brought_forward_and_a_newer_one_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(path) as store:
        keep(store, decided())
    with monkeypatch.context() as later:
        added = ("ALTER TABLE samples ADD COLUMN note TEXT", "UPDATE samples SET note = 'carried over'")
        later.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, added))
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
        later.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, bad))
        with pytest.raises(StoreError, match="no such table"):
            Store(path).open()
    with Store(path) as store:
        assert keep(store, decided())[0].seq == 2
