"""What a collector is told: one TOML file → validated, frozen settings. Every default stands here, once."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from pydantic import Field

from edge.config import Mqtt
from edge.config.file import read
from edge.config.table import Table
from edge.errors import ConfigError

CONFIG_VARIABLE = "LEUKOSCOPE_COLLECT_CONFIG"
DATABASE_VARIABLE = "LEUKOSCOPE_DATABASE_URL"
DATABASE_CREDENTIAL = "database-url"
"""The name of the systemd credential (``LoadCredential=database-url:…``)."""


def _name() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:48].strip("-_") or "collector"


class Collect(Table):
    """One collector among as many as are needed."""

    name: str = Field(
        default_factory=_name,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="This collector's own: the broker keeps its messages under it. Default: the host's name.",
    )
    group: str = Field(
        default="collectors",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Collectors of one group share the messages between them.",
    )
    batch: int = Field(default=500, ge=1, le=10_000, description="Messages in a transaction at most.")
    gap_s: float = Field(
        default=30.0,
        ge=1.0,
        le=3600.0,
        description="A number missing for so long is asked of the device again.",
    )
    thumbnails: bool = Field(default=True, description="Keep the cells' pictures and saliency too.")


class Settings(Table):
    """Everything that a collector is told."""

    collect: Collect = Field(default_factory=Collect)
    mqtt: Mqtt = Field(default_factory=Mqtt)


def load(path: Path | None) -> Settings:
    """Read and check a configuration file; without one, the defaults.

    Raises:
        ConfigError: it is missing, is no TOML, or says something it must not say; one sentence a mistake.
    """
    settings = Settings() if path is None else read(path, Settings, variable=CONFIG_VARIABLE)
    if settings.mqtt.protocol != "5":
        raise ConfigError('[mqtt] protocol must be "5": shared subscriptions came with that version')
    return settings


def database_url() -> str:
    """Where the database is, from the systemd credential or the environment: it may hold a password.

    Raises:
        ConfigError: neither is there, or the credential cannot be read.
    """
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""), DATABASE_CREDENTIAL)
    if "CREDENTIALS_DIRECTORY" in os.environ and credential.exists():
        try:
            return credential.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{credential}: the database's address cannot be read: {error}") from error
    if DATABASE_VARIABLE not in os.environ:
        raise ConfigError(
            f"where the database is stands in {DATABASE_VARIABLE}, or in the systemd credential "
            f"{DATABASE_CREDENTIAL}: postgresql://user:password@host/name"
        )
    return os.environ[DATABASE_VARIABLE]
