"""The database as the doctor finds it: absent, whole, damaged, too new, with messages waiting; never touched."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest
from patients import marks, one, patient

from edge.doctor import Mark, database, running, service
from edge.store import Store, damage

GOOD, BAD, UNSURE = Mark.GOOD, Mark.BAD, Mark.UNSURE


def made(folder: Path, messages: int = 0, topic: str = "cell/accepted") -> Path:
    path = folder / "leukoscope.sqlite"
    with Store(path) as store, store.write() as write:
        for _ in range(messages):
            write.message(write.ticket(), topic, '{"x": "' + "y" * 3000 + '"}')
    return path


def test_there_is_none_yet(tmp_path: Path) -> None:
    assert marks(database.look(patient(tmp_path))) == {"file": UNSURE}
    assert not list(tmp_path.iterdir())


def test_one_that_is_whole(tmp_path: Path) -> None:
    path = made(tmp_path)
    before = sorted(tmp_path.iterdir()), path.read_bytes()
    assert marks(database.look(patient(tmp_path))) == {"file": GOOD, "integrity": GOOD, "outbox": GOOD}
    assert (sorted(tmp_path.iterdir()), path.read_bytes()) == before, (
        "nothing is made beside it or changed in it"
    )


def test_messages_that_wait_are_counted_and_old_ones_mentioned(tmp_path: Path) -> None:
    path = made(tmp_path, 3)
    assert one(database.look(patient(tmp_path)), "outbox").text.startswith("3 messages wait")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE delivery SET put_at = '2026-01-01T10:00:00.000Z' WHERE seq = 1")
    connection.close()
    found = one(database.look(patient(tmp_path)), "outbox")
    assert found.mark is UNSURE
    assert "2026-01-01 10:00" in found.text


@pytest.mark.parametrize("where", ["head", "middle"])
def test_one_that_is_damaged(tmp_path: Path, where: str) -> None:
    path = made(tmp_path, 200)
    with path.open("r+b") as file:
        file.seek(0 if where == "head" else path.stat().st_size // 2)
        file.write(os.urandom(20_000))
    found = one(database.look(patient(tmp_path)), "integrity")
    assert found.mark is BAD
    assert "aside" in found.advice


def test_one_that_was_kept_aside_and_one_that_is_to_be(tmp_path: Path) -> None:
    path = made(tmp_path)
    (tmp_path / f"{path.name}.damaged-20260131T102030Z").touch()
    found = marks(database.look(patient(tmp_path)))
    assert found["kept aside"] is UNSURE
    assert "marked" not in found
    damage.mark(path, "a trial")
    assert marks(database.look(patient(tmp_path)))["marked"] is BAD


@pytest.mark.parametrize(("version", "mark"), [(99, BAD), (1, UNSURE)])
def test_one_of_another_version(tmp_path: Path, version: int, mark: Mark) -> None:
    path = made(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    assert one(database.look(patient(tmp_path)), "schema").mark is mark


def test_a_check_that_takes_too_long_is_left_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, 500)
    monkeypatch.setattr(database, "CHECK_S", -1.0)
    monkeypatch.setattr(database, "STEPS", 1)
    found = marks(database.look(patient(tmp_path)))
    assert found == {"file": GOOD, "integrity": UNSURE, "outbox": GOOD} | {"outbox": found["outbox"]}


def _hold(path: str, ready: object, release: object) -> None:
    with Store(Path(path)) as store:
        with store.write() as write:
            write.message(write.ticket(), "cell/accepted", "{}")
        ready.set()  # type: ignore[attr-defined]
        release.wait()  # type: ignore[attr-defined]


def test_beside_a_running_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    assert running.daemon_process(path) is None
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    daemon = context.Process(target=_hold, args=(str(path), ready, release))
    daemon.start()
    try:
        assert ready.wait(60)
        assert running.daemon_process(path) == daemon.pid
        found = list(database.look(patient(tmp_path)))
        assert f"process {daemon.pid}" in one(found, "file").text
        assert one(found, "integrity").mark is GOOD
        assert one(found, "outbox").text.startswith("1 message waits"), "what lies in the WAL is seen"
        monkeypatch.setenv("PATH", str(tmp_path))
        assert f"process {daemon.pid}" in one(service.look(patient(tmp_path)), "service").text
    finally:
        release.set()
        daemon.join()
    assert running.daemon_process(path) is None
