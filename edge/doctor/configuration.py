"""The configuration file, and what it refers to."""

from __future__ import annotations

import os
import shlex
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.config import PASSWORD_CREDENTIAL, PASSWORD_VARIABLE, Settings, password
from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.errors import ConfigError
from edge.mqtt.client import tls_context

SOON = timedelta(days=30)
"""A certificate that ends within this time is mentioned."""


EXAMPLES = "README.md has a short one to begin with, systemd/leukoscope.toml every setting"


def look(patient: Patient) -> Iterator[Finding]:
    """Look at the file, the password and the certificates."""
    settings = patient.settings
    if settings is None:
        if patient.missing:
            yield unsure(
                "file",
                f"there is no configuration at {patient.file}: only what needs none is looked at",
                f"name yours with --config, or in LEUKOSCOPE_CONFIG; {EXAMPLES}",
            )
        else:
            gone = not os.path.lexists(patient.file)
            for mistake in patient.error.splitlines():
                yield bad(
                    "file", mistake, EXAMPLES if gone else "correct it, and ask leukoscope config check"
                )
        return
    yield good("file", f"{patient.file}: device {settings.device.name}, source {settings.source.kind}")
    yield _password(patient, settings)
    if settings.mqtt.tls is not None:
        yield _certificates(settings)


def broker_password(patient: Patient) -> str | None:
    """The password that the service would use, found as a person at the terminal, too.

    Beside what `edge.config.password` knows, the files that the unit takes it from are read: systemd hands
    their contents to the service alone.

    Raises:
        ConfigError: the file that should hold it cannot be read.
    """
    assert patient.settings is not None
    known = password(patient.settings.mqtt)
    if known is not None:
        return known
    credential, environment = (patient.file.with_name(name) for name in (PASSWORD_CREDENTIAL, "environment"))
    try:
        if credential.exists() and (text := credential.read_text("utf-8").rstrip("\r\n")):
            return text
        if environment.exists():
            for word in shlex.split(environment.read_text("utf-8"), comments=True):
                name, equals, value = word.partition("=")
                if equals and name == PASSWORD_VARIABLE:
                    return value
    except (OSError, ValueError) as error:
        raise ConfigError(f"the MQTT password cannot be read: {error}") from error
    return None


def _password(patient: Patient, settings: Settings) -> Finding:
    try:
        found = broker_password(patient)
    except ConfigError as error:
        return unsure("password", str(error), "run leukoscope doctor with sudo")
    if settings.mqtt.username is not None and found is None:
        return bad(
            "password",
            f"[mqtt] username is {settings.mqtt.username!r}, and there is no password for it",
            f"write it to {patient.file.with_name(PASSWORD_CREDENTIAL)}, or name a file with [mqtt] password_file",
        )
    if settings.mqtt.username is None and found is not None:
        return unsure(
            "password", "there is a password, and no [mqtt] username to go with it", "set [mqtt] username"
        )
    return good("password", "there is one" if found else "none, and none is asked for by the configuration")


def _certificates(settings: Settings) -> Finding:
    tls = settings.mqtt.tls
    assert tls is not None
    try:
        tls_context(settings.mqtt)
        until = {path: _ends(path) for path in (tls.ca, tls.certificate) if path is not None}
    except ConfigError as error:
        return bad("certificates", str(error), "put the file there, readable by the service's user")
    except (OSError, ValueError) as error:
        return bad("certificates", f"[mqtt.tls] {error}", "the file must be one certificate in PEM")
    now = datetime.now(UTC)
    for path, end in until.items():
        if end < now:
            return bad("certificates", f"{path} ended on {end:%Y-%m-%d}", "put a new certificate there")
        if end < now + SOON:
            return unsure("certificates", f"{path} ends on {end:%Y-%m-%d}", "put a new one there before")
    return good("certificates", ", ".join(str(path) for path in until) or "the system's authorities")


def _ends(certificate: Path) -> datetime:
    """When a certificate's time is up: the first one's of a file that holds several."""
    # The decoder of the standard library's own tests: the documented ways need a connection first.
    decoded = ssl._ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(decoded["notAfter"]), UTC)
