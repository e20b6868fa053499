"""What every table of the configuration file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

TOLD = "told"
"""The type of an error whose text says everything, and does not repeat what was given, as that may be secret."""


class Table(BaseModel):
    """A table: frozen, and without room for what is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
