"""The broker session against a real Mosquitto: cut, killed, refusing, encrypted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from helpers import Subscriber, until

from edge import mqtt as module
from edge.broker import PrivateBroker
from edge.config import Mqtt, Tls
from edge.errors import ConfigError, StoreError
from edge.messages import Message, Model, Stamp, status_message
from edge.mqtt import Session, State
from edge.store import Store

Subscribe = Callable[..., Subscriber]
MODEL = Model("cnn-int8", "ab" * 32, 0.85)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what is long for the sake of brokers, not of correctness."""
    monkeypatch.setattr(module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(module, "BACKOFF_LAST_S", 0.2)
    monkeypatch.setattr(module, "MARK_S", 0.1)


@contextmanager
def session(
    store: Store, port: int, device: str, *, password: str | None = None, **settings: object
) -> Iterator[Session]:
    def status(state: State) -> Message:
        stamp = Stamp(device, store.boot_id, store.last_seq, f"{store.boot_id}-{state}")
        return status_message(stamp, state, version="0.1.0", model=MODEL)

    running = Session(
        Mqtt.model_validate({"host": "127.0.0.1", "port": port, **settings}),
        password=password,
        device=device,
        outbox=store,
        status=status,
    )
    running.start()
    try:
        yield running
    finally:
        running.stop(flush_s=10)
        running.raise_failure()


def put(store: Store, count: int, topic: str = "cell/accepted", payload: str = "") -> None:
    with store.write() as write:
        for _ in range(count):
            ticket = write.ticket()
            text = payload or f'{{"seq": {ticket.seq}, "id": "{ticket.id}"}}'
            write.message(ticket, topic, text)


def seqs(subscriber: Subscriber) -> list[int]:
    return [payload["seq"] for payload in subscriber.cells()]


class CutProxy:
    """A TCP connection to the broker that can be cut at any byte, as a radio link is."""

    def __init__(self, port: int) -> None:
        self.lets_in = True
        self.connections = 0
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.lets_in:
                near.close()
                continue
            self.connections += 1
            far = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((near, far))
            for pair in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._forward, args=pair))
                self._threads[-1].start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(500):
                sink.sendall(data)
        _end(source, sink)

    def cut(self) -> None:
        for pair in self._pairs:
            _end(*pair)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(broker: PrivateBroker) -> Iterator[CutProxy]:
    running = CutProxy(broker.port)
    yield running
    running.close()


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
    by_seq = {payload["seq"]: payload["id"] for payload in subscriber.cells()}
    assert sorted(by_seq) == list(range(1, 401))
    assert len({payload["id"] for payload in subscriber.cells()}) == 400, "a repeat bears the same id"
    firsts = list(dict.fromkeys(seqs(subscriber)))
    assert firsts == sorted(firsts), "a repeat never lets a later message overtake"
    repeats = len(subscriber.cells()) - 400
    assert repeats <= proxy.connections * module.WINDOW
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
        assert set(seqs(subscriber)) <= {6, 7, 8, 9, 10}, "what was acknowledged is not sent again"


def test_a_device_that_is_soon_back_was_never_offline(
    store: Store,
    broker: PrivateBroker,
    subscribe: Subscribe,
    proxy: CutProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WILL_DELAY_S", 1)
    with session(store, proxy.port, "flap") as running:
        subscriber = subscribe(broker)
        until(lambda: subscriber.of("flap/status"), "it is online")
        proxy.cut()
        until(lambda: proxy.connections == 2, "it is back")
        put(store, 1)
        running.notify()
        until(lambda: subscriber.cells(), "it works")
        time.sleep(2)  # a will that the reconnection did not call off would be spoken by now
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
    monkeypatch.setattr(module, "WILL_DELAY_S", 1)
    device = f"gone-{protocol[0]}"
    with session(store, proxy.port, device, protocol=protocol):
        subscriber = subscribe(broker)
        until(lambda: subscriber.of(f"{device}/status"), "it is online")
        proxy.lets_in = False
        proxy.cut()
        until(lambda: subscriber.of(f"{device}/status")[-1]["state"] == "offline", "the will was spoken")
        assert subscriber.of(f"{device}/status")[-1]["boot_id"] == store.boot_id
        proxy.lets_in = True
        until(lambda: subscriber.of(f"{device}/status")[-1]["state"] == "online", "it is back")


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
    assert subscriber.of("away/sample") == [{"n": 2}]
    assert subscriber.of("away/metrics") == [{"now": True}]


def readable(*paths: Path) -> None:
    """Mosquitto, started by root, reads its files as another user."""
    for path in paths:
        path.chmod(0o644)
        for parent in path.parents:
            if os.access(parent, os.W_OK) and parent.stat().st_uid == os.getuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o755)


