"""Samples on a running daemon: commands over a real Mosquitto, the command line beside it, the process killed."""

from __future__ import annotations

import itertools
import json
import math
import queue
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from click.testing import CliRunner
from helpers import WAIT_S, Subscriber, until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.cli import main
from edge.config import load
from edge.daemon import Daemon
from edge.mqtt.broker import PrivateBroker
from edge.store import Store, StoredCell

Subscribe = Callable[..., Subscriber]
CELLS = sorted(Path(str(files("edge") / "samples" / "acevedo")).glob("*.jpg"))


class Told:
    """A device that watches a folder: its configuration, and what lies in its database."""

    def __init__(self, tmp_path: Path, broker: PrivateBroker, device: str, protocol: str = "5") -> None:
        self.device = device
        self.folder = tmp_path / "incoming"
        self.folder.mkdir()
        self.database = tmp_path / "db.sqlite"
        self.file = tmp_path / "leukoscope.toml"
        self.file.write_text(
            f'[device]\nname = "{device}"\n[source]\nkind = "folder"\npath = "{self.folder}"\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\nprotocol = "{protocol}"\n'
            f'[store]\npath = "{self.database}"\n[sample]\ntarget = 10\n'
        )

    def show(self, count: int) -> None:
        """Put some more cells before the device."""
        for picture in CELLS[len(list(self.folder.iterdir())) :][:count]:
            shutil.copy(picture, self.folder)

    @contextmanager
    def running(self) -> Iterator[Daemon]:
        daemon = Daemon.of(load(self.file))
        failures: list[Exception] = []

        def run() -> None:
            try:
                daemon.run()
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield daemon
        finally:
            daemon.stop()
            thread.join()
        for failure in failures:
            raise failure

    def cli(self, *arguments: str) -> str:
        done = CliRunner().invoke(main, ["sample", *arguments, "--config", str(self.file)])
        assert done.exit_code in (0, 1), done.output
        return done.output


