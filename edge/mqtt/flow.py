"""What is under way on one connection: what there is to say is published as far as the window allows.

The broker's answers decide what leaves the outbox, and what it refuses waits as `edge.mqtt.refusals` says.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes

from edge.mqtt.client import Client, Event, properties_of
from edge.mqtt.words import ONE_MESSAGE, advice
from edge.store import OutboxState, Outgoing
from edge.wire.messages import Message, Reply

if TYPE_CHECKING:
    from edge.mqtt.session import Session

WINDOW = 20
"""Unacknowledged messages in flight at most; what Mosquitto takes by default."""
ANSWER_S = 20.0
"""A connection on which messages are in flight and none is acknowledged for so long is given up."""
MARK_S = 1.0
"""Acknowledgements are written to the outbox together, at most this much later: cards wear."""
PACKET_OVERHEAD = 32
"""Bytes that a packet has beside topic, payload and correlation data, at most."""
TOO_LARGE = "larger than it takes", "raise the broker's limit on the size of packets"


class Outbox(Protocol):
    """Where messages wait until the broker has them. The store is one; it says what these do."""

    def pending(
        self, after: int, limit: int, *, only: str | None = None, without: Collection[str] = ()
    ) -> list[Outgoing]:
        """Unacknowledged messages numbered above `after`, in order."""

    def published(self, seqs: Sequence[int], *, at: datetime, replays: int | None = None) -> None:
        """These are acknowledged."""

    def outbox_state(self) -> OutboxState:
        """How much there is."""

    def drop_pictures(self, seqs: Sequence[int]) -> int:
        """Take the pictures out of messages; says how many had one."""


class _Sent(NamedTuple):
    """A message in flight; `seq` is None where it did not come from the outbox."""

    message: Message
    seq: int | None


class Flow:
    """The messages of one connection; its methods run in the session's thread.

    Args:
        session: has what there is to say.
        client: of the connection.

    Attributes:
        window: messages in flight at most.
        largest: bytes of the largest packet that the broker takes.
        mark_at: when acknowledgements are to be written down; as `time.monotonic` counts.
        answer_at: when the broker must have answered something of what is in flight.
    """

    def __init__(self, session: Session, client: Client) -> None:
        self.session = session
        self.window = WINDOW
        self.largest = float("inf")
        self.mark_at = self.answer_at = float("inf")
        self._client = client
        self._in_flight: dict[int, _Sent] = {}  # by paho's message number
        self._cursor = 0  # the highest number that was taken from the outbox
        self._replays = session.outbox.outbox_state().replays
        self._outdated: set[int] = set()  # of those in flight: their messages are to come once more
        self._acknowledged: list[int] = []
        self._progress = False

    @property
    def idle(self) -> bool:
        """Nothing is in flight."""
        return not self._in_flight

    @property
    def room(self) -> int:
        """How many messages may be published now."""
        careful = self.session.refusals.careful and not self._progress
        return (1 if careful else self.window) - len(self._in_flight)

    def stuck_at(self) -> int | str | None:
        """The first message in flight: its number, or its topic where it is a retained one beside the outbox.

        None where any of the outbox were acknowledged, or none are in flight. While several are sent at a time a number
        is told before a topic, as answers to what was sent first are lost with a connection that breaks.
        """
        numbers = [sent.seq for sent in self._in_flight.values() if sent.seq is not None]
        if self._progress:
            return None
        if numbers:
            return min(numbers)
        return next((sent.message.topic for sent in self._in_flight.values() if sent.message.retain), None)

    def unanswered_elsewhere(self) -> frozenset[str]:
        """Topics beyond the device's own to which something was sent that the broker has not answered."""
        return frozenset(sent.message.topic for sent in self._in_flight.values() if sent.message.elsewhere)

    def take(self, event: Event) -> Message | None:
        """Deal with an acknowledgement, or with news.

        Returns:
            The message that the broker has now; None where it is none, or was refused.
        """
        if event.kind == "news":
            self._follow_replays()
        if event.kind != "acknowledged" or event.mid not in self._in_flight:
            return None
        sent = self._in_flight.pop(event.mid)
        self.answer_at = time.monotonic() + ANSWER_S
        if event.reason is not None and event.reason.is_failure:
            self.session.refused(
                sent.message, sent.seq, event.reason.getName(), advice(event.reason.value),
                alone=event.reason.value in ONE_MESSAGE,
            )  # fmt: skip
            self._outdated.discard(event.mid)
            return None
        self.session.taken(sent.message, sent.seq)
        self._progress = self._progress or sent.seq is not None
        if sent.seq is not None and event.mid not in self._outdated:
            self._acknowledged.append(sent.seq)
            self.mark_at = min(self.mark_at, time.monotonic() + MARK_S)
        self._outdated.discard(event.mid)
        return sent.message

    def _follow_replays(self) -> None:
        """Begin anew where messages were put back.

        Whoever asked for them may not have had those acknowledged just now, or under way: they come once more, and
        these acknowledgements do not stand for that.
        """
        replays = self.session.outbox.outbox_state().replays
        if replays != self._replays:
            self._replays = replays
            self._acknowledged = []
            self._outdated = set(self._in_flight)
            self._cursor = 0

    def mark(self) -> None:
        """Write down what was acknowledged."""
        self.mark_at = float("inf")
        self._follow_replays()
        if self._acknowledged:
            self.session.outbox.published(self._acknowledged, at=datetime.now(UTC), replays=self._replays)
            self._acknowledged = []

    def _rewind(self) -> None:
        self.mark()  # or what was acknowledged just now would be taken again
        self._cursor = 0

    def fill(self) -> bool:
        """Publish what there is and the window allows; False where the connection turns out to be lost."""
        while self.room > 0 and (message := self.session.next_fresh()):
            if not self.fits(message):
                self.session.refused(message, None, *TOO_LARGE, alone=True)
            elif not self.send(message, None):
                return False
        while self.room > 0 and (reply := self.session.next_reply()):
            if not self._answer(reply):
                return False
        now, refusals = time.monotonic(), self.session.refusals
        if refusals.rewind(now):
            self._rewind()
        for topic, count in refusals.due(now):
            if not self._probe(topic, count):
                return False
        held = refusals.held()
        while (room := self.room) > 0:
            rows = self.session.outbox.pending(self._cursor, room, without=held)
            if not rows:
                break
            sent = {sent.seq for mid, sent in self._in_flight.items() if mid not in self._outdated}
            passed_over = sent | refusals.shunned(now)
            for row in rows:
                self._cursor = row.seq
                if row.seq not in passed_over and not self._send_row(row):
                    return False
        return True

    def _probe(self, topic: str, count: int) -> bool:
        """Offer the first waiting messages of a refused topic again."""
        room, refusals = self.room, self.session.refusals
        if room <= 0 or any(sent.message.topic == topic for sent in self._in_flight.values()):
            return True
        self.mark()
        waiting = self.session.outbox.pending(0, count + len(refusals.single), only=topic)
        rows = [row for row in waiting if row.seq not in refusals.single][: min(count, room)]
        refusals.probe(topic, {row.seq for row in rows})
        return all(self._send_row(row) for row in rows)

    def _send_row(self, row: Outgoing) -> bool:
        message = Message(row.topic, row.payload)
        if not self.fits(message):
            if self.session.outbox.drop_pictures([row.seq]):
                return self._send_row(self.session.outbox.pending(row.seq - 1, 1)[0])
            self.session.refused(message, row.seq, *TOO_LARGE, alone=True)
            return True
        return self.send(message, row.seq)

    def fits(self, message: Message) -> bool:
        """Whether the broker takes a packet of that size; one of MQTT 3.1.1 does not say what it takes."""
        return self._fits(self.session.topic(message), message.payload)

    def send(self, message: Message, seq: int | None = None) -> bool:
        """Publish a message, of the outbox where it has a number; False where the connection turns out to be lost."""
        topic = self.session.topic(message)
        info = self._client.publish(topic, message.payload, message.qos, message.retain)
        return self._sent(info, message, seq)

    def _answer(self, reply: Reply) -> bool:
        properties = None
        if self.session.settings.protocol == "5" and reply.correlation is not None:
            properties = properties_of(PacketTypes.PUBLISH, CorrelationData=reply.correlation)
        beside = len(reply.correlation or b"")
        text = reply.payload if self._fits(reply.topic, reply.payload, beside) else reply.smaller
        if text is None:
            return True  # a larger packet than the broker takes would cost the connection
        info = self._client.publish(reply.topic, text, qos=1, properties=properties)
        return self._sent(info, Message("reply", text), None)

    def _fits(self, topic: str, payload: str, beside: int = 0) -> bool:
        return len(payload.encode()) + len(topic.encode()) + beside + PACKET_OVERHEAD <= self.largest

    def _sent(self, info: paho.MQTTMessageInfo, message: Message, seq: int | None) -> bool:
        if info.rc == paho.MQTT_ERR_SUCCESS and message.qos:
            if not self._in_flight:
                self.answer_at = time.monotonic() + ANSWER_S
            self._in_flight[info.mid] = _Sent(message, seq)
        return info.rc == paho.MQTT_ERR_SUCCESS