def test_what_the_broker_refuses_stays_and_is_offered_again(
    store: Store,
    subscribe: Subscribe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "REFUSED_RETRY_S", 0.5)
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write leukoscope/+/status\ntopic write leukoscope/+/cell/accepted\n")
    readable(acl)
    with PrivateBroker(f"allow_anonymous true\nacl_file {acl}") as strict:
        subscriber = subscribe(strict)
        put(store, 30, "cell/flagged")
        put(store, 30)
        with session(store, strict.port, "refused"):
            until(lambda: store.outbox_depth() == 30, "the accepted ones went past the refused ones")
            assert "the broker refuses messages" in caplog.text
            assert set(seqs(subscriber)) == set(range(31, 61))
            acl.write_text("topic readwrite #\n")
            strict.reload()
            until(lambda: store.outbox_depth() == 0, "the refused ones were offered again")
    assert set(seqs(subscriber)) == set(range(1, 61))


def test_a_message_larger_than_the_broker_takes_does_not_stop_the_others(
    store: Store, subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    with PrivateBroker("allow_anonymous true\nmax_packet_size 4000") as small:
        subscriber = subscribe(small)
        put(store, 1, payload='{"seq": 1, "thumbnail": "' + "A" * 5000 + '"}')
        put(store, 3)
        with session(store, small.port, "small"):
            until(lambda: store.outbox_depth() == 1, "the others arrived")
    assert seqs(subscriber) == [2, 3, 4]
    assert "larger than it takes" in caplog.text


def test_a_wrong_password_is_told_and_the_right_one_gets_in(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run(["mosquitto_passwd", "-b", passwords, "pi", "right"], check=True, capture_output=True)
    readable(passwords)
    put(store, 1)
    with PrivateBroker(f"allow_anonymous false\npassword_file {passwords}") as locked:
        with session(store, locked.port, "locked", username="pi", password="wrong"):
            until(lambda: "refuses the connection: Not authorized" in caplog.text, "the refusal was told")
        assert store.outbox_depth() == 1
        assert "wrong" not in caplog.text
        with session(store, locked.port, "locked", username="pi", password="right"):
            until(lambda: store.outbox_depth() == 0, "it got in")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")  # paho leaves a refused one open
def test_tls_trusts_its_authority_and_no_other(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("own", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True,
        )  # fmt: skip
    readable(tmp_path / "own.key", tmp_path / "own.pem")
    put(store, 1)
    lines = f"allow_anonymous true\ncertfile {tmp_path / 'own.pem'}\nkeyfile {tmp_path / 'own.key'}"
    with PrivateBroker(lines) as encrypted:
        with session(store, encrypted.port, "tls", tls=Tls(ca=tmp_path / "other.pem")):
            until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "the stranger was turned away")
        assert store.outbox_depth() == 1
        with session(store, encrypted.port, "tls", tls=Tls(ca=tmp_path / "own.pem")):
            until(lambda: store.outbox_depth() == 0, "it got through")


def test_a_missing_certificate_is_one_sentence(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"\[mqtt.tls\] /nowhere/ca.pem: No such file"):
        Session(
            Mqtt(tls=Tls(ca=Path("/nowhere/ca.pem"))),
            password=None,
            device="x",
            outbox=store,
            status=lambda _: Message("status", "{}"),
        )


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
