"""Metrics: where Prometheus finds them. Over MQTT they are always published."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from edge.config.table import Table


class Metrics(Table):
    """Where Prometheus finds the device's metrics; without these keys, nowhere."""

    textfile: Path | None = Field(
        default=None, description="A file for node_exporter's textfile collector, ending in .prom."
    )
    listen: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$",
        description="Address and port to answer at, 127.0.0.1:9469 for example. Everybody who reaches it may read.",
    )

    @field_validator("textfile")
    @classmethod
    def _ends_in_prom(cls, path: Path | None) -> Path | None:
        if path is not None and path.suffix != ".prom":
            raise PydanticCustomError("suffix", "the collector reads files that end in .prom only")
        return path

    @field_validator("listen")
    @classmethod
    def _is_a_port(cls, address: str | None) -> str | None:
        if address is not None and not 1 <= int(address.rpartition(":")[2]) <= 65535:
            raise PydanticCustomError("port", "a port lies between 1 and 65535")
        return address
