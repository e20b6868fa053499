"""A session with the broker: messages come in to be kept, and are acknowledged when they are."""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Mqtt, password
from edge.mqtt.client import tls_context
from fleet.inbox import LARGEST

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
WAITING = 2000
"""Messages beside the count that wait to be written at most; the newest of a device is worth all before it."""


class Received(NamedTuple):
    """A message as it came.

    Attributes:
        topic: the whole of it.
        payload: its bytes.
        mid: the broker's number for its acknowledgement.
        qos: 0: it needs none.
        origin: where it came from.
        connection: which connection of that: what came on an earlier one the broker sends again.
    """

    topic: str
    payload: bytes
    mid: int
    qos: int
    origin: Subscription
    connection: int

    def acknowledge(self) -> None:
        """Tell the broker that it is kept."""
        self.origin.acknowledge(self)


class Subscription:
    """A session with the broker that hands on what comes; connects, and stays connected.

    Args:
        settings: the broker.
        name: the client's.
        inbox: where messages go.
        window: unacknowledged messages that the broker may send.
        kept_s: how long the broker keeps the session, and what comes for it, after the connection ended.

    Raises:
        ConfigError: a certificate or the password cannot be read.
    """

    def __init__(
        self, settings: Mqtt, *, name: str, inbox: queue.SimpleQueue[Received], window: int, kept_s: int
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._window = window
        self._kept_s = kept_s
        self._connection = 0
        self._topics: dict[str, int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5, manual_ack=True)
        if settings.username is not None:
            self._client.username_pw_set(settings.username, password(settings))
        if (context := tls_context(settings)) is not None:
            self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda _c, _u: log.warning(
            "the broker cannot be reached; trying again"
        )
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._on_subscribe(reasons)
        self._client.on_message = self._on_message

    def open(self) -> None:
        """Begin to connect; returns at once, and a broker that is away is waited for."""
        self._client.reconnect_delay_set(1, 60)
        session = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=self._kept_s,
            ReceiveMaximum=min(self._window, 65535),
            MaximumPacketSize=LARGEST + 1024,
        )
        host, port = self._settings.host, self._settings.port
        self._client.connect_async(host, port, KEEPALIVE_S, clean_start=self._kept_s == 0, properties=session)
        self._client.loop_start()

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether the broker has let it in."""
        return self._connection > 0 and self._client.is_connected()

    def listen(self, topics: Mapping[str, int]) -> None:
        """Subscribe to topics, each with its quality of service, now and at each connection."""
        new = {topic: qos for topic, qos in topics.items() if topic not in self._topics}
        self._topics.update(new)
        if new and self._client.is_connected():
            self._client.subscribe(list(new.items()))

    def acknowledge(self, message: Received) -> None:
        """Tell the broker that a message is kept. What came on an earlier connection comes again anyway."""
        if message.qos and message.connection == self._connection:
            self._client.ack(message.mid, message.qos)

    def publish(self, topic: str, payload: str, *, response: str) -> None:
        """Send a command; the answer goes to the topic `response`."""
        where = _properties(PacketTypes.PUBLISH, ResponseTopic=response)
        self._client.publish(topic, payload, qos=1, properties=where)

    def _on_connect(
        self, client: paho.Client, _u: object, _f: object, reason: ReasonCode, _p: object
    ) -> None:
        """Runs in paho's thread, as what follows."""
        if reason.is_failure:
            log.warning("the broker refuses the connection: %s", reason)
            return
        self._connection += 1
        if self._topics:
            client.subscribe(list(self._topics.items()))
        log.info("connected to the broker at %s:%s", self._settings.host, self._settings.port)

    def _on_disconnect(self, _c: object, _u: object, _f: object, reason: ReasonCode, _p: object) -> None:
        if reason.is_failure:
            log.warning("the connection to the broker ended: %s", reason)

    def _on_subscribe(self, reasons: Sequence[ReasonCode]) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.warning("the broker does not let this collector listen to everything: %s", refused[0])

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        if message.qos == 0 and self._inbox.qsize() > WAITING:
            return
        payload = bytes(message.payload)
        self._inbox.put(Received(message.topic, payload, message.mid, message.qos, self, self._connection))


def take(inbox: queue.SimpleQueue[Received], most: int, timeout_s: float) -> list[Received]:
    """What has come, up to `most` messages; waits for the first one for `timeout_s` seconds."""
    taken: list[Received] = []
    try:
        taken.append(inbox.get(timeout=timeout_s))
        while len(taken) < most:
            taken.append(inbox.get_nowait())
    except queue.Empty:
        pass
    return taken


def _properties(packet_type: int, **values: Any) -> Properties:
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
