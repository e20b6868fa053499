"""Who the device is, and where it keeps what it knows."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from pydantic import Field

from edge.config.table import Table


def _host_name() -> str:
    """This machine's name, reduced to what a topic may hold."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:64].strip("-_") or "device"


def _state_directory() -> Path:
    """Where systemd lets the service write, else the same place by name."""
    return Path(os.environ.get("STATE_DIRECTORY", "/var/lib/leukoscope").split(":")[0])


class Device(Table):
    """Who is speaking."""

    name: str = Field(
        default_factory=_host_name,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Names the device in topics; letters, digits, - and _. Default: the host's name.",
    )


class Store(Table):
    """The database."""

    path: Path = Field(default_factory=lambda: _state_directory() / "leukoscope.sqlite")
