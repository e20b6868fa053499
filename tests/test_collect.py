"""Collectors: a real PostgreSQL, a real broker, real devices' messages; each id once and none missing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest
from helpers import WAIT_S, decided, until
from paho.mqtt.enums import CallbackAPIVersion
from postgres import PrivatePostgres

from edge.mqtt.broker import PrivateBroker
from edge.wire.messages import Model, Stamp, cell_message
from fleet.database import FleetDatabase
from fleet.gaps import AT_ONCE, Gap, GapWatch
from fleet.inbox import Malformed, Numbered, Said, parse

EPOCH = "0123456789abcdef"
SAMPLES = Path(str(files("edge") / "samples"))


Start = Callable[..., "Program"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as running:
        yield running


@pytest.fixture
def database(postgres: PrivatePostgres) -> Iterator[FleetDatabase]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS message, device CASCADE")
    with FleetDatabase(postgres.url) as opened:
        yield opened


def rows(postgres: PrivatePostgres, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.url) as connection:
        return connection.execute(query.encode()).fetchall()


def cell(seq: int, *, device: str = "bench-1", epoch: str = EPOCH) -> dict[str, Any]:
    stamp = Stamp(device, "boot-1", seq, f"{epoch}-{seq}")
    model = Model("mobilenet_v2-int8", "0" * 64, 0.85)
    message = cell_message(
        stamp, decided(), sample="S-1", model=model, thumbnail="data:image/jpeg;base64,AAAA"
    )
    body = json.loads(message.payload)
    assert isinstance(body, dict)
    return body


def numbered(*seqs: int, device: str = "bench-1", epoch: str = EPOCH) -> list[Numbered]:
    found = []
    for seq in seqs:
        payload = json.dumps(cell(seq, device=device, epoch=epoch)).encode()
        message = parse(f"leukoscope/{device}/cell/accepted", payload, prefix="leukoscope", pictures=False)
        assert isinstance(message, Numbered)
        found.append(message)
    return found


def test_a_message_is_written_once_however_often_it_comes(
    database: FleetDatabase, postgres: PrivatePostgres
) -> None:
    assert database.keep(numbered(1, 2, 3), []) == 3
    assert database.keep(numbered(2, 3, 4), []) == 1
    assert rows(postgres, "SELECT seq FROM message ORDER BY seq") == [(1,), (2,), (3,), (4,)]
    assert rows(postgres, "SELECT count(*), min(class), min(sample) FROM cell") == [(4, "basophil", "S-1")]


def test_what_is_missing_is_found_at_the_beginning_in_between_and_at_the_end(database: FleetDatabase) -> None:
    database.keep(numbered(3, 4, 7), [Said("bench-1", 9, None)])
    assert database.gaps() == [
        Gap("bench-1", EPOCH, 1, 2),
        Gap("bench-1", EPOCH, 5, 6),
        Gap("bench-1", EPOCH, 8, 9),
    ]
    database.keep(numbered(1, 2, 5, 6, 8), [])
    assert database.gaps() == [Gap("bench-1", EPOCH, 9, 9)]
    database.keep(numbered(9), [])
    assert database.gaps() == []
    database.keep(numbered(11), [])
    assert database.gaps() == [Gap("bench-1", EPOCH, 10, 10)]


def test_a_device_with_a_new_database_counts_anew_and_nothing_is_mixed_up(database: FleetDatabase) -> None:
    database.keep(numbered(1, 2, 3), [])
    database.gaps()
    assert database.keep(numbered(2, epoch="fedcba9876543210"), []) == 1
    assert database.gaps() == [Gap("bench-1", "fedcba9876543210", 1, 1)]


def test_one_collector_of_all_asks_and_when_it_is_gone_another_does(
    database: FleetDatabase, postgres: PrivatePostgres
) -> None:
    assert database.asker()
    assert database.asker()
    with FleetDatabase(postgres.url) as other:
        assert not other.asker()
        database.close()
        until(other.asker, "the other one asks")


def test_a_gap_is_asked_for_when_it_lasts_in_parts_and_ever_more_seldom() -> None:
    watch = GapWatch(30)
    gap = Gap("bench-1", EPOCH, 5, 5 * AT_ONCE)
    assert watch.due([gap], now=0) == []
    assert watch.due([gap], now=29) == []
    assert watch.due([gap], now=31) == [gap._replace(last=4 + AT_ONCE)]
    assert watch.due([gap], now=60) == []
    rest = gap._replace(first=5 + AT_ONCE)  # some of it came
    assert watch.due([rest], now=62) == [rest._replace(last=4 + 2 * AT_ONCE)]
    assert watch.due([rest], now=91) == []
    assert watch.due([rest], now=93) == [rest._replace(last=4 + 2 * AT_ONCE)]
    assert watch.due([rest], now=150) == []
    assert watch.due([rest], now=154) == [rest._replace(last=4 + 2 * AT_ONCE)]
    assert watch.due([], now=155) == []
    assert watch.due([rest], now=156) == []


def test_many_gaps_of_a_device_are_one_question_and_the_newest_are_given_time() -> None:
    watch = GapWatch(30)
    old = [Gap("bench-1", EPOCH, each, each) for each in (5, 7, 9)]
    other = Gap("bench-2", EPOCH, 1, 3)
    assert watch.due(old, now=0) == []
    new = Gap("bench-1", EPOCH, 11, 12)
    assert watch.due([*old, new, other], now=30) == [Gap("bench-1", EPOCH, 5, 9)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"device": "other"}, "another device"),
        ({"seq": "7"}, "number"),
        ({"seq": True}, "number"),
        ({"seq": -1}, "number"),
        ({"seq": 2**63}, "number"),
        ({"id": ""}, "id"),
        ({"id": f"{EPOCH}-8"}, "id"),
        ({"id": "x" * 200}, "id"),
        ({"confidence": "high"}, "promises"),
        ({"captured_at": "2026-99-99T00:00:00.000Z"}, "promises"),
        ({"sample": "\x00"}, "keeps"),
        ({"sample": "\ud800"}, "keeps"),
        ({"added": float("inf")}, "keeps"),
    ],
)
def test_what_no_device_says_is_refused(change: dict[str, object], why: str) -> None:
    payload = json.dumps({**cell(7), **change}).encode()
    with pytest.raises(Malformed, match=why):
        parse("leukoscope/bench-1/cell/accepted", payload, prefix="leukoscope", pictures=True)


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"[" * 100_000, b" " * 2_000_000, b"null"])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        parse("leukoscope/bench-1/cell/accepted", payload, prefix="leukoscope", pictures=True)


def test_what_a_later_program_adds_is_kept_and_pictures_only_where_wanted(
    database: FleetDatabase, postgres: PrivatePostgres
) -> None:
    for seq, pictures in ((1, True), (2, False)):
        payload = json.dumps({**cell(seq), "later": "<b>ö</b>"}).encode()
        found = parse("leukoscope/bench-1/cell/accepted", payload, prefix="leukoscope", pictures=pictures)
        assert isinstance(found, Numbered)
        database.keep([found], [])
    query = "SELECT body ->> 'later', body ? 'thumbnail' FROM message ORDER BY seq"
    assert rows(postgres, query) == [("<b>ö</b>", True), ("<b>ö</b>", False)]


CONFIGURATION = """
[collect]
name = "{name}"
batch = 20
gap_s = 2.0
[mqtt]
host = "{host}"
port = {port}
"""

DEVICE = """
[device]
name = "busy"
[source]
kind = "folder"
path = "{pictures}"
[mqtt]
host = "{host}"
port = {port}
[store]
path = "{store}"
"""


class Program:
    """`leukoscope`, as a process that writes a log."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from edge.cli import main; main()", *arguments],
                stderr=said,
                env={**os.environ, **environment},
            )

    def end(self, by: signal.Signals = signal.SIGTERM) -> str:
        """Have it end, and what it said."""
        self.process.send_signal(by)
        self.process.wait(WAIT_S)
        return self.said()

    def said(self) -> str:
        text = self.log.read_text("utf-8")
        assert "Traceback" not in text, text
        assert "secret-of-fleet" not in text
        return text


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs, and kills those that a failed test left."""
    begun: list[Program] = []

    def begin(*arguments: str, **environment: str) -> Program:
        begun.append(Program(tmp_path / f"{len(begun)}.log", *arguments, **environment))
        return begun[-1]

    yield begin
    for program in begun:
        program.process.kill()
        program.process.wait()
        program.said()


class Microscope:
    """A folder that a device watches: it stays when it has read all, and can be asked for what got lost."""

    def __init__(self, folder: Path, device: Path) -> None:
        self.folder = folder
        self.shown = 0
        self._device = device
        folder.mkdir()

    def show(self, pictures: int) -> None:
        """Put as many pictures of single cells into it."""
        cells = sorted((SAMPLES / "acevedo").glob("*.jpg"))
        for _ in range(pictures):
            shutil.copy(cells[self.shown % len(cells)], self.folder / f"{self.shown:03}.jpg")
            self.shown += 1

    def read(self) -> bool:
        """Whether the device has decided all that it was shown."""
        return self._asked("SELECT count(*) FROM files_read") == self.shown

    def last_seq(self) -> int:
        """How far the device's numbers reach."""
        return self._asked("SELECT max(seq) FROM outbox")

    def _asked(self, query: str) -> int:
        with closing(sqlite3.connect(self._device, timeout=WAIT_S)) as connection:
            return int(connection.execute(query).fetchone()[0] or 0)


