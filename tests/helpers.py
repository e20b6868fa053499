"""What many tests need: decided cells made directly, and a real subscriber."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.records import (
    Background,
    Box,
    Cell,
    Decision,
    Field,
    Frame,
    Prediction,
    Quality,
    Reason,
    Verdict,
)

WAIT_S = 180.0
"""A thing that should happen at once is given up after this time: a busy machine takes long."""

MORNING = datetime(2026, 1, 31, 10, 20, 30, 123456, UTC)


def decided(
    cell_class: str = "basophil",
    *,
    confidence: float = 0.9931,
    reasons: tuple[Reason, ...] = (),
    index: int = 0,
    name: str = "",
    box: Box | None = Box(83, 90, 190, 184),  # noqa: B008 - immutable
    captured_at: datetime = MORNING,
) -> Decision:
    """A decided cell, made without a model."""
    pixels = np.random.default_rng(index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    frame = Frame.of(pixels, 0, captured_at, name)
    boxes = () if box is None else (box,)
    field = Field(frame=frame, background=Background(250, 225, 200), scale=None, boxes=boxes)
    cell = Cell(
        field, index, box, pixels, None, cut_off=False, quality=Quality(1.0, 1.0, 220.0), picture=pixels
    )
    classes = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
    rest = (1 - confidence) / (len(classes) - 1)
    probabilities = {each: confidence if each == cell_class else rest for each in classes}
    verdict = Verdict.FLAGGED if reasons else Verdict.ACCEPTED
    return Decision(Prediction(cell, probabilities, 0.2, 1.4321), verdict, reasons)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something holds; fail, saying what was waited for, where it does not come."""
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited in vain until {what}")
        time.sleep(0.01)


class Received(NamedTuple):
    """A message as a subscriber got it."""

    topic: str
    payload: dict[str, Any]
    retained: bool


MARK = "tests/mark"
"""Where a subscriber sends itself what marks how far it has got."""


NUMBERED = ("cell/accepted", "cell/flagged", "sample/target", "sample/finished", "review")
"""The topics, below that of the device, of what goes through the outbox."""


@dataclass(eq=False)
class Subscriber:
    """A real MQTT 5 client that keeps all that it is sent, over connections where it has a name.

    A broker that has acknowledged a message may not have passed it on yet, and what goes through the
    outbox comes when its turn has come, not with what is published beside it. So wait for each message
    with `until`; and where there is nothing to wait for, call `catch_up` before counting what came.
    """

    host: str
    port: int
    name: str = ""
    received: list[Received] = dataclasses.field(default_factory=list)
    _marks: list[bytes] = dataclasses.field(default_factory=list)

    def open(self) -> None:
        """Connect, and subscribe to everything."""
        subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, self.name, protocol=paho.MQTTv5)

        def on_connect(*_: object) -> None:
            client.subscribe("#", qos=1)

        client.on_connect = on_connect
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _client, _userdata, message: self.take(message)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 3600 if self.name else 0
        client.connect(self.host, self.port, clean_start=not self.name, properties=session)
        client.loop_start()
        assert subscribed.wait(WAIT_S)
        self._client = client

    def take(self, message: paho.MQTTMessage) -> None:
        """Keep a message, or notice a mark."""
        if message.topic == MARK:
            self._marks.append(message.payload)
        else:
            self.received.append(Received(message.topic, json.loads(message.payload), message.retain))

    def catch_up(self) -> None:
        """Wait until all has come that the broker accepted before now."""
        mark = uuid.uuid4().bytes
        self._client.publish(MARK, mark, qos=1)
        until(lambda: mark in self._marks, "the subscriber had caught up")

    def close(self) -> None:
        """Disconnect; the broker keeps the session of a subscriber with a name."""
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, ending: str) -> list[dict[str, Any]]:
        """The payloads of the topics with this ending, in the order of their coming."""
        return [message.payload for message in list(self.received) if message.topic.endswith(ending)]

    def last(self, ending: str) -> dict[str, Any]:
        """The newest payload of the topics with this ending; an empty one before the first has come."""
        return (self.of(ending) or [{}])[-1]

    def cells(self) -> list[dict[str, Any]]:
        return [each.payload for each in list(self.received) if "/cell/" in each.topic]

    def numbered(self) -> list[dict[str, Any]]:
        """The payloads of all that went through the outbox: the device's gapless count."""
        return [each.payload for each in list(self.received) if each.topic.split("/", 2)[-1] in NUMBERED]
