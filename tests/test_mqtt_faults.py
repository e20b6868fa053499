"""A broker that freezes, refuses, flaps, babbles or begins anew; an outbox that grows too large; what is sent again."""

from __future__ import annotations

import json
import math
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from brokers import CutProxy, put, seqs, session
from grudging import GrudgingBroker
from helpers import Subscriber, until
from paho.mqtt import publish

from edge.errors import StoreUnavailable
from edge.health.problems import Health
from edge.mqtt import connection, flow, upkeep
from edge.mqtt import session as mqtt
from edge.mqtt.broker import PrivateBroker
from edge.store import Store
from edge.wire.messages import Message

Subscribe = Callable[..., Subscriber]
pytestmark = pytest.mark.usefixtures("quick")


def codes(health: Health) -> set[str]:
    return {problem.code for problem in health.problems()}


def test_a_frozen_broker_is_noticed_and_gets_everything_when_it_thaws(
    store: Store, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(flow, "ANSWER_S", 1.0)
    monkeypatch.setattr(connection, "CONNACK_S", 1.0)
    health = Health()
    with PrivateBroker() as frozen:
        subscriber = subscribe(frozen, "keeps")
        with session(store, frozen.port, "frozen", health=health) as running:
            put(store, 10)
            running.notify()
            until(lambda: len(subscriber.cells()) == 10, "some arrived")
            frozen.signal(signal.SIGSTOP)
            put(store, 50)
            running.notify()
            until(lambda: "is dead: nothing is answered" in caplog.text, "it was noticed")
            until(lambda: "does not answer" in caplog.text, "it was tried again")
            assert codes(health) == {"broker"}
            assert not running.connected
            frozen.signal(signal.SIGCONT)
            until(lambda: store.outbox_depth() == 0, "it got everything")
            until(lambda: running.connected and not health.problems(), "all is well again")
        until(lambda: len(set(seqs(subscriber))) == 60, "all arrived")
    firsts = list(dict.fromkeys(seqs(subscriber)))
    assert firsts == list(range(1, 61))


def test_a_connection_on_which_nothing_is_said_is_given_up_too_when_it_is_dead(
    store: Store, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_S", 1)
    with session(store, proxy.port, "quiet") as running:
        until(lambda: store.outbox_depth() == 0 and running.connected, "it is connected")
        proxy.passes.clear()
        until(lambda: "the connection to the broker" in caplog.text, "the silence was noticed")
        assert "Keep alive timeout" in caplog.text
        proxy.passes.set()
        put(store, 1)
        until(lambda: store.outbox_depth() == 0, "it is back")


def test_stopping_does_not_wait_for_a_dead_connection(store: Store, proxy: CutProxy) -> None:
    put(store, 2000, payload='{"seq": 1, "file": "' + "A" * 20_000 + '"}')
    with session(store, proxy.port, "stops") as running:
        until(lambda: store.outbox_depth() < 1990, "it is under way")
        proxy.passes.clear()
        threading.Timer(0.5, running.stop, (1.0,)).start()
        until(lambda: not running._thread.is_alive(), "it ended")
        proxy.passes.set()
    assert store.outbox_depth() > 0


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        (0x84, "Unsupported protocol version", 'protocol = "3.1.1"'),
        (0x85, "Client identifier not valid", "allow this device's client id"),
        (0x86, "Bad user name or password", "check [mqtt] username and the password"),
        (0x87, "Not authorized", "allow this device on the broker"),
        (0x89, "Server busy", "nothing to do but wait"),
        (0x97, "Quota exceeded", "raise this device's quota"),
        (0x9F, "Connection rate exceeded", "tries again by itself"),
    ],
)
def test_a_broker_that_refuses_the_connection_is_asked_less_and_less_often_and_it_is_said_what_to_do(
    store: Store, code: int, words: str, advice: str
) -> None:
    health = Health()
    put(store, 1)
    with (
        GrudgingBroker(connack=code) as broker,
        session(store, broker.port, "unwelcome", health=health) as running,
    ):
        until(lambda: broker.connects >= 3, "it tried again")
        ((problem_code, text, _),) = health.problems()
        assert problem_code == "broker"
        assert f"refuses the connection: {words}; " in text
        assert advice in text
        failure = running.failures()[0]
        assert failure[:2] == ("connection", words)
        assert 2 <= failure.times <= running.attempts
        assert running.connections == 0
        broker.connack = 0
        until(lambda: store.outbox_depth() == 0, "it got in")
        assert health.problems() == ()


