"""Brokers that take less than the device says beside its outbox, and ends at which nobody could say goodbye."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from threading import Event

import paho.mqtt.client as paho
import pytest
from brokers import put, session
from grudging import GrudgingBroker
from helpers import Subscriber, until

from edge.config import Mqtt
from edge.errors import StoreError
from edge.health.problems import Health
from edge.mqtt import connection, refusals
from edge.mqtt import session as mqtt
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.session import Session
from edge.store import Store
from edge.wire.messages import Message

pytestmark = pytest.mark.usefixtures("quick")

LARGE = Message("schema/cell", json.dumps({"description": "x" * 5000}), retain=True)
SMALL = Message("schema/status", "{}", retain=True)
ELSEWHERE = Message("homeassistant/device/x/config", LARGE.payload, retain=True, elsewhere=True)


def codes(health: Health) -> set[str]:
    return {problem.code for problem in health.problems()}


def test_a_retained_message_larger_than_the_broker_takes_does_not_cost_the_connection(
    store: Store, subscribe: Callable[..., Subscriber]
) -> None:
    put(store, 3)
    health = Health()
    with PrivateBroker("allow_anonymous true\nmax_packet_size 3000") as broker:
        subscriber = subscribe(broker)
        with session(store, broker.port, "less", health=health) as running:
            for message in (LARGE, ELSEWHERE, SMALL):
                running.publish(message)
            until(lambda: subscriber.of("less/schema/status"), "what is small enough came")
            until(lambda: store.outbox_depth() == 0, "and so did the outbox")
            until(lambda: codes(health) == {"broker_refuses"}, "the other is told")
            (problem,) = health.problems()
            assert "schema" in problem.text
            assert "limit on the size of packets" in problem.text
            put(store, 3)
            running.notify()
            until(lambda: store.outbox_depth() == 0, "it goes on")
            assert (running.attempts, running.connections) == (1, 1)
            assert ("schema", "larger than it takes") in {each[:2] for each in running.failures()}
        subscriber.catch_up()
    assert not subscriber.of("schema/cell")


def test_a_broker_that_hangs_up_on_a_retained_message_gets_the_others(
    store: Store, subscribe: Callable[..., Subscriber]
) -> None:
    """With MQTT 3.1.1 a broker cannot say what it does not take."""
    put(store, 3, payload=json.dumps({"thumbnail": "data:,"}))
    health = Health()
    with PrivateBroker("allow_anonymous true\nmax_packet_size 3000") as broker:
        subscriber = subscribe(broker)
        with session(store, broker.port, "hangs", health=health, protocol="3.1.1") as running:
            for message in (LARGE, SMALL):
                running.publish(message)
            until(lambda: subscriber.of("hangs/schema/status"), "what comes behind it came")
            until(lambda: codes(health) == {"broker_refuses"}, "the connection stays, and it is told why")
            put(store, 3, payload=json.dumps({"thumbnail": "data:,"}))
            running.notify()
            until(lambda: store.outbox_depth() == 0, "the outbox came")
            attempts = running.attempts
            put(store, 1)
            running.notify()
            until(lambda: store.outbox_depth() == 0, "it goes on")
            assert running.attempts == attempts
        assert store.outbox_state().pictures_dropped == 0, "no message of the outbox was to blame"
    assert not subscriber.of("schema/cell")


def test_a_retained_message_at_which_connections_ended_is_offered_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "AGAIN_FIRST_S", 0.5)
    bad = True

    def answer(topic: str, _: bytes) -> int | None:
        if bad and topic.endswith("/sample"):
            broker.hang_up()
            return None
        return 0

    health = Health()
    with (
        GrudgingBroker(puback=answer) as broker,
        session(store, broker.port, "sulks", health=health) as running,
    ):
        running.publish(Message("sample", '{"n": 1}', retain=True))
        put(store, 30)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "the outbox came past it")
        until(lambda: "broker_refuses" in codes(health), "it is told")
        running.publish(Message("sample", '{"n": 2}', retain=True))
        bad = False
        until(lambda: broker.published[-1][1] == b'{"n": 2}', "the newest was said in the end")
        until(lambda: not health.problems(), "all is well again")


def kept(broker: PrivateBroker, topic: str) -> dict[str, object]:
    """What the broker keeps of a topic."""
    found: list[bytes] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _u, message: found.append(message.payload)
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe(topic, 1)
    until(lambda: found, f"the broker told what it keeps of {topic}")
    client.disconnect()
    client.loop_stop()
    said: dict[str, object] = json.loads(found[-1])
    return said


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_who_ends_without_having_said_so_leaves_it_to_the_will(
    store: Store, subscribe: Callable[..., Subscriber], monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """A database that fails in the session's thread ends it: a goodbye would have the broker forget the will."""
    monkeypatch.setattr(connection, "WILL_DELAY_S", 1)
    with PrivateBroker() as broker:
        subscriber = subscribe(broker)
        with (
            pytest.raises(StoreError, match="damaged"),
            session(store, broker.port, "gone", protocol=protocol) as running,
        ):
            until(lambda: subscriber.of("gone/status"), "it is online")

            def fail(*_: object, **__: object) -> list[object]:
                raise StoreError("the database is damaged")

            monkeypatch.setattr(store, "pending", fail)
            running.notify()
            until(lambda: running._failure, "it ended")
        until(lambda: kept(broker, "leukoscope/gone/status")["state"] == "offline", "the will was spoken")


