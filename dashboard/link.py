"""The dashboard's session with the broker: what devices say comes in, commands go out.

A message is acknowledged when the mirror has it on its disk, so that the broker keeps what came while this program
or its disk was away. A command that gets no answer is sent again after a lost connection, with the id that it had:
the device carries it out once, and answers every time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import re
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dashboard.hub import Hub
from dashboard.inbox import TOGETHER, Arrived, Inbox, Sink
from dashboard.mirror import Message
from dashboard.mirror.reading import LARGEST as LARGEST_READ
from dashboard.records import Answer, LinkState
from edge.config import Mqtt, password
from edge.errors import LeukoscopeError, StoreError
from edge.mqtt.client import tls_context

log = logging.getLogger(__name__)

KEEPALIVE_S = 20
KEPT_S = 7 * 24 * 3600
"""So long a broker of MQTT 5 keeps what comes while the dashboard is away, as far as it has room."""
LARGEST = 1024 * 1024
"""Bytes: larger packets a broker of MQTT 5 is asked to withhold."""
UNANSWERED = "the broker has not answered yet"
COMMAND_S = 10.0
"""An answer is waited for so long."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TOPICS = ("status", "cell/+", "sample", "sample/+", "review", "metrics")


class CommandError(LeukoscopeError):
    """A command got no answer: the broker or the device is away."""


@dataclass(slots=True)
class _Pending:
    """A command that waits for its answer, and how many wait with it."""

    device: str
    name: str
    payload: bytes
    answer: asyncio.Future[dict[str, Any]]
    waiting: int = 0


