"""Mutated commands against a running daemon, and mutated pictures through `classify` and a watched folder.

    python bench/fuzz.py [commands] [classify] [folder] [--count 10000] [--seed 1]

Commands: a daemon with an open sample and flagged cells, on a Mosquitto of its own. Payloads and names of good
commands are damaged; what is still a command that would be carried out (tried on a copy of the database) is left
out. Each of the others must be answered with an error, and at the end the database must hold what it held, row for
row.

Pictures: small cells and fields as JPEG, PNG, BMP and TIFF, damaged. `classify` must say of each what it is or why it
cannot be read, without a traceback. A daemon that watches the folder must read each once and live; what is in its
database at the end must come from files that can be decoded.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from PIL import Image

from edge.assembly import make_reader
from edge.cli.quiet import libraries_silenced
from edge.commands.answerer import Answerer
from edge.commands.desk import Desk
from edge.commands.instrument import Instrument
from edge.commands.requests import COMMANDS, CommandError, TakeSnapshot, parse
from edge.config import Settings
from edge.errors import InputError, SampleError
from edge.inference.bundle import Bundle
from edge.mqtt.broker import PrivateBroker
from edge.pictures import images
from edge.store import Store
from edge.wire.messages import Request, Stamp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from mutations import mutated_command, mutated_picture, pictures

LEUKOSCOPE = [sys.executable, "-c", "from edge.cli import main; main()"]
SAMPLES = Path(str(files("edge") / "samples"))
AT_ONCE = 12
"""Commands that wait for their answers: fewer than the device lets wait."""
BATCH = 500
WAIT_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["commands", "classify", "folder"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    logging.disable(logging.WARNING)  # of the pictures that are decoded here to compare
    for part in told.parts:
        with libraries_silenced(), tempfile.TemporaryDirectory(prefix="leukoscope-fuzz-") as folder:
            PARTS[part](Path(folder), told.count, told.seed)


def commands(folder: Path, count: int, seed: int) -> None:
    with PrivateBroker() as broker, device(folder, broker) as (daemon, database):
        client = Client(broker)
        show(folder / "incoming", sorted((SAMPLES / "acevedo_other").glob("*.jpg")))
        settle(database, 8)
        assert client.ask("sample/start", json.dumps({"sample": "S-0", "operator": "Ann"}).encode())["ok"]
        show(folder / "incoming", sorted((SAMPLES / "acevedo").glob("*.jpg"))[:12])
        settle(database, 20)
        with closing(sqlite3.connect(database)) as connection:
            cells = [row[0] for row in connection.execute("SELECT id FROM cells WHERE verdict = 'flagged'")]
        good = good_commands(cells[0])
        before, memory = dump(database), most_mb(daemon.pid)
        rng, judge = random.Random(seed), Judge(database, folder / "copy.sqlite")
        codes: Counter[str] = Counter()
        left_out = sent = 0
        began = time.monotonic()
        while sent < count:
            name, payload = rng.choice(good)
            payload = mutated_command(payload, rng, [each for _, each in good])
            if rng.random() < 0.05:
                name = rng.choice([name.upper(), name + "/x", "x", "sample", "réview", "a" * 200, name[:-1]])
            if judge.would_be_done(name, payload):
                left_out += 1
                continue
            topic = (
                rng.choice(["a/+", "leukoscope/fuzz/status", "$SYS/x", "a" * 300])
                if rng.random() < 0.03
                else None
            )
            client.send(name, payload, topic)
            sent += 1
            if client.waiting >= AT_ONCE:
                codes[client.answer()] += 1
        while client.waiting:
            codes[client.answer()] += 1
        took = time.monotonic() - began
        assert "ok" not in codes, codes
        assert daemon.poll() is None, "the daemon ended"
        time.sleep(2)  # acknowledgements are written down within a second
        assert dump(database) == before, "the database was changed"
        after = most_mb(daemon.pid)
        time.sleep(2)
        assert client.ask("sample/finish", b"{}")["ok"], "it still listens"
        client.close()
    said = ", ".join(f"{code} {number}" for code, number in codes.most_common())
    print(f"commands: {sent} damaged ones sent in {took:.0f} s, all answered: {said}.")
    print(f"  {left_out} others still were commands that can be carried out, and were not sent.")
    print(f"  The database is as it was, row for row. At most {memory:.0f} MB before, {after:.0f} MB after.")


def good_commands(cell: str) -> list[tuple[str, bytes]]:
    """Commands as they should be; a damaged one may still name the open sample and a flagged cell."""
    told = [
        ("sample/start", {"sample": "S-1", "target": 200, "operator": "Ann", "id": "q1"}),
        ("sample/finish", {"sample": "S-9", "operator": "Ann"}),
        ("sample/sign", {"sample": "S-0", "operator": "Ann"}),
        ("review", {"cell": cell, "class": "basophil", "operator": "Ann"}),
        ("review", {"cell": cell, "undo": True}),
        ("threshold", {"threshold": 0.9, "operator": "Ann"}),
        ("replay", {"from_seq": 1, "to_seq": 8}),
        ("snapshot", {"id": "look"}),
    ]
    assert {name for name, _ in told} == set(COMMANDS)
    return [(name, json.dumps(payload).encode()) for name, payload in told]


class Judge:
    """Says whether something would be carried out: tried on a copy of the device's database, and taken back."""

    def __init__(self, database: Path, copy: Path) -> None:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        store = Store(copy, shared=True)
        store.open()
        bundle = Bundle.load()
        desk = Desk(store, device="fuzz", classes=bundle.classes, target=100)
        settings = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
        instrument = Instrument(make_reader(settings, bundle), store, view="auto")
        self._store = store
        self._answerer = Answerer(
            desk, instrument, prefix="leukoscope", stamp=lambda: Stamp("fuzz", "b", 0, "judge")
        )

    def would_be_done(self, name: str, payload: bytes) -> bool:
        """Whether the device would answer `ok`."""
        try:
            command = parse(Request(name, payload, len(payload)))
            if isinstance(command, TakeSnapshot):
                return True
            with self._store.write() as write:
                self._answerer._do(write, command, datetime.now(UTC))
                raise TakenBack
        except (CommandError, SampleError):
            return False
        except TakenBack:
            return True


