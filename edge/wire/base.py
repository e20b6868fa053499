"""What all payloads have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
UtcText = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


class Body(BaseModel):
    """What all parts of payloads have in common."""

    # An unknown field is our own mistake; the published schema stays open, see `json_schema`.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())


class Payload(Body):
    """What every message says of itself."""

    schema_: str = Field(alias="schema")
    device: str = Field(description="The device's name.")
    boot_id: str = Field(description="Changes at each start of the program on the device.")
    seq: Count = Field(
        description="One gapless counter a device for cells and whatever else must not be lost. In status, "
        "sample, metrics and replies: the last number given out."
    )
    id: str = Field(description="Stable: a repeat of a message bears the same id.")

    def text(self) -> str:
        """The payload as JSON; what was not said is left out."""
        return self.model_dump_json(by_alias=True, exclude_unset=True)
