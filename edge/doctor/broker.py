"""The broker, step by step: its name, TCP, TLS. The steps after these are in `edge.doctor.login`.

A step that fails ends the walk: what follows could not be told from it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from edge.config import Mqtt
from edge.doctor.configuration import SOON, broker_password
from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.doctor.login import visit
from edge.errors import ConfigError
from edge.mqtt.client import tls_context
from edge.mqtt.words import unreachable

CONNECT_S = 8.0


def look(patient: Patient) -> Iterator[Finding]:
    """Walk from the broker's name to a message there and back."""
    settings = patient.settings
    if settings is None:
        yield unsure("name", "without a configuration no broker is known", "see configuration")
        return
    mqtt = settings.mqtt
    try:
        addresses = _resolve(mqtt)
    except (OSError, UnicodeError) as error:
        reason, help_ = unreachable(error)
        yield bad("name", f"{mqtt.host}: {reason}", help_)
        return
    yield good("name", f"{mqtt.host} is {', '.join(addresses)}")
    try:
        yield _tcp(mqtt)
        if mqtt.tls is not None:
            context = tls_context(mqtt)
            assert context is not None
            yield _tls(mqtt, context)
    except ConfigError as error:
        yield bad("tls", str(error), "see configuration")
        return
    except _Failed as failed:
        yield failed.finding
        return
    try:
        password = broker_password(patient)
    except ConfigError as error:
        yield unsure("login", str(error), "run leukoscope doctor with sudo")
        return
    yield from visit(settings, password)


class _Failed(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


def _resolve(mqtt: Mqtt) -> list[str]:
    found = socket.getaddrinfo(mqtt.host, mqtt.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def _tcp(mqtt: Mqtt) -> Finding:
    begun = time.monotonic()
    try:
        socket.create_connection((mqtt.host, mqtt.port), CONNECT_S).close()
    except OSError as error:
        reason, help_ = unreachable(error)
        raise _Failed(bad("tcp", f"{mqtt.host}:{mqtt.port}: {reason}", help_)) from error
    return good("tcp", f"port {mqtt.port} is open, after {1000 * (time.monotonic() - begun):.0f} ms")


def _tls(mqtt: Mqtt, context: ssl.SSLContext) -> Finding:
    try:
        with (
            socket.create_connection((mqtt.host, mqtt.port), CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=mqtt.host) as connection,
        ):
            version, certificate = connection.version(), connection.getpeercert()
    except (OSError, ValueError) as error:
        reason, help_ = unreachable(error)
        raise _Failed(bad("tls", reason, help_)) from error
    ends_at = str((certificate or {}).get("notAfter", ""))
    if not ends_at:
        return good("tls", str(version))
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends_at), UTC)
    text = f"{version}; the broker's certificate is trusted until {end:%Y-%m-%d}"
    if end < datetime.now(UTC) + SOON:
        return unsure("tls", text, "have the broker's certificate renewed before")
    return good("tls", text)