def test_a_broker_that_throws_everyone_out_is_not_hammered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "BACKOFF_FIRST_S", 0.1)
    monkeypatch.setattr(mqtt, "BACKOFF_LAST_S", 1.6)
    health = Health()
    with GrudgingBroker(farewell=0x8E) as broker:
        begun = time.monotonic()
        with session(store, broker.port, "flaps", health=health) as running:
            until(lambda: broker.connects >= 6, "it kept trying")
            advice = "give each device a [device] name of its own"
            until(lambda: any(advice in problem.text for problem in health.problems()), "it was told why")
            lasted = time.monotonic() - begun
        # The n-th wait is 0.1 · 2ⁿ s, at most 1.6 s, and at least half of that.
        most = 1 + math.log2(2 * lasted / 0.1 + 1) + max(0.0, lasted - 1.5) / 0.8
        assert broker.connects <= most + 1
        assert running.attempts == broker.connects


def test_a_broker_that_speaks_nonsense_is_left_and_tried_again(
    store: Store, broker: PrivateBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """A PUBACK with a reason code that is none, for example, ends the thread of paho 2.1."""
    put(store, 1)
    with GrudgingBroker(puback=lambda topic, _: 0xF0 if "/cell/" in topic else 0) as babbler:
        with session(store, babbler.port, "nonsense") as running:
            until(lambda: running.attempts >= 3, "it was left and tried again")
            assert (
                "Protocol error" in caplog.text or "cannot be read" in caplog.text
            )  # as paho's version has it
        assert store.outbox_depth() == 1
    for nonsense in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\x00" * 50):
        caplog.clear()
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=babble, args=(server, nonsense))
            thread.start()
            with session(store, server.getsockname()[1], "nonsense") as running:
                until(lambda: running.attempts >= 2, "it was left and tried again")
                assert "the broker" in caplog.text
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    with session(store, broker.port, "nonsense"):
        until(lambda: store.outbox_depth() == 0, "a real one gets it")