class TakenBack(Exception):
    """Ends a transaction of which nothing is to remain."""


class Client:
    """Asks the device `fuzz`, and takes its answers wherever they go."""

    def __init__(self, broker: PrivateBroker) -> None:
        self._answers: queue.Queue[tuple[bytes, dict[str, object]]] = queue.Queue()
        self._open: set[bytes] = set()
        self._number = 0
        ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _c, _u, message: self._answers.put(
            (message.properties.CorrelationData, json.loads(message.payload))
        )
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._client.subscribe([("answers", 1), ("leukoscope/fuzz/reply/#", 1)])
        assert ready.wait(WAIT_S)

    @property
    def waiting(self) -> int:
        """Commands without an answer."""
        return len(self._open)

    def send(self, name: str, payload: bytes, topic: str | None = None) -> None:
        """Send a command."""
        self._number += 1
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = b"%d" % self._number
        properties.ResponseTopic = topic or "answers"
        self._open.add(b"%d" % self._number)
        self._client.publish(f"leukoscope/fuzz/command/{name}", payload, qos=1, properties=properties)

    def answer(self) -> str:
        """Wait for an answer; `ok` or the error's code."""
        correlation, answer = self._answers.get(timeout=WAIT_S)
        self._open.remove(correlation)
        if answer["ok"]:
            return "ok"
        error = answer["error"]
        assert isinstance(error, dict)
        return str(error["code"])

    def ask(self, name: str, payload: bytes) -> dict[str, object]:
        """Send, and wait for the answer."""
        self.send(name, payload)
        correlation, answer = self._answers.get(timeout=WAIT_S)
        self._open.remove(correlation)
        return answer

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def device(folder: Path, broker: PrivateBroker) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A daemon of its own that watches ``incoming``, and its database."""
    (folder / "incoming").mkdir()
    database, told = folder / "db.sqlite", folder / "leukoscope.toml"
    told.write_text(
        f'[device]\nname = "fuzz"\n[source]\nkind = "folder"\npath = "{folder / "incoming"}"\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[store]\npath = "{database}"\n'
        "[sample]\ntarget = 10000\n"  # not reached, so that every message is a cell's
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*LEUKOSCOPE, "-v", "run", "--config", str(told)], stderr=log)
    try:
        end = time.monotonic() + WAIT_S
        while b"connected to the broker" not in (folder / "log").read_bytes():
            assert time.monotonic() < end, "it does not start"
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield process, database
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0, (folder / "log").read_text()[-3000:]
    finally:
        process.kill()
        process.wait()
    said = (folder / "log").read_text("utf-8", "replace")
    assert "Traceback" not in said, said[said.index("Traceback") :][:3000]


def show(incoming: Path, chosen: list[Path]) -> None:
    for path in chosen:
        shutil.copy(path, incoming)


def settle(database: Path, read: int) -> None:
    """Wait until so many files were read and the broker has everything."""
    end = time.monotonic() + 5 * WAIT_S
    while True:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            files_read = connection.execute("SELECT count(*) FROM files_read").fetchone()[0]
            waiting = connection.execute("SELECT waiting FROM outbox_totals").fetchone()[0]
        if files_read == read and not waiting:
            return
        assert time.monotonic() < end, f"{files_read} of {read} files were read, {waiting} messages wait"
        time.sleep(0.3)


def dump(database: Path) -> list[str]:
    """All that a database holds."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