class Asker:
    """A client that asks the device and waits for its answers."""

    def __init__(self, broker: PrivateBroker, device: str, protocol: str) -> None:
        self.five = protocol == "5"
        self.root = f"leukoscope/{device}/"
        self.answers: queue.Queue[tuple[bytes | None, dict[str, Any]]] = queue.Queue()
        self.numbers = itertools.count()
        version = paho.MQTTv5 if self.five else paho.MQTTv311
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = lambda _c, _u, message: self.answers.put(
            (getattr(message.properties, "CorrelationData", None), json.loads(message.payload))
        )
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        self.client.subscribe("answers/mine" if self.five else self.root + "reply/#", qos=1)
        assert subscribed.wait(WAIT_S)

    def send(self, name: str, payload: bytes, correlation: bytes = b"", retain: bool = False) -> None:
        properties = None
        if self.five:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic, properties.CorrelationData = "answers/mine", correlation
        topic = f"{self.root}command/{name}"
        self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)

    def ask(self, name: str, **payload: object) -> dict[str, Any]:
        number = f"q{next(self.numbers)}"
        sent = {"id": number, **payload}
        self.send(name, json.dumps(sent).encode(), number.encode())
        correlation, answer = self.answers.get(timeout=WAIT_S)
        assert correlation == (number.encode() if self.five else None)
        assert answer["request"] == number
        return answer

    def drain(self) -> list[dict[str, Any]]:
        """The answers to all that was sent. What is sent far too fast gets none: what asks for the end is sent anew."""
        answers: list[dict[str, Any]] = []
        end, correlation = b"", None
        while not end or correlation != end:
            try:
                correlation, answer = self.answers.get(timeout=1)
                answers.append(answer)
            except queue.Empty:
                end = f"end {next(self.numbers)}".encode()
                self.send("sample/start", b"?", end)
        return answers

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def asking(broker: PrivateBroker) -> Iterator[Callable[[str, str], Asker]]:
    made: list[Asker] = []

    def make(device: str, protocol: str) -> Asker:
        made.append(Asker(broker, device, protocol))
        return made[-1]

    yield make
    for asker in made:
        asker.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_sample_over_mqtt_from_its_start_to_its_finish(
    tmp_path: Path,
    broker: PrivateBroker,
    subscribe: Subscribe,
    asking: Callable[[str, str], Asker],
    protocol: str,
) -> None:
    told = Told(tmp_path, broker, f"samples-{protocol[0]}", protocol)
    subscriber, asker = subscribe(broker), asking(told.device, protocol)

    def samples(topic: str = "sample") -> list[dict[str, Any]]:
        return subscriber.of(f"{told.device}/{topic}")

    def cells() -> list[dict[str, Any]]:
        return [cell for cell in subscriber.cells() if cell["device"] == told.device]

    with told.running():
        until(lambda: subscriber.of(f"{told.device}/status"), "it is online")
        answer = asker.ask("sample/start", sample="S-1", target=10, operator="Ann")
        assert (answer["ok"], answer["sample"]["sample"]) == (True, "S-1")
        until(lambda: [each["sample"] for each in samples()][-1:] == ["S-1"], "the sample is published")
        assert asker.ask("sample/start", sample="S-2")["error"]["code"] == "refused"
        told.show(12)
        until(lambda: samples()[-1]["accepted"] >= 10, "enough cells were counted")
        until(lambda: samples("sample/target"), "the target was noticed")
        assert samples("sample/target")[0]["accepted"] >= 10
        until(lambda: any(cell["verdict"] == "accepted" for cell in cells()), "a cell arrived")
        assert {cell["sample"] for cell in cells()} == {"S-1"}
        accepted = next(cell for cell in cells() if cell["verdict"] == "accepted")
        said = asker.ask("review", cell=accepted["id"], operator="Bob", **{"class": "not_a_white_cell"})
        assert said["review"]["class"] == accepted["class"]
        until(lambda: samples()[-1]["not_white_cells"] == 1, "the review shows in the sample")
        until(lambda: subscriber.of(f"{told.device}/review"), "the review arrived")
        assert subscriber.of(f"{told.device}/review")[0]["reading"] == "not_a_white_cell"
        answer = asker.ask("sample/finish")
        assert (answer["ok"], answer["sample"]["state"]) == (True, "finished")
        until(lambda: samples("sample/finished"), "the result arrived")
        until(lambda: samples()[-1]["state"] == "finished", "the retained sample says so")
        told.show(2)
        until(lambda: not samples()[-1]["named"], "cells go to the day's sample")
        subscriber.catch_up()
        assert samples("sample/target")[1:] == [], "it is noticed once"
    result = samples("sample/finished")[-1]
    assert result["counts"] == answer["sample"]["counts"]
    with Store(told.database) as store:
        assert store.outbox_depth() == 0
        assert [each.sample for each in store.cells_of("S-1")] == ["S-1"] * len(store.cells_of("S-1"))
        acts = [entry.action for entry in store.audit("S-1")]
        assert acts == ["sample/start", "sample/target", "review", "sample/finish"]
        mine = {message.payload["seq"] for message in subscriber.received if "/cell/" in message.topic}
        assert store.last_seq >= max(mine)


