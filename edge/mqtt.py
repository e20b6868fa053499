"""The broker session: connects, empties the outbox, keeps what is retained up to date.

One thread decides everything; paho's own thread only hands it events. Each connection gets a fresh paho
client, because paho's memory of unacknowledged messages dies with the process, and would resend beside the
outbox. So there is one such memory, the outbox. Nothing is given to paho without a connection, and a message
that is sent twice, because its acknowledgement was lost, bears the same id.
"""

from __future__ import annotations

import logging
import queue
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Mqtt
from edge.errors import ConfigError
from edge.messages import Message
from edge.store import Outgoing

log = logging.getLogger(__name__)

WINDOW = 20
"""Unacknowledged messages in flight at most; what Mosquitto takes by default."""
KEEPALIVE_S = 30
CONNACK_S = 10.0
OFFLINE_S = 2.0
WILL_DELAY_S = 15
"""With MQTT 5, a device that is back within this time was never reported offline."""
BACKOFF_FIRST_S, BACKOFF_LAST_S = 1.0, 60.0
REFUSED_RETRY_S = 60.0
"""What a broker refused (an access rule, a quota) is offered again this much later."""
MARK_S = 1.0
"""Acknowledgements are written to the outbox together, at most this much later: cards wear."""

State = Literal["online", "offline"]


class Outbox(Protocol):
    """Where messages wait until the broker has them."""

    def pending(self, after: int, limit: int) -> list[Outgoing]:
        """Unacknowledged messages numbered above `after`, in order."""

    def published(self, seqs: Sequence[int], *, at: datetime) -> None:
        """These are acknowledged."""


class Session:
    """Publishes for one device, whatever the broker does.

    Args:
        settings: the broker.
        password: for `settings.username`, or None.
        device: names the client and the topics.
        outbox: what must not be lost.
        status: makes the `status` message; asked at each connection, for `online` and for the will.

    Raises:
        ConfigError: a certificate cannot be read.
    """

    def __init__(
        self,
        settings: Mqtt,
        *,
        password: str | None,
        device: str,
        outbox: Outbox,
        status: Callable[[State], Message],
    ) -> None:
        self.settings = settings
        self.password = password
        self.client_id = f"leukoscope-{device}"
        self.root = f"{settings.prefix}/{device}/"
        self.outbox = outbox
        self.status = status
        self.tls = tls_context(settings)
        self._lock = threading.Lock()
        self._retained: dict[str, Message] = {}
        self._fresh: dict[str, Message] = {}
        self._connection: _Connection | None = None
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect. Returns at once; a broker that is away is waited for."""
        self._thread.start()

    def stop(self, flush_s: float) -> None:
        """Publish what the outbox holds, say `offline`, disconnect.

        Args:
            flush_s: time for the outbox at most; what is left stays in it. Without a connection none of it
                is waited for.
        """
        self._deadline = time.monotonic() + flush_s
        self._stopping.set()
        self.notify()
        self._thread.join()

    def notify(self) -> None:
        """Say that the outbox has something new."""
        with self._lock:
            if self._connection is not None:
                self._connection.events.put(_Event("news"))

    def publish(self, message: Message) -> None:
        """Publish beside the outbox; a newer message of the same topic takes an unsent one's place.

        A retained message is published after each connection anew; another is lost while there is none.
        """
        with self._lock:
            self._fresh[message.topic] = message
            if message.retain:
                self._retained[message.topic] = message
        self.notify()

    def raise_failure(self) -> None:
        """Raise what ended the session's thread, a StoreError for example; nothing while it is well."""
        if self._failure is not None:
            raise self._failure

    def next_fresh(self) -> Message | None:
        """Take the next message beside the outbox. For the connection."""
        with self._lock:
            return self._fresh.pop(next(iter(self._fresh))) if self._fresh else None

    def left_s(self) -> float | None:
        """None while the session goes on; once it is to stop, the seconds left for the outbox."""
        return max(0.0, self._deadline - time.monotonic()) if self._stopping.is_set() else None

    def _run(self) -> None:
        delay = BACKOFF_FIRST_S
        try:
            while not self._stopping.is_set():
                begun = time.monotonic()
                self._connect_once()
                if time.monotonic() - begun > BACKOFF_LAST_S:
                    delay = BACKOFF_FIRST_S  # it had held: what ended it is a new matter
                # The jitter keeps a ward's devices from coming back all at once.
                self._stopping.wait(delay * random.uniform(0.5, 1))
                delay = min(2 * delay, BACKOFF_LAST_S)
        except Exception as error:  # noqa: BLE001 - raised again by `raise_failure`
            self._failure = error

    def _connect_once(self) -> None:
        connection = _Connection(self)
        try:
            if not connection.open():
                return
            self.publish(self.status("online"))
            with self._lock:
                self._connection = connection
                self._fresh = dict(self._retained)  # what else was said before is old news by now
            connection.run()
        finally:
            with self._lock:
                self._connection = None
                self._fresh.clear()
            connection.close()


class _Event(NamedTuple):
    """What the session's thread is told by paho's, or by whoever has something new."""

    kind: Literal["connected", "disconnected", "acknowledged", "news"]
    reason: ReasonCode | None = None
    mid: int = 0
    properties: Properties | None = None


