"""What a device's camera sees, asked for while somebody looks; however many look, the device is asked once."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dashboard.link import CommandError, Link
from dashboard.strings import t

FRESH_S = 2.0
"""A picture is shown to everybody who asks within so long."""
LARGEST_PICTURE = 700_000
"""Characters of a picture as a data URI."""
_JPEG = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/]+={0,2}")

Pixels = Annotated[int, Field(ge=1, le=20_000)]
Word = Annotated[str, Field(max_length=64)]


class _Part(BaseModel):
    """Of a device's word, what is known here; it may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class FieldBox(_Part):
    """A cell in the picture."""

    box: tuple[int, int, int, int]
    class_: Word = Field(alias="class")
    confidence: float = Field(ge=0, le=1)
    verdict: Literal["accepted", "flagged"]


class FieldView(_Part):
    """What the camera sees: `image` is a JPEG as a data URI; `skipped` says why the frame was not read."""

    image: Annotated[str, Field(max_length=LARGEST_PICTURE)]
    width: Pixels
    height: Pixels
    captured_at: Word
    boxes: Annotated[tuple[FieldBox, ...], Field(max_length=500)] = ()
    skipped: Word | None = None


class Fields:
    """The last picture of each device.

    Args:
        link: asks the devices.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, tuple[float, FieldView]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def now(self, device: str) -> FieldView | str:
        """What a device's camera sees, at most some seconds ago; or why that cannot be shown, as a sentence.

        Args:
            device: one that the mirror knows.
        """
        async with self._turns.setdefault(device, asyncio.Lock()):
            known = self._known.get(device)
            if known is not None and time.monotonic() - known[0] < FRESH_S:
                return known[1]
            try:
                answer = await self._link.command(device, "snapshot", {})
            except CommandError as error:
                return str(error)
            if not answer.ok:
                return answer.message
            try:
                view = FieldView.model_validate(answer.body.get("snapshot"))
            except ValidationError:
                view = None
            if view is None or not _JPEG.fullmatch(view.image):
                return t("live.field_unfit")
            self._known[device] = time.monotonic(), view
            return view
