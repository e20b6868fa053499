"""Commands to a running daemon over a real Mosquitto: asked, carried out and answered as the schemas say."""

from __future__ import annotations

import json
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import paho.mqtt.client as paho
import pytest
from helpers import WAIT_S, Subscriber, until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.commands.requests import COMMANDS
from edge.config import Settings
from edge.daemon import Daemon
from edge.mqtt.broker import PrivateBroker
from edge.store import Store

Subscribe = Callable[..., Subscriber]
FIELDS = sorted(Path(str(files("edge") / "samples" / "bccd")).glob("*.jpg"))
CELLS = sorted(Path(str(files("edge") / "samples" / "acevedo")).glob("*.jpg"))
DEVICE = "asked"


class Client:
    """Asks one device, and holds every request and answer against the schemas that the device publishes."""

    def __init__(self, broker: PrivateBroker, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._answers: queue.Queue[tuple[bytes, dict[str, Any]]] = queue.Queue()
        self._number = 0
        self.asked: set[str] = set()
        ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _c, _u, message: self._answers.put(
            (message.properties.CorrelationData, json.loads(message.payload))
        )
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._client.subscribe("answers/here", qos=1)
        assert ready.wait(WAIT_S)

    def schema(self, name: str) -> dict[str, Any]:
        return self._subscriber.of(f"leukoscope/{DEVICE}/schema/{name}")[-1]

    def ask(self, name: str, **payload: object) -> dict[str, Any]:
        self._number += 1
        jsonschema.validate(payload, self.schema(f"command/{name}"), cls=jsonschema.Draft202012Validator)
        self.asked.add(name)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        correlation = b"\x00%d" % self._number
        properties.ResponseTopic, properties.CorrelationData = "answers/here", correlation
        topic = f"leukoscope/{DEVICE}/command/{name}"
        self._client.publish(topic, json.dumps(payload), qos=1, properties=properties)
        returned, answer = self._answers.get(timeout=WAIT_S)
        assert returned == correlation
        assert answer["command"] == name
        jsonschema.validate(answer, self.schema("reply"), cls=jsonschema.Draft202012Validator)
        return answer

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def settings(tmp_path: Path, broker: PrivateBroker) -> Settings:
    (tmp_path / "incoming").mkdir(exist_ok=True)
    return Settings.model_validate(
        {
            "device": {"name": DEVICE},
            "source": {"kind": "folder", "path": tmp_path / "incoming"},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": tmp_path / "db.sqlite"},
        }
    )


@contextmanager
def running(told: Settings) -> Iterator[Daemon]:
    daemon = Daemon.of(told)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield daemon
    finally:
        daemon.stop()
        thread.join()


@pytest.fixture
def broker() -> Iterator[PrivateBroker]:
    """One for each test: what is retained of a device that was there before says nothing of this one."""
    with PrivateBroker() as running:
        yield running


@pytest.fixture
def subscriber(broker: PrivateBroker, subscribe: Subscribe) -> Subscriber:
    return subscribe(broker)


@pytest.fixture
def client(broker: PrivateBroker, subscriber: Subscriber) -> Iterator[Client]:
    made = Client(broker, subscriber)
    yield made
    made.close()


def test_every_command_asked_and_answered_as_published(
    tmp_path: Path, broker: PrivateBroker, subscriber: Subscriber, client: Client
) -> None:
    told = settings(tmp_path, broker)
    with running(told):
        until(lambda: subscriber.of(f"{DEVICE}/schema/reply"), "the schemas are published")
        until(
            lambda: all(subscriber.of(f"{DEVICE}/schema/command/{name}") for name in COMMANDS), "all of them"
        )
        assert client.ask("snapshot")["error"]["code"] == "refused"
        assert client.ask("sample/start", sample="S-1", operator="Ann")["ok"]
        answer = client.ask("threshold", threshold=0.99, operator="Ann")
        assert (answer["ok"], answer["threshold"]) == (True, 0.99)
        until(lambda: subscriber.last(f"{DEVICE}/status").get("threshold") == 0.99, "the status tells it")
        for picture in (*FIELDS[:2], *CELLS[:3]):
            shutil.copy(picture, tmp_path / "incoming")
        with Store(told.store.path, shared=True) as store:
            known = lambda name: store._one(f"SELECT count(*) FROM {name}")[0]  # noqa: E731
            until(lambda: known("files_read") == 5, "all pictures were read")
            until(lambda: len(subscriber.cells()) == known("cells"), "the cells arrived")
        cells = subscriber.cells()
        assert {cell["threshold"] for cell in cells} == {0.99}
        assert all(cell["confidence"] >= 0.99 for cell in cells if cell["verdict"] == "accepted")
        seen = client.ask("snapshot")["snapshot"]
        assert seen["image"].startswith("data:image/jpeg;base64,")
        assert len(seen["boxes"]) == sum(cell["captured_at"] == seen["captured_at"] for cell in cells)
        assert client.ask("sample/finish")["ok"]
        flagged = [cell["id"] for cell in cells if cell["verdict"] == "flagged"]
        answer = client.ask("sample/sign", sample="S-1", operator="Zoë")
        assert answer["ok"] is not bool(flagged)
        for cell in flagged:
            assert client.ask("review", cell=cell, **{"class": "cannot_tell"}, operator="Bob")["ok"]
        if flagged:
            answer = client.ask("sample/sign", sample="S-1", operator="Zoë")
        assert answer["sample"]["signed_by"] == "Zoë"
        finished = lambda: subscriber.of(f"{DEVICE}/sample/finished")  # noqa: E731
        until(lambda: [said["signed_by"] for said in finished()][-1:] == ["Zoë"], "the signature is told")
        until(
            lambda: subscriber.last(f"{DEVICE}/sample").get("signed_by") == "Zoë",
            "the retained sample has it",
        )
        assert finished()[-1]["thresholds"] == [0.99]
        assert finished()[-1]["first_seq"] == min(cell["seq"] for cell in cells)
        assert (
            client.ask("sample/sign", sample="S-1", operator="Ann", undo=True)["sample"]["signed_by"] is None
        )
        assert client.ask("replay", from_seq=1, to_seq=3)["ok"]
        assert client.asked == set(COMMANDS)
    until(lambda: subscriber.last(f"{DEVICE}/status").get("state") == "offline", "it said goodbye")
    with running(told):
        until(lambda: subscriber.last(f"{DEVICE}/status").get("state") == "online", "it is there again")
        assert subscriber.last(f"{DEVICE}/status").get("threshold") == 0.99


def test_a_snapshot_that_the_broker_would_not_take_does_not_cost_the_connection(
    tmp_path: Path, subscribe: Subscribe
) -> None:
    with PrivateBroker("allow_anonymous true\nmax_packet_size 20000") as small:
        told, subscriber = settings(tmp_path, small), subscribe(small)
        asking = Client(small, subscriber)
        with running(told):
            until(lambda: subscriber.of(f"{DEVICE}/schema/command/snapshot"), "the schemas are published")
            until(lambda: subscriber.of(f"{DEVICE}/schema/reply"), "all of them")
            shutil.copy(FIELDS[0], tmp_path / "incoming")
            with Store(told.store.path, shared=True) as store:
                until(lambda: store._one("SELECT count(*) FROM files_read")[0] == 1, "the picture was read")
            answer = asking.ask("snapshot")
            assert (answer["ok"], answer["error"]["code"]) == (False, "oversized")
            assert asking.ask("sample/start", sample="S-1")["ok"]
            subscriber.catch_up()
            states = [said["state"] for said in subscriber.of(f"{DEVICE}/status")]
        asking.close()
    assert set(states) == {"online"}


def stored(subscriber: Subscriber) -> list[tuple[str, int, dict[str, Any]]]:
    """What came from the device's outbox, in the order of its coming."""
    topics = ("cell/accepted", "cell/flagged", "review", "sample/finished", "sample/target")
    return [
        (message.topic, message.payload["seq"], message.payload)
        for message in list(subscriber.received)
        if message.topic.removeprefix(f"leukoscope/{DEVICE}/") in topics
    ]


def test_a_replay_brings_the_same_messages_in_order_and_counts_nothing_twice(
    tmp_path: Path, broker: PrivateBroker, subscriber: Subscriber, client: Client
) -> None:
    told = settings(tmp_path, broker)
    with running(told):
        until(lambda: subscriber.of(f"{DEVICE}/schema/reply"), "the schemas are published")
        until(
            lambda: all(subscriber.of(f"{DEVICE}/schema/command/{name}") for name in COMMANDS), "all of them"
        )
        client.ask("sample/start", sample="S-1")
        for picture in CELLS[:8]:
            shutil.copy(picture, tmp_path / "incoming")
        until(lambda: len(subscriber.cells()) == 8, "the cells arrived")
        client.ask("review", cell=subscriber.cells()[0]["id"], **{"class": "cannot_tell"})
        counted = client.ask("sample/finish")["sample"]
        until(lambda: len(stored(subscriber)) == 10, "all was published")
    until(lambda: subscriber.last(f"{DEVICE}/status").get("state") == "offline", "it said goodbye")
    first = stored(subscriber)
    assert [seq for _, seq, _ in first] == list(range(1, 11))
    with running(told):
        until(lambda: subscriber.last(f"{DEVICE}/status").get("state") == "online", "it is there again")
        answer = client.ask("replay", from_seq=2, to_seq=9, operator="Ann")
        assert answer["replay"] == {
            "from_seq": 2, "to_seq": 9, "messages": 8, "missing": [], "missing_messages": 0, "without_picture": 0,
        }  # fmt: skip
        until(lambda: len(stored(subscriber)) == 18, "they came again")
        # What was acknowledged a moment ago comes again too, though it is not yet marked as such.
        assert client.ask("replay", from_seq=1, to_seq=10_000)["replay"]["messages"] == 10
        until(lambda: len(stored(subscriber)) == 28, "all of them came again")
    subscriber.catch_up()
    come = stored(subscriber)
    assert come[10:18] == first[1:9], "the same topics, numbers and contents, the boot of then too, in order"
    assert come[18:] == first
    sample = subscriber.of(f"{DEVICE}/sample")[-1]
    assert {name: sample[name] for name in ("counts", "reviewed", "flagged")} == {
        name: counted[name] for name in ("counts", "reviewed", "flagged")
    }
    with Store(told.store.path) as store:
        assert (store.last_seq, store.outbox_depth(), len(store.cells_of("S-1"))) == (10, 0, 8)
        assert len(store.reviews("S-1")) == 1