def babble(server: socket.socket, nonsense: bytes) -> None:
    """Answers everyone with the same bytes, and hangs up."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            client.recv(1000)
            client.sendall(nonsense)


def test_a_broker_that_begins_anew_is_told_everything_that_is_retained_again(
    store: Store, subscribe: Subscribe
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        broker = first.enter_context(PrivateBroker())
        running = stack.enter_context(session(store, broker.port, "anew"))
        running.publish(Message("sample", '{"sample": "S1"}', retain=True))
        running.publish(Message("schema/cell", '{"type": "object"}', retain=True))
        discovery = Message("homeassistant/device/anew/config", '{"device": 1}', retain=True, elsewhere=True)
        running.publish(discovery)
        until(lambda: running.connected, "it is connected")
        first.close()  # the broker, and with it all that it had kept
        again = stack.enter_context(PrivateBroker(port=broker.port))
        subscriber = subscribe(again)
        topics = {
            "leukoscope/anew/status",
            "leukoscope/anew/sample",
            "leukoscope/anew/schema/cell",
            discovery.topic,
        }
        until(lambda: topics <= {message.topic for message in list(subscriber.received)}, "all is back")
        late = subscribe(again)
        until(lambda: topics <= {m.topic for m in list(late.received) if m.retained}, "and retained")


def test_what_is_put_back_is_sent_again_as_it_was_before_what_comes_later(
    store: Store, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    put(store, 100)
    with session(store, broker.port, "replay") as running:
        until(lambda: store.outbox_depth() == 0, "all was acknowledged")
        until(lambda: len(subscriber.cells()) == 100, "all arrived")
        first = subscriber.cells()
        with store.write() as write:
            assert write.replay(11, 60) == 50
            assert write.replay(200, 300) == 0
        put(store, 5)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "all was acknowledged")
        until(lambda: len(subscriber.cells()) == 155, "it came again")
    assert subscriber.cells()[100:150] == first[10:60]
    assert seqs(subscriber)[150:] == [101, 102, 103, 104, 105]


def test_replayed_without_a_connection_it_is_sent_with_the_next_one(
    store: Store, broker: PrivateBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(broker)
    put(store, 10)
    with session(store, broker.port, "later"):
        until(lambda: store.outbox_depth() == 0, "all was acknowledged")
    with store.write() as write:
        write.replay(1, 5)
    with session(store, broker.port, "later"):
        until(lambda: store.outbox_depth() == 0, "all was acknowledged again")
    until(lambda: len(subscriber.cells()) == 15, "it came again")
    assert seqs(subscriber)[10:] == [1, 2, 3, 4, 5]


def test_an_outbox_beyond_its_limit_gives_up_pictures_and_says_so_and_no_result(
    store: Store, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "MEGABYTE", 30_000)
    monkeypatch.setattr(upkeep, "TIDY_S", 0.1)
    health = Health()
    with PrivateBroker() as gone:
        pass
    with session(store, gone.port, "full", health=health, outbox_mb=1):
        for _ in range(40):
            put(store, 1, "cell/flagged", json.dumps({"seq": store.last_seq + 1, "thumbnail": "A" * 5000}))
        until(lambda: store.outbox_state().bytes <= 30_000, "pictures were given up")
        until(lambda: codes(health) == {"broker", "outbox_pictures"}, "it was told")
        assert "waiting messages lost their pictures" in caplog.text
        put(store, 1000, payload='{"seq": 0, "file": "' + "A" * 100 + '"}')
        until(lambda: "outbox_full" in codes(health), "results alone are too much")
        assert store.outbox_depth() == 1040
        with PrivateBroker(port=gone.port) as back:
            subscriber = subscribe(back)
            until(lambda: store.outbox_depth() == 0, "the broker got everything")
            until(lambda: not health.problems(), "all is well again")
            assert store.outbox_state().bytes <= 30_000, "what it has goes first now"
            until(lambda: len(subscriber.cells()) == 1040, "all arrived")
    kept = [said["seq"] for said in subscriber.cells() if "thumbnail" in said]
    assert kept == list(range(41 - len(kept), 41)), "the newest pictures were kept"
    assert store.outbox_state().pictures_dropped == 40 - len(kept)


def test_another_topic_can_be_listened_to(store: Store, broker: PrivateBroker) -> None:
    heard: list[bytes] = []
    with session(store, broker.port, "listens", listeners={"other/status": heard.append}) as running:

        def told() -> bool:
            publish.single("other/status", b"online", qos=1, hostname=broker.host, port=broker.port)
            return bool(heard)

        until(told, "it was heard")
        assert heard[0] == b"online"
        assert running.next_request() is None


class FullStore(Store):
    """A database on a disk that is full while `full` is set: it can be read, and nothing can be written."""

    full = False

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self.full:
            raise StoreUnavailable("no space left on device")
        with super()._transaction() as connection:
            yield connection


def test_a_full_disk_does_not_keep_the_broker_from_getting_what_waits_once(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "TIDY_S", 0.2)
    subscriber = subscribe(broker)
    with FullStore(tmp_path / "full") as store:
        put(store, 100)
        store.full = True
        with session(store, broker.port, "full") as running:
            until(lambda: len(subscriber.cells()) == 100, "all was sent")
            time.sleep(0.5)
            assert running.connections <= 2, "it does not begin again and again"
            store.full = False
            until(lambda: store.outbox_depth() == 0, "it was written down when there was room")
    assert seqs(subscriber) == list(range(1, 101))
