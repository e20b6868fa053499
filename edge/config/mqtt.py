"""The broker: where it is, how the connection is protected, and where its password is found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from edge.config.table import Table
from edge.errors import ConfigError

PASSWORD_VARIABLE = "LEUKOSCOPE_MQTT_PASSWORD"
PASSWORD_CREDENTIAL = "mqtt-password"
"""The name of the systemd credential (``LoadCredential=mqtt-password:…``)."""


Thumbnails = Literal["all", "flagged", "none"]


class Tls(Table):
    """An encrypted connection. An empty table checks the broker against the system's authorities."""

    ca: Path | None = Field(default=None, description="The authority's certificate (PEM).")
    certificate: Path | None = Field(default=None, description="The device's own certificate (PEM).")
    key: Path | None = Field(default=None, description="The key of that certificate (PEM).")


class Mqtt(Table):
    """The broker."""

    host: str = Field(default="localhost", min_length=1, max_length=253)
    port: int = Field(default=1883, ge=1, le=65535, description="With TLS usually 8883.")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version.")
    transport: Literal["tcp", "websockets"] = Field(
        default="tcp", description="websockets gets through where only web traffic does."
    )
    path: str = Field(
        default="/mqtt", pattern=r"^/[!-~]*$", max_length=1024, description="Of the address, with WebSockets."
    )
    prefix: str = Field(
        default="leukoscope",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        max_length=128,
        description="Topics begin <prefix>/<device>/.",
    )
    username: str | None = Field(default=None, min_length=1)
    password_file: Path | None = Field(
        default=None,
        description=f"A file that holds the password. Else the systemd credential {PASSWORD_CREDENTIAL}, "
        f"else the environment variable {PASSWORD_VARIABLE}.",
    )
    tls: Tls | None = None
    outbox_days: int = Field(
        default=7,
        ge=1,
        le=365,
        description="Delivered messages are kept so long for a replay; waiting ones then lose their pictures.",
    )
    outbox_mb: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="With more, delivered messages go first, then pictures of waiting ones; never results.",
    )
    thumbnails: Thumbnails = Field(
        default="all", description="Which cells' messages bring a picture of the cell, of 3 to 6 kB."
    )


def password(settings: Mqtt) -> str | None:
    """The broker's password, from the file named, the systemd credential or the environment.

    Raises:
        ConfigError: the file that should hold it cannot be read.
    """
    file = _password_file(settings)
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{file}: the MQTT password cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:  # its text shows a part of what it could not read
        raise ConfigError(f"{file}: the MQTT password cannot be read: it is not UTF-8") from None


def password_origin(settings: Mqtt) -> str:
    """Where `password` would look, in words that do not tell it."""
    file = _password_file(settings)
    if file is not None:
        return f"from {file} (hidden)"
    return f"from ${PASSWORD_VARIABLE} (hidden)" if PASSWORD_VARIABLE in os.environ else "none"


def _password_file(settings: Mqtt) -> Path | None:
    if settings.password_file is not None:
        return settings.password_file
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        return None
    credential = Path(folder, PASSWORD_CREDENTIAL)
    try:
        given = credential.stat().st_size > 0  # the installation makes it empty: no password
    except FileNotFoundError:
        given = False
    except OSError:
        given = True  # `password` will say why it cannot be read
    return credential if given else None