@pytest.mark.usefixtures("database")
@pytest.mark.timeout(900)
def test_two_collectors_one_killed_for_good_the_database_stopped_and_none_is_missing(
    tmp_path: Path, postgres: PrivatePostgres, start: Start
) -> None:
    moments = random.Random(5)
    url = {"LEUKOSCOPE_DATABASE_URL": postgres.url}
    with PrivateBroker() as broker:
        files = {}
        for name in ("one", "two"):
            files[name] = tmp_path / f"{name}.toml"
            files[name].write_text(CONFIGURATION.format(name=name, host=broker.host, port=broker.port))
        device_file, store = tmp_path / "device.toml", tmp_path / "device.sqlite"
        microscope = Microscope(tmp_path / "pictures", store)
        where = {"pictures": microscope.folder, "store": store}
        device_file.write_text(DEVICE.format(host=broker.host, port=broker.port, **where))
        one, two = (start("collect", "--config", str(files[each]), **url) for each in ("one", "two"))
        device = start("run", "--config", str(device_file))
        microscope.show(40)

        def written() -> int:
            return int(rows(postgres, "SELECT count(*) FROM message")[0][0])

        until(lambda: written() > 10, "some cells are in the table")
        until(lambda: moments.random() < 0.05, "it is a moment like any other")
        one.end(signal.SIGKILL)  # and it never comes back under its name
        microscope.show(40)
        postgres.stop()
        until(microscope.read, "the device went on while the database was away")
        postgres.start()

        def refused() -> bool:
            forge(broker)  # some of it goes to the one that is dead
            return "refused" in two.said()

        until(refused, "it is refused what somebody else says")
        microscope.show(40)
        until(microscope.read, "the device has decided a good many cells")
        until(lambda: written() == microscope.last_seq() > 100, "every message is in the table")
        device.end()
        said = two.end()
    assert "refused" in said
    assert rows(postgres, "SELECT count(DISTINCT seq) = max(seq), min(seq) FROM message") == [(True, 1)]


