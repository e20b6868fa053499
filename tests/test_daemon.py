"""The daemon: real sources, the real model, a real broker; ended in every way."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from helpers import MORNING, Subscriber, until

from edge.commands.requests import COMMANDS
from edge.config import Settings
from edge.daemon import Daemon
from edge.errors import SourceError, StoreError
from edge.mqtt.broker import PrivateBroker
from edge.records import Frame
from edge.store import Store
from edge.wire.payloads import PAYLOADS

Subscribe = Callable[..., Subscriber]
FIELDS = Path(str(files("edge") / "samples" / "bccd"))


def frame(number: int) -> Frame:
    return Frame.of(np.zeros((8, 8, 3), np.uint8), number, MORNING)


def settings(tmp_path: Path, broker: PrivateBroker, device: str, **source: object) -> Settings:
    return Settings.model_validate(
        {
            "device": {"name": device},
            "source": source or {"kind": "virtual_slide", "cells": 12, "interval_s": 0.0},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": tmp_path / f"{device}.sqlite"},
        }
    )


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """Runs it in a thread; stops it, and raises what it raised."""
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


def test_a_slide_is_read_to_its_end_and_all_that_arrives_agrees_with_the_published_schemas(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    told = settings(tmp_path, broker, "slide")
    Daemon.of(told).run()
    until(lambda: [p["state"] for p in subscriber.of("slide/status")][-1:] == ["offline"], "it said goodbye")
    subscriber.catch_up()
    mine = [message for message in subscriber.received if message.topic.startswith("leukoscope/slide/")]
    schemas = {m.topic.split("/schema/")[1]: m.payload for m in mine if "/schema/" in m.topic}
    assert set(schemas) == {*PAYLOADS, *(f"command/{name}" for name in COMMANDS)}
    said = [message for message in mine if "/schema/" not in message.topic]
    for message in said:
        name = message.payload["schema"].removeprefix("leukoscope.").removesuffix("/1")
        jsonschema.validate(message.payload, schemas[name], cls=jsonschema.Draft202012Validator)
        assert message.topic.split("/")[2] == name
        assert message.payload["device"] == "slide"
    cells = [message.payload for message in said if "/cell/" in message.topic]
    assert cells, "a slide of 12 white cells shows some"
    assert [cell["seq"] for cell in cells] == list(range(1, len(cells) + 1))
    assert len({message.payload["id"] for message in said}) == len(said)
    for message in said:
        if "/cell/" in message.topic:
            assert message.topic.endswith(message.payload["verdict"])
            assert message.payload["thumbnail"]
            assert message.payload["threshold"] == 0.85
            assert bool(message.payload["reasons"]) == ("saliency" in message.payload)
    accepted = Counter(cell["class"] for cell in cells if cell["verdict"] == "accepted")
    sample = subscriber.of("slide/sample")[-1]
    assert {name: count for name, count in sample["counts"].items() if count} == accepted
    assert sample["accepted"] + sample["flagged"] == len(cells)
    assert sample["seq"] == len(cells)
    assert sample["sample"] == cells[0]["sample"]
    assert sample["sample"].startswith("slide-20")
    with Store(told.store.path) as store:
        assert store.outbox_depth() == 0


def files_read(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM files_read").fetchone()[0])


def test_each_file_of_a_folder_is_read_once_over_restarts(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    folder = tmp_path / "incoming"
    folder.mkdir()
    told = settings(tmp_path, broker, "folder", kind="folder", path=folder)
    fields = sorted(FIELDS.glob("*.jpg"))[:4]
    names = [field.name for field in fields]

    for start in (1, 2):  # a new file before each start, one while it runs, and one that cannot be read
        shutil.copy(fields.pop(), folder)
        (folder / "broken.jpg").write_bytes(b"no picture")
        with running(Daemon.of(told)):
            until(lambda online=2 * start - 1: len(subscriber.of("folder/status")) == online, "it is online")
            shutil.copy(fields.pop(), folder)
            until(lambda read=3 * start: files_read(told.store.path) == read, "all files were read")
    until(lambda: len(subscriber.of("folder/status")) == 4, "it said goodbye twice")
    subscriber.catch_up()
    cells = subscriber.cells()
    each_once = Counter((cell["file"], cell["cell"]) for cell in cells)
    assert set(each_once.values()) == {1}
    assert {file for file, _ in each_once} <= set(names)
    assert [cell["seq"] for cell in cells] == list(range(1, len(cells) + 1))
    assert len({cell["boot_id"] for cell in cells}) == 2


def test_cells_found_while_the_broker_is_away_are_published_by_the_next_start(
    tmp_path: Path, subscribe: Subscribe
) -> None:
    with PrivateBroker() as gone:
        pass
    told = settings(tmp_path, gone, "away")
    Daemon.of(told).run()
    with Store(told.store.path) as store:
        kept = store.outbox_depth()
    assert kept
    with PrivateBroker(port=gone.port) as back:
        subscriber = subscribe(back)
        more = told.model_copy(update={"source": told.source.model_copy(update={"cells": 1})})
        Daemon.of(more).run()
        until(lambda: [p["state"] for p in subscriber.of("away/status")][-1:] == ["offline"], "it ended")
        subscriber.catch_up()
        assert [cell["seq"] for cell in subscriber.cells()][:kept] == list(range(1, kept + 1))


def test_a_source_that_cannot_be_opened_ends_the_daemon(tmp_path: Path, broker: PrivateBroker) -> None:
    told = settings(tmp_path, broker, "nothing", kind="folder", path=tmp_path / "missing")
    with pytest.raises(SourceError, match="missing"):
        Daemon.of(told).run()


def test_a_source_that_fails_ends_the_daemon_with_its_error(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    daemon = Daemon.of(settings(tmp_path, broker, "fails", kind="virtual_slide", cells=50))
    with pytest.raises(SourceError, match="not open"), running(daemon):
        until(lambda: subscriber.of("fails/status"), "it is online")
        daemon.source.close()
        until(lambda: subscriber.last("fails/status").get("state") == "offline", "it said goodbye")


def test_a_database_that_fails_ends_the_daemon_with_its_error(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    daemon = Daemon.of(settings(tmp_path, broker, "disk", kind="virtual_slide", cells=50))
    with pytest.raises(StoreError, match="not open"), running(daemon):
        until(lambda: subscriber.of("disk/status"), "it is online")
        daemon.store.close()
        until(lambda: daemon.frames.put(frame(0)) is False, "it ended")


CONFIGURATION = """
[device]
name = "crash"
[source]
kind = "virtual_slide"
cells = 3000
interval_s = 0.0
[mqtt]
host = "{host}"
port = {port}
[store]
path = "{store}"
"""


def online_boots(subscriber: Subscriber) -> set[str]:
    return {said["boot_id"] for said in subscriber.of("crash/status") if said["state"] == "online"}


def test_killed_again_and_again_every_stored_cell_arrives_once_and_numbered_without_gaps(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker, name="records-everything")
    database = tmp_path / "crash.sqlite"
    file = tmp_path / "leukoscope.toml"
    file.write_text(CONFIGURATION.format(host=broker.host, port=broker.port, store=database))
    moments = random.Random(7)
    for kill in [True] * 10 + [False]:
        boots = online_boots(subscriber)
        process = subprocess.Popen(
            [sys.executable, "-c", "from edge.cli import main; main()", "run", "--config", str(file)],
            stderr=subprocess.PIPE,
        )
        until(lambda before=boots: online_boots(subscriber) > before, "it is online")
        time.sleep(moments.uniform(0, 2))
        if kill:
            assert process.poll() is None, "it ended by itself"
            process.kill()
            subscriber.close()  # it too is away for a while
            process.communicate()
            subscriber.open()
        else:
            until(lambda: len({cell["id"] for cell in subscriber.cells()}) > 20, "a good many arrived")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()
    with Store(database) as store:
        stored = store.last_seq
        assert store.outbox_depth() == 0
    # A quick machine reaches the sample's target on the way: that message has a number in the count too.
    until(lambda: len({said["id"] for said in subscriber.numbered()}) == stored, "every message arrived")
    by_id = {said["id"]: said["seq"] for said in subscriber.numbered()}
    assert len({cell["id"] for cell in subscriber.cells()}) > 20
    assert sorted(by_id.values()) == list(range(1, stored + 1))
    assert len({cell["boot_id"] for cell in subscriber.cells()}) > 5
