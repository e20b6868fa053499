"""A message from the broker → a payload that can be believed, or a refusal. Whoever may publish may have sent it.

The payloads' own models check it; fields that they do not know are passed over, because a later program on a device
may say more. Names are held to what names can be, so that they can stand in addresses; other text is text, which
pages write as such.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from PIL import Image
from pydantic import ValidationError
from pydantic_core import from_json

from dashboard.mirror.rows import Message
from dashboard.mirror.schema import SEQ_BITS
from edge.report.document import JPEG_MAGIC
from edge.wire.payloads import (
    CellPayload,
    MetricsPayload,
    Payload,
    ReviewPayload,
    SamplePayload,
    StatusPayload,
)

LARGEST: Final = 256 * 1024
"""Bytes of a message. A cell with its picture has some 10,000."""
LARGEST_PICTURE: Final = 96 * 1024
MOST_PIXELS: Final = 4_000_000
"""Of a picture. A cell has some 100,000."""
MOST_CLASSES: Final = 64
LONGEST_TEXT: Final = 256
LARGEST_NUMBER: Final = 2**53
"""Browsers count exactly no further, and SQLite's numbers end soon after."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_JPEG_URI: Final = "data:image/jpeg;base64,"


class Refused(Exception):
    """A message that is not believed.

    Args:
        why: one word for the count of refusals.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Incoming(NamedTuple):
    """A message that can be believed.

    Attributes:
        device: who says it.
        topic: below the device's own.
        payload: what is said, a cell's without picture and saliency.
        record: the same as JSON, without picture and saliency.
        jpeg: a cell's picture, a JPEG file; None where it brought none.
        saliency: what the model looked at, as JSON; None where it brought none.
    """

    device: str
    topic: str
    payload: Payload
    record: str
    jpeg: bytes | None = None
    saliency: str | None = None


def read(message: Message, *, prefix: str) -> Incoming | None:
    """Check a message.

    Args:
        message: what came.
        prefix: of all topics.

    Returns:
        None where it is about something that the mirror does not keep: replies, schemas, commands.

    Raises:
        Refused: it cannot be what a device says.
    """
    if not message.topic.startswith(f"{prefix}/"):
        return None
    device, _, topic = message.topic[len(prefix) + 1 :].partition("/")
    model = _model(topic)
    if model is None:
        return None
    if len(message.payload) > LARGEST:
        raise Refused("oversized")
    try:
        said = from_json(message.payload, allow_inf_nan=False)
        if not isinstance(said, dict):
            raise Refused("malformed")
        jpeg = _picture(said.pop("thumbnail", "")) if model is CellPayload else None
        payload = model.model_validate(said, extra="ignore")
        content = payload.model_dump(mode="json", by_alias=True, exclude_unset=True)
        saliency = content.pop("saliency", None)
        _check_values(content)
        # A number such as 1e999 became infinite, which no browser reads.
        record = json.dumps(content, allow_nan=False, separators=(",", ":"))
    except (ValidationError, ValueError) as error:
        raise Refused("malformed") from error
    _check_names(device, topic, payload)
    return Incoming(device, topic, payload, record, jpeg, json.dumps(saliency) if saliency else None)


def _model(topic: str) -> type[Payload] | None:
    if topic in ("cell/accepted", "cell/flagged"):
        return CellPayload
    if topic == "sample" or topic.startswith("sample/"):
        return SamplePayload
    fixed: Mapping[str, type[Payload]] = {
        "status": StatusPayload,
        "metrics": MetricsPayload,
        "review": ReviewPayload,
    }
    return fixed.get(topic)


def _check_names(device: str, topic: str, payload: Payload) -> None:
    """See that names are names, and that who says it is who the topic names.

    Raises:
        Refused: not so.
    """
    if payload.device != device:
        raise Refused("another's name")
    names = [device, payload.boot_id, payload.id]
    texts: list[str | None] = []
    match payload:
        case CellPayload():
            if topic != f"cell/{payload.verdict}":
                raise Refused("wrong topic")
            names += [payload.sample]
            texts += [
                payload.class_,
                *payload.probabilities,
                payload.file,
                payload.model,
                payload.model_sha256,
            ]
            if len(payload.probabilities) > MOST_CLASSES:
                raise Refused("oversized")
            if (heat := payload.saliency) and len(heat.values) != heat.rows * heat.columns:
                raise Refused("malformed")
        case SamplePayload():
            names += [payload.sample]
            texts += [*payload.counts, payload.operator]
            if len(payload.counts) > MOST_CLASSES:
                raise Refused("oversized")
        case ReviewPayload():
            names += [payload.cell, payload.sample]
            texts += [payload.reading, payload.reviewed, payload.class_, payload.operator]
        case _:
            pass
    if payload.seq >= 2**SEQ_BITS:
        raise Refused("malformed")
    if not all(map(_NAME.fullmatch, names)) or any(len(text or "") > LONGEST_TEXT for text in texts):
        raise Refused("malformed")


def _check_values(said: Any, name: str = "") -> None:
    """See that every number is one that can be kept, and every time one that there is.

    The payloads' models hold a time to its form alone, which the 31st of February has, too.

    Raises:
        ValueError: not so.
    """
    match said:
        case dict():
            for key, value in said.items():
                _check_values(value, key)
        case list():
            for value in said:
                _check_values(value, name)
        case int() if abs(said) > LARGEST_NUMBER:
            raise ValueError(f"{name} is larger than anything that is counted")
        case str() if name in ("at", "since") or name.endswith("_at"):
            datetime.fromisoformat(said)
        case _:
            pass


def _picture(uri: Any) -> bytes | None:
    """The JPEG file in a data URI.

    Raises:
        Refused: it is something else.
    """
    if not uri:
        return None
    if not isinstance(uri, str) or not uri.startswith(_JPEG_URI):
        raise Refused("not a picture")
    if len(uri) > LARGEST_PICTURE * 4 // 3:
        raise Refused("oversized")
    try:
        jpeg = base64.b64decode(uri[len(_JPEG_URI) :], validate=True)
    except binascii.Error as error:
        raise Refused("not a picture") from error
    if not jpeg.startswith(JPEG_MAGIC):
        raise Refused("not a picture")
    try:
        # Only its head is read. A few kilobytes may announce what would fill the memory of every browser.
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as opened:
            width, height = opened.size
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise Refused("not a picture") from error
    if width * height > MOST_PIXELS:
        raise Refused("oversized")
    return jpeg