def forge(broker: PrivateBroker) -> None:
    """Somebody else on the broker says things."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for payload in (b"{}", b"\xff", json.dumps({**cell(1), "device": "busy", "class": 7}).encode()):
        client.publish("leukoscope/busy/cell/accepted", payload, qos=1).wait_for_publish(WAIT_S)
    client.disconnect()
    client.loop_stop()


def test_a_database_address_that_is_wrong_is_said_without_its_password(tmp_path: Path, start: Start) -> None:
    file = tmp_path / "collect.toml"
    file.write_text("[collect]\nname = 'one'\n")
    address = "postgresql://fleet:very-secret@127.0.0.1:1/fleet"
    program = start("collect", "--config", str(file), LEUKOSCOPE_DATABASE_URL=address)
    assert program.process.wait(WAIT_S) == 1
    assert "the database cannot be used" in program.said() and "very-secret" not in program.said()


@pytest.mark.usefixtures("database")
def test_who_leaves_for_good_takes_nothing_more(
    tmp_path: Path, postgres: PrivatePostgres, start: Start
) -> None:
    url = {"LEUKOSCOPE_DATABASE_URL": postgres.url}
    with PrivateBroker() as broker:
        files = {}
        for name in ("one", "two"):
            files[name] = tmp_path / f"{name}.toml"
            files[name].write_text(CONFIGURATION.format(name=name, host=broker.host, port=broker.port))
        one, two = (start("collect", "--config", str(files[each]), **url) for each in ("one", "two"))
        until(lambda: "connected" in one.said() and "connected" in two.said(), "both are there")
        one.end(signal.SIGKILL)
        leaving = start("collect", "--config", str(files["one"]), "--leave")
        assert leaving.process.wait(WAIT_S) == 0
        assert "one has left collectors" in leaving.said()
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect(broker.host, broker.port)
        client.loop_start()
        for seq in range(1, 21):
            said = client.publish("leukoscope/bench-1/cell/accepted", json.dumps(cell(seq)), qos=1)
            said.wait_for_publish(WAIT_S)
        client.disconnect()
        client.loop_stop()
        # No device is there that could send anything again.
        until(lambda: rows(postgres, "SELECT count(*) FROM message") == [(20,)], "the other one got them all")