class Link:
    """Connects, and stays connected.

    Args:
        settings: the broker.
        sink: what takes the messages in.
        hub: tells browsers of changes.
        folder: where its name at the broker is kept, by which it is known again.

    Raises:
        ConfigError: a certificate or the password cannot be read.
    """

    def __init__(
        self,
        settings: Mqtt,
        *,
        sink: Sink,
        hub: Hub,
        folder: Path,
    ) -> None:
        self._settings, self._hub = settings, hub
        self._inbox = Inbox(sink, told=hub.publish, trouble=self._disk)
        self._connection = 0
        self._trouble = ""
        self._name = _name(folder)
        self._five = settings.protocol == "5"
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = LinkState(False, time.time(), UNANSWERED)
        self._client = self._make_client(password(settings))

    @property
    def state(self) -> LinkState:
        """How the connection is; what cannot be kept is as lost."""
        if self._trouble:
            return LinkState(False, self._state.since, self._trouble)
        return self._state

    def open(self) -> None:
        """Begin to connect, from the event loop; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._inbox.open()
        self._client.reconnect_delay_set(1, 30)
        options: dict[str, Any] = {}
        if self._five:
            session = _properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=KEPT_S,
                MaximumPacketSize=LARGEST,
                ReceiveMaximum=2 * TOGETHER,
            )
            options = {"clean_start": False, "properties": session}
        self._client.connect_async(self._settings.host, self._settings.port, KEEPALIVE_S, **options)
        self._client.loop_start()

    def close(self) -> None:
        """End the connection; the broker keeps the session."""
        self._client.on_disconnect = None
        self._inbox.close()
        self._client.disconnect()
        self._client.loop_stop()
        self._loop = None

    async def command(
        self,
        device: str,
        name: str,
        payload: dict[str, Any],
        *,
        timeout_s: float = COMMAND_S,
        request: str | None = None,
    ) -> Answer:
        """Have a device do something.

        Args:
            device: its name.
            name: the command's, `sample/start` for example.
            payload: what it says, without `id`.
            timeout_s: how long an answer is waited for.
            request: its `id`, where the asker has named it to be able to ask again; the device does it once.

        Raises:
            CommandError: no answer came. The device may have done it, or may still.
        """
        if not _NAME.fullmatch(device):
            # It may stand in an address that anybody wrote; in a topic, + and # would mean every device.
            raise CommandError(f"there is no device {device!r}")
        request = request or secrets.token_hex(12)
        # Half a character, which JSON can name and UTF-8 cannot, the device would refuse anyway.
        text = json.dumps({**payload, "id": request}, ensure_ascii=False).encode("utf-8", "replace")
        pending = _Pending(device, name, text, asyncio.get_running_loop().create_future())
        with self._lock:
            # A browser that asks again while its first question is open waits with it.
            pending = self._pending.setdefault(request, pending)
            pending.waiting += 1
        try:
            if self._state.connected:
                self._send(request, pending)
            body = await asyncio.wait_for(asyncio.shield(pending.answer), timeout_s)
        except TimeoutError:
            who = f"{device} does not answer" if self._state.connected else "the broker cannot be reached"
            raise CommandError(f"{who}; nothing is known of whether it was done") from None
        finally:
            with self._lock:
                pending.waiting -= 1
                if not pending.waiting:
                    del self._pending[request]
        said = body.get("error")
        fault = said if isinstance(said, dict) else {}
        return Answer(body.get("ok") is True, str(fault.get("code", "")), str(fault.get("message", "")), body)

    def _make_client(self, secret: str | None) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._name,
            clean_session=None if self._five else False,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
            manual_ack=True,
        )
        if settings.username is not None:
            client.username_pw_set(settings.username, secret)
        if (context := tls_context(settings)) is not None:
            client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = lambda _c, _u: self._lost("the broker cannot be reached")
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: paho.Client, _u: object, _f: object, reason: ReasonCode, _p: object
    ) -> None:
        """Runs in paho's thread, as what follows."""
        if reason.is_failure:
            self._lost(f"the broker refuses the connection: {str(reason).lower()}")
            return
        self._connection += 1
        prefix = self._settings.prefix
        # Own replies come below each device's own, where the broker's access rules expect them.
        topics = [*TOPICS, f"reply/{self._name}" if self._five else "reply/#"]
        self._state = LinkState(False, self._state.since, UNANSWERED)
        client.subscribe([(f"{prefix}/+/{topic}", 1) for topic in topics])

    def _on_subscribe(self, _client: paho.Client, _u: object, _m: int, _r: object, _p: object) -> None:
        """From here on messages come in: what is said before, the broker passes on to nobody."""
        self._state = LinkState(True, time.time(), "")
        log.info("connected to the broker at %s:%s", self._settings.host, self._settings.port)
        self._hub.publish_link(self.state)
        with self._lock:
            waiting = list(self._pending.items())
        for request, pending in waiting:
            self._send(request, pending)

    def _on_disconnect(
        self, _client: paho.Client, _u: object, _f: object, reason: ReasonCode, _p: object
    ) -> None:
        if self._state.connected or self._state.problem == UNANSWERED:  # else why it never was has been told
            self._lost(f"the connection to the broker is lost: {str(reason).lower()}")

    def _lost(self, why: str) -> None:
        if not self._state.connected and self._state.problem == why:
            return
        since = time.time() if self._state.connected else self._state.since
        self._state = LinkState(False, since, why)
        log.warning("%s", why)
        self._hub.publish_link(self.state)

    def _on_message(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        if "/reply/" in message.topic:
            self._take_reply(message.topic, bytes(message.payload))
            if message.qos:
                client.ack(message.mid, message.qos)
            return
        connection = self._connection
        acknowledge = functools.partial(self._acknowledge, connection, message.mid, message.qos)
        self._inbox.put(
            Arrived(
                # Whatever is longer is refused unread; up to `inbox.WAITING` of them are held here.
                Message(message.topic, bytes(message.payload[: LARGEST_READ + 1]), message.retain),
                acknowledge if message.qos else None,
            )
        )

    def _acknowledge(self, connection: int, mid: int, qos: int) -> None:
        """In the inbox's thread. A number of an earlier connection may be another message's by now."""
        if connection == self._connection:
            self._client.ack(mid, qos)

    def _disk(self, trouble: str) -> None:
        """What keeps messages from being written, from the inbox's thread; empty when that is over."""
        if trouble:
            log.error("%s", trouble)
        self._trouble = trouble
        self._hub.publish_link(self.state)

    def _take_reply(self, topic: str, payload: bytes) -> None:
        with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
            body = json.loads(payload)
            with self._lock:
                pending = self._pending.get(body.get("request"))
            own = pending is not None and topic.startswith(f"{self._settings.prefix}/{pending.device}/reply/")
            if pending is not None and own and self._loop is not None:
                self._loop.call_soon_threadsafe(_answer, pending.answer, body)

    def _send(self, request: str, pending: _Pending) -> None:
        properties, root = None, f"{self._settings.prefix}/{pending.device}"
        if self._five:
            properties = _properties(
                PacketTypes.PUBLISH,
                ResponseTopic=f"{root}/reply/{self._name}",
                CorrelationData=request.encode(),
            )
        self._client.publish(f"{root}/command/{pending.name}", pending.payload, qos=1, properties=properties)


def _answer(answer: asyncio.Future[dict[str, Any]], body: dict[str, Any]) -> None:
    if not answer.done():
        answer.set_result(body)


def _name(folder: Path) -> str:
    """This dashboard's name at the broker: the same at each start, and no other dashboard's."""
    file = folder / "client-id"
    try:
        if file.exists():
            name = file.read_text("ascii", "replace").strip()
            if _NAME.fullmatch(name):
                return name
            log.warning(
                "%s is damaged; what the broker kept for this dashboard is asked of the devices", file
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"leukoscope-dashboard-{secrets.token_hex(4)}"
        part = file.with_name(f"{file.name}.part")
        part.write_text(name, "ascii")
        part.replace(file)
    except OSError as error:
        raise StoreError(f"{file}: {error}") from error
    return name


def _properties(packet_type: int, **values: int | str | bytes) -> Properties:
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