def most_mb(process: int) -> float:
    """The most memory that a process has had."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("a process has memory")


def damaged(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of damaged picture files."""
    rng, sound = random.Random(seed), []
    for path in (
        *sorted((SAMPLES / "acevedo").glob("*.jpg"))[::5],
        *sorted((SAMPLES / "bccd").glob("*.jpg"))[:2],
    ):
        with Image.open(path) as picture:
            sound += list(pictures(picture.convert("RGB").resize((200, 160))).items())
    contents = [data for _, data in sound]
    for number in range(count):
        suffix, data = rng.choice(sound)
        yield f"{number:05d}.{suffix}", mutated_picture(data, rng, contents)


def batches(count: int, seed: int) -> Iterator[dict[str, bytes]]:
    batch: dict[str, bytes] = {}
    for name, data in damaged(count, seed):
        batch[name] = data
        if len(batch) == BATCH:
            yield batch
            batch = {}
    if batch:
        yield batch


def classify(folder: Path, count: int, seed: int) -> None:
    readable, refused, cells, most, began = 0, 0, 0, 0.0, time.monotonic()
    for number, batch in enumerate(batches(count, seed)):
        into = folder / f"{number}"
        into.mkdir()
        for name, data in batch.items():
            (into / name).write_bytes(data)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [*LEUKOSCOPE, "classify", str(into), "--format", "jsonl"], stdout=out, stderr=err
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        said = (folder / "err").read_text("utf-8", "replace")
        assert process.returncode in (0, 1), f"status {process.returncode}: {said[-2000:]}"
        assert "Traceback" not in said, said
        most = max(most, used.ru_maxrss / 1024)
        errors = sum(line.startswith("Error: ") for line in said.splitlines())
        lines = [json.loads(line) for line in (folder / "out").read_text("utf-8").splitlines()]
        decodable = {name for name, data in batch.items() if can_be_decoded(data)}
        assert errors == len(batch) - len(decodable), (
            f"{errors} errors, {len(batch) - len(decodable)} undecodable"
        )
        assert {Path(line["file"]).name for line in lines} <= decodable
        assert {path.name: path.read_bytes() for path in into.iterdir()} == batch, "the files were changed"
        refused, cells, readable = refused + errors, cells + len(lines), readable + len(decodable)
        shutil.rmtree(into)
    print(
        f"classify: {count} damaged pictures in {time.monotonic() - began:.0f} s: {refused} refused, each with a "
        f"sentence, {readable} still pictures, with {cells} cells. No traceback; at most {most:.0f} MB."
    )


def can_be_decoded(data: bytes) -> bool:
    try:
        images.decode(data, "it")
    except InputError:
        return False
    return True


def folder(folder: Path, count: int, seed: int) -> None:
    began, most = time.monotonic(), 0.0
    decodable: set[str] = set()
    with PrivateBroker() as broker, device(folder, broker) as (daemon, database):
        shown = 0
        for batch in batches(count, seed):
            for name, data in batch.items():
                (folder / "part").write_bytes(data)
                (folder / "part").rename(folder / "incoming" / name)
            decodable |= {name for name, data in batch.items() if can_be_decoded(data)}
            shown += len(batch)
            settle(database, shown)
            assert daemon.poll() is None
            most = max(most, most_mb(daemon.pid))
            # Kept small: what was read is not looked at again, but lies there to be listed each second.
            for name in batch:
                (folder / "incoming" / name).unlink()
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            of = [row[0] for row in connection.execute("SELECT file FROM cells")]
            seqs = [row[0] for row in connection.execute("SELECT seq FROM delivery ORDER BY seq")]
            others = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("reviews", "audit", "answers", "failures")
            ]
        assert set(of) <= decodable, "a cell of a file that cannot be decoded"
        assert seqs == list(range(1, len(of) + 1))
        assert not any(others)
    print(
        f"folder: {count} damaged pictures in {time.monotonic() - began:.0f} s, each read once by one daemon: "
        f"{len(decodable)} still pictures, with {len(of)} cells, numbered without a gap. The database is whole; "
        f"at most {most:.0f} MB."
    )


PARTS = {"commands": commands, "classify": classify, "folder": folder}

if __name__ == "__main__":
    main()