def test_a_broker_that_froze_while_the_device_ended_says_that_it_is_offline(store: Store) -> None:
    put(store, 100)
    with PrivateBroker() as broker, session(store, broker.port, "frozen", protocol="3.1.1") as running:
        until(lambda: store.outbox_depth() == 0, "all is well")
        broker.signal(signal.SIGSTOP)
        put(store, 100)
        running.notify()
        time.sleep(0.5)
        running.stop(flush_s=0.2)
        broker.signal(signal.SIGCONT)
        until(lambda: kept(broker, "leukoscope/frozen/status")["state"] == "offline", "it is offline")


def test_what_is_acknowledged_while_it_says_goodbye_does_not_come_twice(store: Store) -> None:
    """The window is full when the time for the outbox is over; the answers come after that."""

    def slow(topic: str, _: bytes) -> int:
        if "/cell/" in topic:
            time.sleep(0.05)
        return 0

    put(store, 60)
    with GrudgingBroker(puback=slow) as broker:
        with session(store, broker.port, "late") as running:
            until(lambda: len(broker.published) > 5, "it sends")
            running.stop(flush_s=0.0)
        said = [payload for topic, payload in broker.published if topic.endswith("/status")]
        sent = sum("/cell/" in topic for topic, _ in broker.published)
    assert b'"offline"' in said[-1]
    assert store.outbox_depth() == 60 - sent


def test_a_status_that_was_said_meanwhile_is_not_replaced_by_an_older_one(
    store: Store, broker: PrivateBroker, subscribe: Callable[..., Subscriber]
) -> None:
    """The session asks for the status, which waits for the database, while the daemon says a newer one."""
    subscriber = subscribe(broker)
    with session(store, broker.port, "newer") as running:
        until(lambda: subscriber.of("newer/status"), "it is online")
        asked = running.status

        def status(state: connection.State) -> Message:
            older = asked(state)
            if state == "online":
                running.publish(Message("status", '{"state": "online", "newer": true}', retain=True))
            return older

        running.status = status
        running._connection._cut()  # type: ignore[union-attr]
        until(lambda: running.connections == 2 and len(subscriber.of("newer/status")) >= 2, "it is back")
        put(store, 1)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "a turn later")
        assert kept(broker, "leukoscope/newer/status").get("newer")


def test_a_broker_without_retained_messages_or_acknowledgements_is_told_so(store: Store) -> None:
    for line, what in (("retain_available false", "retained"), ("max_qos 0", "QoS 1")):
        health = Health()
        with (
            PrivateBroker(f"allow_anonymous true\n{line}") as broker,
            session(store, broker.port, "needs", health=health),
        ):
            until(lambda health=health: codes(health) == {"broker"}, "it is refused")
            assert what in health.problems()[0].text


def test_a_connection_that_takes_long_to_fail_is_none_that_held(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that is away may take longer than the longest pause."""
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    waits: list[float] = []

    def look_up(_: connection.Connection) -> connection.Ended:
        time.sleep(1.2 * mqtt.BACKOFF_LAST_S)
        return connection.Ended("its name is not known", "no connection: its name is not known")

    monkeypatch.setattr(connection.Connection, "open", look_up)
    running = Session(
        Mqtt(), password=None, device="lost", outbox=store, status=lambda _: Message("status", "{}")
    )

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return Event.wait(running._stopping, seconds)

    monkeypatch.setattr(running._stopping, "wait", wait)
    running.start()
    until(lambda: len(waits) >= 4, "it has tried four times")
    running.stop(0)
    assert waits[:4] == pytest.approx([0.05, 0.1, 0.2, 0.2])
