"""One connection to the broker: the outbox is emptied, commands come in.

The session's thread decides everything; paho's own thread only hands it events. Each connection gets a fresh
paho client, because paho's memory of unacknowledged messages dies with the process, and would resend beside
the outbox. So there is one such memory, the outbox. Nothing is given to paho without a connection, and a
message that is sent twice, because its acknowledgement was lost, bears the same id.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.mqtt.client import Client, Event, properties_of, resuming
from edge.mqtt.flow import WINDOW, Flow
from edge.mqtt.words import advice, unreachable
from edge.wire.messages import Request

if TYPE_CHECKING:
    from edge.mqtt.session import Session

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
"""A connection on which nothing comes is tried after this time, and given up after twice as long."""
CONNACK_S = 10.0
OFFLINE_S = 2.0
CLOSE_S = 1.0
"""The time that a goodbye may take. A connection that is dead, but not closed, is cut then."""
WILL_DELAY_S = 15
"""With MQTT 5, a device that is back within this time was never reported offline."""
LARGEST_KEPT = 64 * 1024
"""Bytes: of a larger command only its size is kept. A broker of MQTT 5 is asked not to send larger packets."""
State = Literal["online", "offline"]


class Ended(NamedTuple):
    """Why there is no connection.

    Attributes:
        reason: in few words, the same for the same cause.
        text: the sentence for people, with what to do.
    """

    reason: str
    text: str


class Connection:
    """One connection, from CONNECT to its end; its methods run in the session's thread."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._client = self._make_client()
        self._said_offline = False
        self.flow = Flow(session, self._client)

    def _make_client(self) -> Client:
        session = self.session
        five = session.settings.protocol == "5"
        client = Client(
            session.settings,
            session.client_id,
            password=session.password,
            tls=session.tls,
            put=self.events.put,
        )
        will = session.status("offline")
        delay = properties_of(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if five else None
        client.will_set(session.root + will.topic, will.payload, will.qos, will.retain, delay)
        client.on_message = lambda _c, _u, message: self._hear(message)
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: session.subscribed(reasons)
        return client

    def _hear(self, message: paho.MQTTMessage) -> None:
        """Runs in paho's thread: looks at nothing, keeps no more than it must."""
        properties, payload = message.properties, bytes(message.payload)
        heard = self.session.listeners.get(message.topic)
        if heard is not None:
            heard(payload)
            return
        self.session.requested(
            Request(
                name=message.topic.removeprefix(self.session.root + "command/"),
                payload=payload if len(payload) <= LARGEST_KEPT else b"",
                size=len(payload),
                retained=message.retain,
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        )

    def open(self) -> Ended | None:
        """Connect; says why where that failed."""
        settings, where = self.session.settings, self.session.where
        resume: dict[str, Any] = {}
        if settings.protocol == "5":
            resume = resuming(expiry_s=WILL_DELAY_S, largest=LARGEST_KEPT)
        try:
            self._client.connect(settings.host, settings.port, KEEPALIVE_S, **resume)
        except (OSError, ValueError) as error:  # a name that DNS or TLS cannot hold is a ValueError
            reason, help_ = unreachable(error)
            return Ended(reason, f"no connection to the broker at {where}: {reason}; {help_}")
        self._client.loop_start()
        event = self._next_event(CONNACK_S)
        if event is None:
            return Ended(
                "no answer", f"the broker at {where} does not answer; check that an MQTT broker listens there"
            )
        if event.kind != "connected" or event.reason is None or event.reason.is_failure:
            reason = _words(event)
            return Ended(reason, f"the broker at {where} refuses the connection: {reason}{_help(event)}")
        self.flow.window = min(WINDOW, getattr(event.properties, "ReceiveMaximum", WINDOW))
        self.flow.largest = getattr(event.properties, "MaximumPacketSize", self.flow.largest)
        log.info("connected to the broker at %s", where)
        topics = [self.session.root + "command/#", *self.session.listeners]
        self._client.subscribe([(topic, 1) for topic in topics])
        self.session.refusals.connected()
        return None

    def run(self) -> Ended | None:
        """Publish until the connection ends, and say why it did; None where the session stops."""
        while True:
            left = self.session.left_s()  # first: what was said before the end was asked for is sent
            if not self.flow.fill():
                return self._lost()
            if left is not None and (left == 0 or self.flow.idle):
                self._said_offline = self._say_offline()
                return None
            event = self._next_event(self._sleep_s() if left is None else min(left, self._sleep_s()))
            while event is not None:
                if event.kind == "disconnected":
                    return self._over(event)
                self.flow.take(event)
                event = self._next_event(0.0)
            now = time.monotonic()
            if now >= self.flow.mark_at:
                self.flow.mark()
            if not self.flow.idle and now >= self.flow.answer_at:
                return self._ended("is dead: nothing is answered", "no answer")
            self.session.tend()

    def _lost(self) -> Ended:
        """Why the connection turned out to be lost; what was acknowledged on it before counts."""
        while (event := self._next_event(CLOSE_S)) is not None:
            if event.kind == "disconnected":
                return self._over(event)
            self.flow.take(event)
        return self._ended("ended", "lost")

    def _over(self, event: Event) -> Ended:
        return self._ended(f"ended: {_words(event)}{_help(event)}", _words(event))

    def _ended(self, how: str, reason: str) -> Ended:
        return Ended(reason, f"the connection to the broker at {self.session.where} {how}")

    def _sleep_s(self) -> float:
        """How long there is nothing to do unless something happens."""
        wakes = min(self.flow.mark_at, self.session.tend_at)
        # What was refused is offered again once nothing else is in flight, or when that is answered.
        wakes = min(wakes, self.session.refusals.wakes_at() if self.flow.idle else self.flow.answer_at)
        return min(wakes - time.monotonic(), KEEPALIVE_S)

    def close(self) -> None:
        """End the connection, and write down what was acknowledged on it.

        Without a goodbye, unless the broker has heard that the device is offline: it would forget the will, and tell
        everybody for ever that the device is there.
        """
        cut = threading.Timer(CLOSE_S, self._cut)
        if self._said_offline:
            cut.start()
            self._client.disconnect()
        else:
            self._cut()
        self._client.loop_stop()
        if self._said_offline:
            cut.cancel()
            cut.join()
        self.flow.mark()

    def _cut(self) -> None:
        """Close the connection under paho, which would wait for a dead one to take the goodbye."""
        connected = self._client.socket()
        with suppress(OSError, ValueError):  # paho closes it itself, perhaps just now
            if connected is not None:
                with socket.socket(fileno=os.dup(connected.fileno())) as same:
                    same.shutdown(socket.SHUT_RDWR)

    def _next_event(self, timeout_s: float) -> Event | None:
        try:
            return self.events.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def _say_offline(self) -> bool:
        """Say that the device goes, and see whether the broker has that."""
        status = self.session.status("offline")
        until, sent = time.monotonic() + OFFLINE_S, False
        while self.flow.fits(status) and time.monotonic() < until:
            if not sent and self.flow.room > 0:  # what is beyond the window would wait in paho for ever
                sent = self.flow.send(status)
                if not sent:
                    return False
            event = self._next_event(until - time.monotonic())
            if event is not None and event.kind == "disconnected":
                return False
            if event is not None and self.flow.take(event) is status:
                return True
        return False


def _words(event: Event) -> str:
    return event.text or _name(event.reason)


def _name(reason: ReasonCode | None) -> str:
    return "it closed" if reason is None else reason.getName()


def _help(event: Event) -> str:
    """What to do; nothing where the network broke it, which paho tells as an unspecified error."""
    known = event.reason is not None and event.reason.value not in (0, 0x80)
    return f"; {advice(event.reason.value)}" if event.reason is not None and known else ""
