"""The broker session against a real Mosquitto: order, status, cuts, restarts, the end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from brokers import CutProxy, put, seqs, session
from helpers import Subscriber, until

from edge.config import Mqtt
from edge.errors import StoreError
from edge.mqtt import connection, flow
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.session import Session
from edge.store import Store
from edge.wire.messages import Message

Subscribe = Callable[..., Subscriber]
pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_outbox_arrives_in_order_and_is_emptied(
    store: Store, broker: PrivateBroker, subscribe: Subscribe, protocol: str
) -> None:
    device = f"order-{protocol[0]}"
    subscriber = subscribe(broker)
    put(store, 70)
    with session(store, broker.port, device, protocol=protocol) as running:
        until(lambda: len(subscriber.cells()) == 70, "what was there before arrived")
        put(store, 30)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "all was acknowledged")
    subscriber.catch_up()
    assert seqs(subscriber) == list(range(1, 101))
    assert {each.topic for each in subscriber.received if "/cell/" in each.topic} == {
        f"leukoscope/{device}/cell/accepted"
    }


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_status_is_retained_online_at_each_connection_and_offline_at_the_end(
    store: Store, broker: PrivateBroker, subscribe: Subscribe, protocol: str
) -> None:
    device = f"status-{protocol[0]}"
    topic = f"leukoscope/{device}/status"
    with session(store, broker.port, device, protocol=protocol):
        watcher = subscribe(broker)
        until(lambda: [m for m in watcher.received if m.topic == topic], "status arrived")
        first = next(message for message in watcher.received if message.topic == topic)
        assert first.payload["state"] == "online"
        assert first.payload["boot_id"] == store.boot_id
    watcher.catch_up()
    late = subscribe(broker)
    until(lambda: [m for m in late.received if m.topic == topic], "status was retained")
    last = [message for message in late.received if message.topic == topic][-1]
    assert last.retained
    assert last.payload["state"] == "offline"


def test_a_connection_cut_again_and_again_loses_nothing(
    store: Store, broker: PrivateBroker, subscribe: Subscribe, proxy: CutProxy
) -> None:
    subscriber = subscribe(broker)
    with session(store, proxy.port, "cut") as running:
        for cuts in range(1, 11):
            put(store, 40)
            running.notify()
            until(lambda wanted=20 * cuts: len(set(seqs(subscriber))) >= wanted, "some more arrived")
            proxy.cut()
        until(lambda: store.outbox_depth() == 0, "all was acknowledged")
    subscriber.catch_up()
    by_seq = {payload["seq"]: payload["id"] for payload in subscriber.cells()}
    assert sorted(by_seq) == list(range(1, 401))
    assert len({payload["id"] for payload in subscriber.cells()}) == 400, "a repeat bears the same id"
    firsts = list(dict.fromkeys(seqs(subscriber)))
    assert firsts == sorted(firsts), "a repeat never lets a later message overtake"
    repeats = len(subscriber.cells()) - 400
    assert repeats <= proxy.connections * flow.WINDOW
    assert proxy.connections >= 3, "the cuts hit"


def test_a_restarted_broker_gets_what_it_missed_and_what_is_retained(
    store: Store, subscribe: Subscribe
) -> None:
    with ExitStack() as stack:
        first = PrivateBroker()
        first.open()
        stack.callback(first.close)
        running = stack.enter_context(session(store, first.port, "restart"))
        running.publish(Message("sample", '{"sample": "S1"}', retain=True))
        put(store, 5)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "the first broker has it")
        first.close()
        put(store, 5)
        running.notify()
        second = stack.enter_context(PrivateBroker(port=first.port))
        subscriber = subscribe(second)
        until(lambda: store.outbox_depth() == 0, "the second broker has the rest")
        until(lambda: subscriber.of("/sample") and subscriber.of("/status"), "what is retained is back")
        subscriber.catch_up()
        assert set(seqs(subscriber)) <= {6, 7, 8, 9, 10}, "what was acknowledged is not sent again"


def test_a_device_that_is_soon_back_was_never_offline(
    store: Store,
    broker: PrivateBroker,
    subscribe: Subscribe,
    proxy: CutProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "WILL_DELAY_S", 4)
    with session(store, proxy.port, "flap") as running:
        subscriber = subscribe(broker)
        until(lambda: subscriber.of("flap/status"), "it is online")
        proxy.cut()
        until(lambda: proxy.connections == 2, "it is back")
        put(store, 1)
        running.notify()
        until(lambda: subscriber.cells(), "it works")
        time.sleep(5)  # a will that the reconnection did not call off would be spoken by now
        subscriber.catch_up()
        assert {payload["state"] for payload in subscriber.of("flap/status")} == {"online"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_device_that_vanishes_is_reported_offline_by_its_will(
    store: Store,
    broker: PrivateBroker,
    subscribe: Subscribe,
    proxy: CutProxy,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "WILL_DELAY_S", 1)
    device = f"gone-{protocol[0]}"
    with session(store, proxy.port, device, protocol=protocol):
        subscriber = subscribe(broker)
        until(lambda: subscriber.of(f"{device}/status"), "it is online")
        proxy.lets_in = False
        proxy.cut()
        until(lambda: subscriber.last(f"{device}/status").get("state") == "offline", "the will was spoken")
        assert subscriber.of(f"{device}/status")[-1]["boot_id"] == store.boot_id
        proxy.lets_in = True
        until(lambda: subscriber.last(f"{device}/status").get("state") == "online", "it is back")


def test_nothing_beside_the_outbox_is_kept_for_a_broker_that_is_away_unless_retained(
    store: Store, broker: PrivateBroker, subscribe: Subscribe, proxy: CutProxy
) -> None:
    subscriber = subscribe(broker)
    proxy.lets_in = False
    with session(store, proxy.port, "away") as running:
        running.publish(Message("metrics", "{}", qos=0))
        running.publish(Message("sample", '{"n": 1}', retain=True))
        running.publish(Message("sample", '{"n": 2}', retain=True))
        proxy.lets_in = True
        until(lambda: subscriber.of("away/sample"), "the sample arrived")
        running.publish(Message("metrics", '{"now": true}', qos=0))
        until(lambda: subscriber.of("away/metrics"), "metrics arrived")
    subscriber.catch_up()
    assert subscriber.of("away/sample") == [{"n": 2}]
    assert subscriber.of("away/metrics") == [{"now": True}]


def test_stopping_without_a_broker_waits_for_none(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    put(store, 3)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with session(store, unheard.getsockname()[1], "alone"):
            until(lambda: "no connection to the broker" in caplog.text, "the failure was told")
    assert store.outbox_depth() == 3


def test_a_database_that_fails_ends_the_session_with_its_error(tmp_path: Path, broker: PrivateBroker) -> None:
    store = Store(tmp_path / "db")
    store.open()
    put(store, 1)
    store.close()
    failing = Session(
        Mqtt(host=broker.host, port=broker.port),
        password=None,
        device="failing",
        outbox=store,
        status=lambda _: Message("status", "{}", retain=True),
    )
    failing.start()
    failing.stop(1)
    with pytest.raises(StoreError, match="not open"):
        failing.raise_failure()