def test_the_daemon_notices_at_once_what_the_command_line_does(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    told = Told(tmp_path, broker, "beside")
    subscriber = subscribe(broker)
    samples = lambda: subscriber.of("beside/sample")  # noqa: E731
    with told.running():
        until(lambda: subscriber.of("beside/status"), "it is online")
        assert "Sample S-1 has begun" in told.cli("start", "S-1", "--operator", "Ann")
        until(lambda: samples() and samples()[-1]["sample"] == "S-1", "it was noticed")
        told.show(3)
        until(lambda: samples()[-1]["accepted"] > 0, "cells are counted for it")
        until(
            lambda: json.loads(told.cli("status", "--json"))["counts"] == samples()[-1]["counts"],
            "the command line and the messages agree",
        )
        assert "finished" in told.cli("finish")
        until(lambda: subscriber.of("beside/sample/finished"), "the result arrived")
    assert subscriber.of("beside/sample/finished")[0]["operator"] == "Ann"


def test_what_was_done_while_the_daemon_was_away_holds_when_it_is_back(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    told = Told(tmp_path, broker, "later")
    assert "there is no database yet" in told.cli("start", "S-1")
    with told.running():
        pass
    told.cli("start", "S-1")
    told.cli("finish")
    told.cli("start", "S-2")
    subscriber = subscribe(broker)
    with told.running():
        until(lambda: subscriber.of("later/sample/finished"), "the result was published")
        until(lambda: subscriber.last("later/sample").get("sample") == "S-2", "the open one is published")
        told.show(3)
        until(lambda: subscriber.last("later/sample").get("accepted"), "cells are counted for it")


def test_hostile_commands_are_survived_and_change_nothing(tmp_path: Path) -> None:
    with PrivateBroker() as broker:
        told, asker = Told(tmp_path, broker, "hostile"), Asker(broker, "hostile", "5")
        asker.send("sample/start", b'{"sample": "retained"}', b"r", retain=True)
        rng = random.Random(3)
        with told.running():
            correlation, answer = asker.answers.get(timeout=WAIT_S)
            assert (correlation, answer["error"]["code"]) == (b"r", "retained")
            for number in range(400):
                payload = rng.choice([rng.randbytes(rng.randrange(300)), b"{" * 3000, b"[]" * 20_000])
                names = [
                    "sample/start",
                    "sample/finish/",
                    "review",
                    "x/y/z",
                    "threshold",
                    "ä",
                    "sample//start",
                ]
                asker.send(rng.choice(names), payload, str(number).encode())
                if rng.random() < 0.02:
                    time.sleep(0.3)
            asker.send("sample/start", b'{"sample": "' + b"x" * 100_000 + b'"}', b"far too large")
            codes = {refusal["error"]["code"] for refusal in asker.drain()}
            assert codes <= {"malformed", "oversized", "unknown", "too_frequent"}
            assert len(codes) == 4
            assert asker.ask("sample/start", sample="S-1")["ok"] is True, "it still listens"
        asker.close()
    with Store(told.database) as store:
        assert [sample.id for sample in store.samples()] == ["S-1"]
        assert store.last_seq == 0


SLIDE = """
[device]
name = "killed"
[source]
kind = "virtual_slide"
scan = "meander"
cells = 8
interval_s = 0.02
[mqtt]
host = "{host}"
port = {port}
[store]
path = "{store}"
"""


def online_boots(subscriber: Subscriber) -> set[str]:
    return {said["boot_id"] for said in subscriber.of("killed/status") if said["state"] == "online"}


def distance(one: StoredCell, other: StoredCell) -> float:
    """Between the middles of two cells, in widths of a cell; cells of different regions are far apart."""
    assert one.place is not None
    assert other.place is not None
    assert one.box is not None
    if one.place.region != other.place.region:
        return math.inf
    return math.hypot(one.place.x - other.place.x, one.place.y - other.place.y) / one.box.width


def test_a_sample_goes_on_over_kills_and_counts_each_cell_once(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    """The scan begins anew each time; what was counted is there, unchanged, and is not counted again."""
    told = Told(tmp_path, broker, "killed")
    told.file.write_text(SLIDE.format(host=broker.host, port=broker.port, store=told.database))
    with Store(told.database):
        pass
    told.cli("start", "S-1")
    subscriber, moments = subscribe(broker), random.Random(5)
    counted: dict[str, StoredCell] = {}
    boots: set[str] = set()
    program = [sys.executable, "-c", "from edge.cli import main; main()", "run", "--config", str(told.file)]
    for kill in [True] * 4 + [False]:
        with subprocess.Popen(program) as process:
            try:
                if kill:
                    until(lambda before=boots: online_boots(subscriber) - before, "it is online")
                    boots = online_boots(subscriber)
                    time.sleep(moments.uniform(0, 3))
                else:
                    assert process.wait(4 * WAIT_S) == 0
            finally:
                process.kill()
        with Store(told.database, shared=True) as store:
            sample = store.open_sample()
            assert sample is not None
            assert sample.id == "S-1"
            now = {cell.id: cell for cell in store.cells_of("S-1")}
        assert counted.items() <= now.items(), "what was counted is there, unchanged"
        counted = now
    # Where the machine is so busy that the camera's frames are lost, the scan cannot be followed: a new region.
    regions = {cell.place and cell.place.region for cell in counted.values()}
    assert 0 < len(counted) <= 8 * len(regions), "as many as lie on the slide, or fewer"
    assert min(distance(*pair) for pair in itertools.combinations(counted.values(), 2)) > 0.5
    told.cli("finish")
    with Store(told.database) as store:
        assert {cell.id for cell in store.cells_of("S-1")} == set(counted)
        assert [row.topic for row in store.pending(0, 10_000)][-1:] == ["sample/finished"]
