"""The broker, onwards: login, what the device may do there, a message there and back, what the device says.

The doctor comes under a name of its own: a client that took the daemon's would end the daemon's connection.
"""

from __future__ import annotations

import json
import queue
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Settings
from edge.doctor.finding import Finding, bad, good, unsure
from edge.doctor.running import daemon_process
from edge.mqtt.client import Client, Event, passing, tls_context
from edge.mqtt.words import advice, unreachable
from edge.text import printable

ANSWER_S = 8.0
"""The time for each answer of the broker."""
RETAINED_S = 1.0
"""The time for a retained message after the subscription was granted."""
SLOW_MS = 1000.0
_SEEN = {
    "too_dark": "switch the lamp on, or open the diaphragm",
    "too_bright": "dim the lamp",
    "uneven_light": "centre the condenser",
    "out_of_focus": "turn the fine focus",
    "empty": "move to where cells are",
    "white_balance": "see whether the lamp was changed during the sample",
    "stain": "see whether the slide was changed during the sample",
}
"""Why a frame was not read, `records.SkipReason`, as far as somebody can do something about it."""


class _Message(NamedTuple):
    topic: str
    payload: bytes


class _Visit:
    """A connection to the broker for as long as the visit lasts."""

    def __init__(self, settings: Settings, password: str | None) -> None:
        mqtt = settings.mqtt
        self.five = mqtt.protocol == "5"
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.grants: queue.SimpleQueue[Sequence[ReasonCode]] = queue.SimpleQueue()
        self.messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self.client = Client(
            mqtt,
            f"leukoscope-doctor-{secrets.token_hex(4)}",
            password=password,
            tls=tls_context(mqtt),
            put=self.events.put,
        )
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.grants.put(reasons)
        self.client.on_message = lambda _c, _u, message: self.messages.put(
            _Message(message.topic, bytes(message.payload))
        )

    def event(self, kind: str) -> Event | None:
        """The next event of a kind, or of the connection's end; None where none comes."""
        until = time.monotonic() + ANSWER_S
        while True:
            try:
                event = self.events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            if event.kind in (kind, "disconnected"):
                return event

    def publish(self, topic: str, payload: str) -> str:
        """Send a message that is to be acknowledged; why it was not, empty where it was."""
        self.client.publish(topic, payload, qos=1)
        event = self.event("acknowledged")
        if event is None:
            return "it is not acknowledged"
        if event.kind == "disconnected":
            return "the broker ends the connection"
        return (
            f"it is refused: {event.reason}" if event.reason is not None and event.reason.is_failure else ""
        )

    def subscribe(self, topic: str) -> str | None:
        """Why a subscription was refused; None where it was granted."""
        self.client.subscribe(topic, qos=1)
        try:
            reasons = self.grants.get(timeout=ANSWER_S)
        except queue.Empty:
            return "no answer"
        return next((reason.getName() for reason in reasons if reason.is_failure), None)

    def message(self, topic: str, timeout_s: float) -> bytes | None:
        """The next message of a topic; None where none comes."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                message = self.messages.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            if message.topic == topic:
                return message.payload


def visit(settings: Settings, password: str | None) -> Iterator[Finding]:
    """Log in, and try what the daemon does.

    Raises:
        ConfigError: a certificate cannot be read.
    """
    visitor = _Visit(settings, password)
    try:
        login = _log_in(visitor, settings)
        yield login
        if login.advice:
            return
        root = f"{settings.mqtt.prefix}/{settings.device.name}/"
        yield _commands(visitor, root)
        published = _publish(visitor, root)
        yield published
        if not published.advice:
            yield _there_and_back(visitor, root)
        yield from _device(visitor, settings, root)
        if daemon_process(settings.store.path) is not None:
            yield from _seen(visitor, root)
    finally:
        visitor.client.disconnect()
        visitor.client.loop_stop()


def _log_in(visitor: _Visit, settings: Settings) -> Finding:
    mqtt = settings.mqtt
    who = f"as {mqtt.username}" if mqtt.username else "without a user name"
    try:
        visitor.client.connect(mqtt.host, mqtt.port, 30, **passing(mqtt))
    except (OSError, ValueError) as error:
        reason, help_ = unreachable(error)
        return bad("login", reason, help_)
    visitor.client.loop_start()
    event = visitor.event("connected")
    if event is None:
        return bad("login", "the broker does not answer", "see that an MQTT broker listens on this port")
    if event.kind == "disconnected":
        return bad(
            "login",
            f"the broker closes the connection: {event.text or event.reason}",
            'see that [mqtt] transport and protocol are the broker\'s; protocol = "3.1.1" for an older one',
        )
    if event.reason is None or event.reason.is_failure:
        code = 0x80 if event.reason is None else event.reason.value
        return bad("login", f"refused {who}: {event.reason}", advice(code))
    return good("login", f"welcome {who}, MQTT {mqtt.protocol}")


def _commands(visitor: _Visit, root: str) -> Finding:
    """Whether the broker lets this user hear commands. Nothing is taken from the daemon, which hears them too."""
    topic = f"{root}command/#"
    refused = visitor.subscribe(topic)
    visitor.client.unsubscribe(topic)
    if refused:
        return bad(
            "commands",
            f"listening to {topic} is refused: {refused}",
            "let this user read it, in the broker's access rules; without it samples are started at the device",
        )
    return good("commands", f"may listen to {topic}")


def _publish(visitor: _Visit, root: str) -> Finding:
    """Send a message where the device sends its answers, and nobody listens."""
    topic = f"{root}reply/doctor"
    refused = visitor.publish(topic, "{}")
    if refused:
        return bad(
            "publish",
            f"a message to {topic}: {refused}",
            f"let this user write below {root}, in the broker's access rules",
        )
    if visitor.five:
        return good("publish", f"may publish to {topic}")
    return good("publish", f"a message to {topic} is acknowledged; MQTT 3.1.1 does not tell what is refused")


def _there_and_back(visitor: _Visit, root: str) -> Finding:
    """Send a message and wait for it."""
    token = secrets.token_hex(8)
    topic = f"{root}doctor/{token}"
    unheard = visitor.subscribe(topic)
    begun = time.monotonic()
    refused = visitor.publish(topic, json.dumps({"doctor": token}))
    heard = None if unheard or refused else visitor.message(topic, ANSWER_S)
    took = 1000 * (time.monotonic() - begun)
    if heard is None:
        why = refused or (f"listening is refused ({unheard})" if unheard else "it does not come back")
        return unsure(
            "round trip",
            f"a message to {topic}: {why}",
            f"to have it measured, let this user read and write {root}doctor/#, in the broker's access rules",
        )
    text = f"a message there and back takes {took:.0f} ms"
    if took > SLOW_MS:
        return unsure("round trip", text, "the network is slow; cells wait in the outbox meanwhile")
    return good("round trip", text)


def _device(visitor: _Visit, settings: Settings, root: str) -> Iterator[Finding]:
    """What the device's own status says, which the broker keeps."""
    topic = f"{root}status"
    refused = visitor.subscribe(topic)
    payload = None if refused else visitor.message(topic, RETAINED_S)
    running = daemon_process(settings.store.path) is not None
    if payload is None:
        why = f"listening to it is refused ({refused})" if refused else "the broker keeps none"
        if running:
            yield unsure("device", f"its status cannot be read: {why}", "see what the service's journal says")
        return
    try:
        status = json.loads(payload)
        state, problems = str(status["state"]), list(status.get("problems", []))
        said = [str(problem["text"]) for problem in problems]
    except (ValueError, KeyError, TypeError):
        yield unsure("device", f"{topic} holds what is no status", "see who else publishes there")
        return
    if state != "online":
        if running:
            yield bad(
                "device",
                "a daemon runs here, and the broker has the device as offline",
                "see what the service's journal says of the broker",
            )
        else:
            yield unsure("device", "offline, by its last status", "start the service")
    elif said:
        for number, text in enumerate(said):
            yield bad(f"device {number + 1}", f"it says of itself: {printable(text)[:300]}", "as it says")
    else:
        yield good("device", "online, and nothing is wrong by its own status")


def _seen(visitor: _Visit, root: str) -> Iterator[Finding]:
    """What the running daemon says of its camera's newest frame; nothing where this user may not ask."""
    topic = f"{root}reply/snapshot"
    if visitor.subscribe(topic) or visitor.publish(f"{root}command/snapshot", '{"operator": "doctor"}'):
        return
    answer = visitor.message(topic, ANSWER_S)
    try:
        seen = json.loads(answer or b"")["snapshot"]
        skipped, cells, size = seen["skipped"], len(seen["boxes"]), f"{seen['width']} × {seen['height']}"
    except (ValueError, KeyError, TypeError):
        return
    if skipped in _SEEN:
        text = f"the running service does not read what the camera shows: {skipped.replace('_', ' ')}"
        yield unsure("picture", text, _SEEN[skipped])
    else:
        yield good("picture", f"the running service sees {cells} cells in its camera's newest frame ({size})")
