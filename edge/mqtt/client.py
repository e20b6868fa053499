"""A paho client for one connection, as the settings want it, that hands on all that happens as events."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Mqtt
from edge.errors import ConfigError

LARGEST_HEARD = 2**20
"""Bytes of a packet that a passing visitor takes; a broker of MQTT 5 keeps larger ones from it."""


class Event(NamedTuple):
    """What the session's thread is told by paho's, or by whoever has something new.

    Attributes:
        kind: what happened.
        reason: the broker's, or paho's.
        mid: the number of the message that is acknowledged.
        properties: of the broker's CONNACK.
        text: what paho could not deal with.
    """

    kind: Literal["connected", "disconnected", "acknowledged", "news"]
    reason: ReasonCode | None = None
    mid: int = 0
    properties: Properties | None = None
    text: str = ""


class Client(paho.Client):
    """Its thread never ends unheard.

    Args:
        settings: the broker.
        client_id: the client's name.
        password: for the settings' user.
        tls: what an encrypted connection trusts and shows.
        put: is given each event; called in paho's thread.
    """

    def __init__(
        self,
        settings: Mqtt,
        client_id: str,
        *,
        password: str | None,
        tls: ssl.SSLContext | None,
        put: Callable[[Event], None],
    ) -> None:
        five = settings.protocol == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if five else True,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            transport=settings.transport,
            reconnect_on_failure=False,
        )
        self._put = put
        if settings.transport == "websockets":
            self.ws_set_options(settings.path)
        if settings.username is not None:
            self.username_pw_set(settings.username, password)
        if tls is not None:
            self.tls_set_context(tls)
        self.on_connect = lambda _c, _u, _f, reason, properties: put(
            Event("connected", reason, properties=properties)
        )
        self.on_disconnect = lambda _c, _u, _f, reason, _p: put(Event("disconnected", reason))
        self.on_publish = lambda _c, _u, mid, reason, _p: put(Event("acknowledged", reason, mid))

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """What paho's thread does. A packet that paho cannot read ends the connection, not the thread alone."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session must hear of it
            self._put(Event("disconnected", text=f"it sent what cannot be read: {type(error).__name__}"))
            return MQTTErrorCode.MQTT_ERR_PROTOCOL


def properties_of(packet_type: int, **values: int | bytes) -> Properties:
    """Properties of an MQTT 5 packet."""
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def resuming(*, expiry_s: int, largest: int) -> dict[str, Any]:
    """What MQTT 5's connect wants for a session that outlives its connection.

    Args:
        expiry_s: by so much. The broker speaks the will then at the latest.
        largest: bytes of the largest packet that the broker may send.
    """
    wanted = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=expiry_s, MaximumPacketSize=largest)
    return {"clean_start": False, "properties": wanted}


def passing(settings: Mqtt) -> dict[str, Any]:
    """What connect wants for a session that ends with its connection; with MQTT 3.1.1 the client says that."""
    if settings.protocol != "5":
        return {}
    wanted = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=0, MaximumPacketSize=LARGEST_HEARD)
    return {"clean_start": True, "properties": wanted}


def tls_context(settings: Mqtt) -> ssl.SSLContext | None:
    """What an encrypted connection trusts and shows; None for a plain one.

    Raises:
        ConfigError: a certificate or key cannot be read.
    """
    tls = settings.tls
    if tls is None:
        return None
    if tls.key is not None and tls.certificate is None:
        raise ConfigError(f"[mqtt.tls] key is {tls.key}, but there is no certificate that it belongs to")
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            # A key that is locked by a passphrase is refused: a service must not ask on the terminal.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(file) for file in (tls.ca, tls.certificate, tls.key) if file is not None)
        raise ConfigError(f"[mqtt.tls] {files}: {error.strerror or error}") from error
    return context