class _Connection:
    """One connection, from CONNECT to its end; its methods run in the session's thread."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._client = self._make_client()
        self._window = WINDOW
        self._largest = float("inf")
        self._in_flight: dict[int, int | None] = {}  # paho's message number → ours; None: beside the outbox
        self._cursor = 0  # the highest number that was taken from the outbox
        self._acknowledged: list[int] = []
        self._mark_at = self._retry_at = float("inf")

    def _make_client(self) -> paho.Client:
        session, five = self.session, self.session.settings.protocol == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            session.client_id,
            clean_session=None if five else True,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        will = session.status("offline")
        delay = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if five else None
        client.will_set(session.root + will.topic, will.payload, will.qos, will.retain, delay)
        if session.settings.username is not None:
            client.username_pw_set(session.settings.username, session.password)
        if session.tls is not None:
            client.tls_set_context(session.tls)
        put = self.events.put
        client.on_connect = lambda _c, _u, _f, reason, properties: put(
            _Event("connected", reason, properties=properties)
        )
        client.on_disconnect = lambda _c, _u, _f, reason, _p: put(_Event("disconnected", reason))
        client.on_publish = lambda _c, _u, mid, reason, _p: put(_Event("acknowledged", reason, mid))
        return client

    def open(self) -> bool:
        """Connect; False, after a warning, where that failed."""
        settings = self.session.settings
        where = f"{settings.host}:{settings.port}"
        resume: dict[str, Any] = {}
        if settings.protocol == "5":
            # The broker ends a session, and speaks the will, at the session's expiry at the latest.
            expiry = _properties(PacketTypes.CONNECT, SessionExpiryInterval=WILL_DELAY_S)
            resume = {"clean_start": False, "properties": expiry}
        try:
            self._client.connect(settings.host, settings.port, KEEPALIVE_S, **resume)
        except (OSError, UnicodeError) as error:  # a name that DNS cannot hold is a UnicodeError
            log.warning("no connection to the broker at %s: %s", where, str(error))
            return False
        self._client.loop_start()
        try:
            event = self.events.get(timeout=CONNACK_S)
        except queue.Empty:
            log.warning("the broker at %s does not answer", where)
            return False
        if event.kind != "connected" or event.reason is None or event.reason.is_failure:
            log.warning("the broker at %s refuses the connection: %s", where, event.reason)
            return False
        self._window = min(WINDOW, getattr(event.properties, "ReceiveMaximum", WINDOW))
        self._largest = getattr(event.properties, "MaximumPacketSize", self._largest)
        log.info("connected to the broker at %s", where)
        return True

    def run(self) -> None:
        """Publish until the connection ends or the session stops."""
        while self._fill():
            left = self.session.left_s()
            if left is not None and (left == 0 or not self._in_flight):
                self._say_offline()
                return
            # What was refused is offered again once nothing is in flight: an acknowledgement wakes us then.
            wakes = min(self._mark_at, self._retry_at if not self._in_flight else self._mark_at)
            wakes -= time.monotonic()
            event = self._next_event(min(wakes, KEEPALIVE_S if left is None else left))
            if event is not None and event.kind == "disconnected":
                log.warning("the connection to the broker ended: %s", event.reason)
                return
            self._take(event)
            if time.monotonic() >= self._mark_at:
                self._mark()

    def close(self) -> None:
        """End the connection, and write down what was acknowledged on it."""
        self._client.disconnect()
        self._client.loop_stop()
        self._mark()

    def _next_event(self, timeout_s: float) -> _Event | None:
        try:
            return self.events.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def _take(self, event: _Event | None) -> None:
        """Deal with an acknowledgement; other events only wake."""
        if event is None or event.mid not in self._in_flight:
            return
        seq = self._in_flight.pop(event.mid)
        if event.reason is not None and event.reason.is_failure:
            self._refused(str(event.reason))
        elif seq is not None:
            self._acknowledged.append(seq)
            self._mark_at = min(self._mark_at, time.monotonic() + MARK_S)

    def _refused(self, reason: str) -> None:
        if self._retry_at == float("inf"):
            log.warning("the broker refuses messages (%s); they stay in the outbox", reason)
            self._retry_at = time.monotonic() + REFUSED_RETRY_S

    def _mark(self) -> None:
        self._mark_at = float("inf")
        if self._acknowledged:
            self.session.outbox.published(self._acknowledged, at=datetime.now(UTC))
            self._acknowledged = []

    def _fill(self) -> bool:
        """Publish what there is and the window allows; False where the connection turns out to be lost."""
        if time.monotonic() >= self._retry_at and not self._in_flight:
            self._mark()  # or what was acknowledged just now would be taken again
            self._cursor, self._retry_at = 0, float("inf")
        while len(self._in_flight) < self._window and (message := self.session.next_fresh()):
            if not self._send(message, None):
                return False
        for row in self.session.outbox.pending(self._cursor, self._window - len(self._in_flight)):
            self._cursor = row.seq
            if len(row.payload.encode()) > self._largest - len(row.topic) - 256:
                self._refused("larger than it takes")
            elif not self._send(Message(row.topic, row.payload), row.seq):
                return False
        return True

    def _send(self, message: Message, seq: int | None) -> bool:
        info = self._client.publish(
            self.session.root + message.topic, message.payload, message.qos, message.retain
        )
        if info.rc == paho.MQTT_ERR_SUCCESS and message.qos:
            self._in_flight[info.mid] = seq
        return info.rc == paho.MQTT_ERR_SUCCESS

    def _say_offline(self) -> None:
        self._in_flight.clear()
        if self._send(self.session.status("offline"), None):
            until = time.monotonic() + OFFLINE_S
            while self._in_flight and time.monotonic() < until:
                self._take(self._next_event(until - time.monotonic()))


def _properties(packet_type: int, **values: int) -> Properties:
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def tls_context(settings: Mqtt) -> ssl.SSLContext | None:
    """What an encrypted connection trusts and shows; None for a plain one.

    Raises:
        ConfigError: a certificate or key cannot be read.
    """
    tls = settings.tls
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(file) for file in (tls.ca, tls.certificate, tls.key) if file is not None)
        raise ConfigError(f"[mqtt.tls] {files}: {error.strerror or error}") from error
    return context
