"""Disks that are full or read-only: held up, told, nothing lost, and gone on from by itself."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import MORNING, Subscriber, decided, until
from paho.mqtt import publish

import edge.daemon
import edge.health.storage
from edge.config import Settings
from edge.daemon import Daemon
from edge.differential import Sample
from edge.errors import StoreUnavailable
from edge.health.problems import Health
from edge.health.storage import Storage
from edge.mqtt.broker import PrivateBroker
from edge.store import Store

Subscribe = Callable[..., Subscriber]
PROGRAM = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()"]
SAMPLE = Sample("bench-2026-01-31", MORNING, 100)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"no small disk can be mounted here: {mount.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that there is."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def settings(disk: Path, broker: PrivateBroker, device: str) -> Settings:
    return Settings.model_validate(
        {
            "device": {"name": device},
            "source": {"kind": "virtual_slide", "cells": 400, "interval_s": 0.0},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": disk / "db"},
        }
    )


def problems(subscriber: Subscriber, device: str) -> list[str]:
    """What is wrong, as the newest status has it."""
    return [problem["code"] for problem in subscriber.last(f"{device}/status").get("problems", [])]


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    failures: list[Exception] = []

    def run() -> None:
        try:
            daemon.run()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join()
    for failure in failures:
        raise failure


def test_a_disk_that_fills_up_holds_reading_up_and_loses_nothing(
    disk: Path, broker: PrivateBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.health.storage, "RETRY_S", 0.3)
    subscriber = subscribe(broker)
    daemon = Daemon.of(settings(disk, broker, "full"))
    with running(daemon):
        for _ in range(2):
            arrived = len(subscriber.cells())
            until(lambda before=arrived: len(subscriber.cells()) > before + 5, "cells are published")
            ballast = fill(disk)
            until(lambda: "storage" in problems(subscriber, "full"), "it says that the disk is full")
            stored = daemon.store.last_seq
            until(lambda: len(daemon.frames) == edge.daemon.QUEUE_FRAMES, "the source waits")
            assert daemon.store.last_seq == stored
            ballast.unlink()
            until(lambda: not problems(subscriber, "full"), "it says that all is well again")
    until(lambda: subscriber.last("full/status").get("state") == "offline", "it said goodbye")
    subscriber.catch_up()
    numbered = {said["id"]: said["seq"] for said in subscriber.numbered()}
    with Store(disk / "db") as store:
        assert store.last_seq > stored
        assert store.outbox_depth() == 0
        assert sorted(numbered.values()) == list(range(1, store.last_seq + 1))
        sample = store.latest_sample()
        assert sample is not None
        assert {cell.id for cell in store.cells_of(sample.id)} <= numbered.keys()


def test_told_to_end_while_the_disk_is_full_it_ends_and_says_why(
    disk: Path, broker: PrivateBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.health.storage, "RETRY_S", 0.3)
    subscriber = subscribe(broker)
    daemon = Daemon.of(settings(disk, broker, "ends"))
    with pytest.raises(StoreUnavailable, match="disk is full; make room on the disk"), running(daemon):
        until(lambda: subscriber.of("/cell/accepted"), "cells are published")
        fill(disk)
        until(lambda: "storage" in problems(subscriber, "ends"), "it says that the disk is full")
    until(lambda: subscriber.last("ends/status").get("state") == "offline", "it said goodbye")


def configured(disk: Path, broker: PrivateBroker, device: str) -> Path:
    file = disk.parent / "leukoscope.toml"
    file.write_text(
        f'[device]\nname = "{device}"\n[source]\nkind = "virtual_slide"\ncells = 400\ninterval_s = 0.05\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[store]\npath = "{disk / "db"}"\n'
    )
    return file


@pytest.mark.parametrize("made", [False, True], ids=["nothing there", "a database there"])
def test_a_read_only_disk_is_a_sentence_a_status_and_exit_74(
    disk: Path, broker: PrivateBroker, subscribe: Subscribe, made: bool
) -> None:
    device = f"read-only-{made}"
    subscriber = subscribe(broker)
    if made:
        with Store(disk / "db") as store:
            keep(store)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = subprocess.run(
        [*PROGRAM, "run", "--config", str(configured(disk, broker, device))], capture_output=True, text=True
    )
    assert done.returncode == 74, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {disk / 'db'}: ")
    assert "Read-only file system" in last or "read-only" in last
    until(lambda: subscriber.of(f"{device}/status"), "it says why it does not start")
    said = subscriber.of(f"{device}/status")[-1]
    assert (said["state"], [problem["code"] for problem in said["problems"]]) == ("offline", ["storage"])


def test_started_on_a_full_disk_it_waits_for_room_under_systemd_and_ends_by_hand(
    disk: Path, broker: PrivateBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subscriber = subscribe(broker)
    ballast = fill(disk)
    told = settings(disk, broker, "waits")
    with pytest.raises(StoreUnavailable):
        Daemon.of(told).run()
    monkeypatch.setattr(edge.health.storage, "RETRY_S", 0.3)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    before = len(subscriber.of("waits/status"))
    with running(Daemon.of(told)):
        until(lambda: len(subscriber.of("waits/status")) > before, "it says why it does not start")
        assert problems(subscriber, "waits") == ["storage"]
        ballast.unlink()
        until(lambda: subscriber.cells(), "it counts")
        until(lambda: not problems(subscriber, "waits"), "all is well again")


def keep(store: Store) -> None:
    with store.write() as write:
        write.sample(SAMPLE)
        ticket = write.ticket()
        write.cell(ticket, decided(), sample=SAMPLE.id, model="m", model_sha256="")
        write.message(ticket, "cell/accepted", "{}")


def limit(store: Store, *, more: int) -> None:
    """Let the file grow by so many pages only, wherever it lies."""
    connection: sqlite3.Connection = store._open_connection()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + more}")


def test_what_cannot_be_written_is_offered_again_until_it_can_or_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.health.storage, "RETRY_S", 0.001)
    health = Health()
    with Store(tmp_path / "db") as store:
        turns: list[int] = []

        def turn() -> bool:
            turns.append(1)
            assert [problem.code for problem in health.problems()] == ["storage"]
            if len(turns) == 3:
                limit(store, more=100_000)
            return True

        limit(store, more=0)
        with pytest.raises(StoreUnavailable, match="database or disk is full"):
            for _ in range(50):
                keep(store)
        last = store.last_seq
        with pytest.raises(StoreUnavailable):
            Storage(store, health, turn=lambda: False).insist(lambda: keep(store))
        Storage(store, health, turn=turn).insist(lambda: keep(store))
        assert len(turns) >= 3
        assert (store.last_seq, store.trouble, health.problems()) == (last + 1, None, ())


def test_the_session_goes_on_while_nothing_can_be_written_and_marks_afterwards(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        for _ in range(3):
            keep(store)
        store._open_connection().execute("PRAGMA query_only = ON")
        store.published([1], at=MORNING)
        assert store.trouble is not None
        assert "readonly" in store.trouble
        store.published([2], at=MORNING)
        store.keep_failures((), since=MORNING)
        store.mark_read(("a.jpg", 1, 2))  # type: ignore[arg-type]
        assert store.drop_pictures([3]) == 0
        assert store.outbox_depth() == 3
        store._open_connection().execute("PRAGMA query_only = OFF")
        store.published([], at=MORNING)
        assert (store.outbox_depth(), store.trouble) == (1, None)


def test_a_command_that_cannot_be_stored_is_answered_so(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.health.storage, "RETRY_S", 0.3)
    subscriber = subscribe(broker)
    told = settings(tmp_path, broker, "command")
    empty = tmp_path / "incoming"
    empty.mkdir()
    told = Settings.model_validate(
        {**told.model_dump(), "source": {"kind": "folder", "path": str(empty)}}, strict=False
    )
    daemon = Daemon.of(told)

    def start() -> None:
        topic, payload = "leukoscope/command/command/sample/start", b'{"sample": "S-1", "id": "once"}'
        publish.single(topic, payload, qos=1, hostname=broker.host, port=broker.port)

    with running(daemon):
        until(lambda: subscriber.of("command/status"), "it is online")
        daemon.store._open_connection().execute("PRAGMA query_only = ON")
        start()
        until(lambda: subscriber.of("reply/sample/start"), "it answers")
        assert subscriber.of("reply/sample/start")[-1]["error"]["code"] == "unavailable"
        until(lambda: problems(subscriber, "command") == ["storage"], "its status says so")
        daemon.store._open_connection().execute("PRAGMA query_only = OFF")
        until(lambda: not problems(subscriber, "command"), "all is well again")
        start()
        until(lambda: len(subscriber.of("reply/sample/start")) == 2, "it answers")
        assert subscriber.of("reply/sample/start")[-1]["ok"] is True


def test_a_damaged_database_is_told_in_status_and_in_the_audit_trail(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    (tmp_path / "db").write_bytes(os.urandom(5000))
    with running(Daemon.of(settings(tmp_path, broker, "damaged"))):
        until(lambda: problems(subscriber, "damaged") == ["database"], "its status says so")
        until(lambda: subscriber.cells(), "it counts")
    with sqlite3.connect(tmp_path / "db") as connection:
        (action, detail) = connection.execute("SELECT action, detail FROM audit").fetchone()
    connection.close()
    assert action == "database/replaced"
    assert str(next(tmp_path.glob("db.damaged-*"))) in detail
