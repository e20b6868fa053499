"""What a broker keeps of a device (retained messages), found and removed."""

from __future__ import annotations

import json
import queue
import re
import secrets
import time
from collections.abc import Sequence
from typing import Self

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Settings
from edge.errors import BrokerError
from edge.mqtt.client import Client, Event, passing, tls_context
from edge.mqtt.discovery import topic as discovery_topic
from edge.mqtt.words import advice, unreachable

ANSWER_S = 10.0
QUIET_S = 1.0
"""When nothing more has come for so long, all that is kept has come."""


class Broker:
    """A visit to the broker of the settings.

    Args:
        settings: the broker, and the prefixes.
        password: for the settings' user.

    Raises:
        ConfigError: a certificate cannot be read.
    """

    def __init__(self, settings: Settings, password: str | None) -> None:
        self._settings = settings
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._kept: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._client = Client(
            settings.mqtt,
            f"leukoscope-forget-{secrets.token_hex(4)}",
            password=password,
            tls=tls_context(settings.mqtt),
            put=self._events.put,
        )
        self._granted: queue.SimpleQueue[Sequence[ReasonCode]] = queue.SimpleQueue()
        self._client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._granted.put(reasons)
        self._client.on_message = lambda _c, _u, message: (
            self._kept.put((message.topic, bytes(message.payload))) if message.retain else None
        )

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: the broker is away, or refuses.
        """
        mqtt = self._settings.mqtt
        where = f"the broker at {mqtt.host}:{mqtt.port}"
        try:
            self._client.connect(mqtt.host, mqtt.port, 30, **passing(mqtt))
        except (OSError, ValueError) as error:
            reason, help_ = unreachable(error)
            raise BrokerError(f"no connection to {where}: {reason}; {help_}") from error
        self._client.loop_start()
        event = self._event()
        if event is None or event.kind != "connected" or event.reason is None:
            self.__exit__()
            raise BrokerError(f"{where} does not answer as a broker")
        if event.reason.is_failure:
            self.__exit__()
            raise BrokerError(f"{where} refuses the connection: {event.reason}; {advice(event.reason.value)}")
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def kept(self, device: str) -> list[str]:
        """The topics of a device that hold a retained message, in order.

        Raises:
            BrokerError: that cannot be a device's name, the broker does not let it be read, or the device is online.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", device):
            raise BrokerError(f"{device!r} is no device's name: it has letters, digits, - and _")
        root = f"{self._settings.mqtt.prefix}/{device}/"
        own = discovery_topic(self._settings.home_assistant.prefix, device)
        refused = self._subscribe((root + "#", own))
        if root + "#" in refused:
            raise BrokerError(
                f"the broker does not let {root}# be read: {refused[root + '#']}; allow this user to read it"
            )
        # Home Assistant's is written by the device and read by others: where it cannot be seen, it is removed unseen.
        found: dict[str, bytes] = dict.fromkeys(refused, b"")
        until = time.monotonic() + ANSWER_S
        while True:
            try:
                topic, payload = self._kept.get(timeout=min(QUIET_S, max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
            found[topic] = payload
        self._client.unsubscribe([root + "#", own])
        if _online(found.get(root + "status", b"")):
            raise BrokerError(f"{device} is online, and would say all of it again: stop it first")
        return sorted(found)

    def _subscribe(self, filters: Sequence[str]) -> dict[str, str]:
        """Have all that is kept sent; it comes after the broker's answer, or with it. What is refused, and why."""
        self._client.subscribe([(each, 1) for each in filters])
        try:
            reasons = self._granted.get(timeout=ANSWER_S)
        except queue.Empty:
            raise BrokerError("the broker does not answer a subscription") from None
        answers = zip(filters, reasons, strict=False)
        return {each: reason.getName() for each, reason in answers if reason.is_failure}

    def remove(self, topics: Sequence[str]) -> dict[str, str]:
        """Remove retained messages; what could not be, and why."""
        left = {}
        for topic in topics:
            self._client.publish(topic, b"", qos=1, retain=True)
            event = self._event()
            while event is not None and event.kind not in ("acknowledged", "disconnected"):
                event = self._event()
            if event is None or event.kind == "disconnected":
                left[topic] = "the broker does not answer"
            elif event.reason is not None and event.reason.is_failure:
                left[topic] = f"{event.reason}; {advice(event.reason.value)}"
        return left

    def _event(self) -> Event | None:
        try:
            return self._events.get(timeout=ANSWER_S)
        except queue.Empty:
            return None


def _online(status: bytes) -> bool:
    try:
        return bool(json.loads(status)["state"] == "online")
    except (ValueError, KeyError, TypeError):
        return False
