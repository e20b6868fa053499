"""Home Assistant: whether it is told of the device."""

from __future__ import annotations

from pydantic import Field

from edge.config.table import Table


class HomeAssistant(Table):
    """A description by which Home Assistant shows the device without being configured."""

    discovery: bool = Field(
        default=True,
        description="Publish it. A broker that does not allow it, or a place without Home Assistant, is no harm.",
    )
    prefix: str = Field(
        default="homeassistant",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        max_length=128,
        description="Home Assistant's discovery prefix.",
    )
