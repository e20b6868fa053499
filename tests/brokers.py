"""What tests of the broker's session share: sessions, messages to send, and a connection that can be cut."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers import Subscriber

from edge.config import Mqtt
from edge.health.problems import Health
from edge.mqtt.connection import State
from edge.mqtt.session import Session
from edge.store import Store
from edge.wire.messages import Message, Model, Stamp, status_message

MODEL = Model("cnn-int8", "ab" * 32, 0.85)


@contextmanager
def session(
    store: Store,
    port: int,
    device: str,
    *,
    password: str | None = None,
    health: Health | None = None,
    listeners: Mapping[str, Callable[[bytes], None]] | None = None,
    **settings: object,
) -> Iterator[Session]:
    """A session with the broker at a port, of 127.0.0.1 unless the settings say otherwise."""

    def status(state: State) -> Message:
        stamp = Stamp(device, store.boot_id, store.last_seq, f"{store.boot_id}-{state}")
        return status_message(stamp, state, version="0.1.0", model=MODEL)

    running = Session(
        Mqtt.model_validate({"host": "127.0.0.1", "port": port, **settings}),
        password=password,
        device=device,
        outbox=store,
        status=status,
        health=health,
    )
    for topic, heard in (listeners or {}).items():
        running.listen(topic, heard)
    running.start()
    try:
        yield running
    finally:
        running.stop(flush_s=10)
        running.raise_failure()


def put(store: Store, count: int, topic: str = "cell/accepted", payload: str = "") -> None:
    """Put messages in the outbox."""
    with store.write() as write:
        for _ in range(count):
            ticket = write.ticket()
            text = payload or f'{{"seq": {ticket.seq}, "id": "{ticket.id}"}}'
            write.message(ticket, topic, text)


def seqs(subscriber: Subscriber) -> list[int]:
    """The numbers of the cells that arrived, in the order of their coming."""
    return [payload["seq"] for payload in subscriber.cells()]


class CutProxy:
    """A TCP connection to the broker that can be cut at any byte, as a radio link is.

    Attributes:
        lets_in: whether new connections are taken.
        connections: how many were taken.
        passes: while it is not set nothing gets through, and nobody is told, as behind a firewall.
    """

    def __init__(self, port: int) -> None:
        self.lets_in = True
        self.connections = 0
        self.passes = threading.Event()
        self.passes.set()
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
                self.passes.wait()
                sink.sendall(data)
        _end(source, sink)

    def cut(self) -> None:
        """End all connections that there are."""
        for pair in self._pairs:
            _end(*pair)

    def close(self) -> None:
        """End all, and take no more."""
        self.passes.set()
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


def websockets() -> tuple[str, int]:
    """Mosquitto's lines that make the listener before them one for WebSockets, and the port of a plain one after it.

    Mosquitto 2.0.11, which Debian 12 has, does not start where it has nothing but WebSockets to listen to.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"protocol websockets\nlistener {port} 127.0.0.1", port


def readable(*paths: Path) -> None:
    """Mosquitto, started by root, reads its files as another user."""
    for path in paths:
        path.chmod(0o644)
        for parent in path.parents:
            if os.access(parent, os.W_OK) and parent.stat().st_uid == os.getuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o755)
