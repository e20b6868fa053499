"""What a device says → rows. Nothing of it is believed before it was looked at."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from edge.wire.payloads import CellPayload, Payload, ReviewPayload, SamplePayload

LARGEST = 256 * 1024
"""Bytes of a payload, as the dashboard takes it; a cell with its picture has some 10,000."""
LONGEST_ID = 128
LONGEST_SAMPLE = 256
LARGEST_SEQ = 2**53
"""A next one must have room in the database's numbers, too."""
LEAST_CONFIDENCE = 1e-30
"""Less, but for 0, the view `cell` could not show."""
NUMBERED: dict[str, type[Payload]] = {
    "cell/accepted": CellPayload,
    "cell/flagged": CellPayload,
    "sample/target": SamplePayload,
    "sample/finished": SamplePayload,
    "review": ReviewPayload,
}
"""What goes through a device's outbox, and so has a number of its own."""
PICTURES = ("thumbnail", "saliency")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Numbered(NamedTuple):
    """A message that must not be lost.

    Attributes:
        device: who said it.
        id: bears every repeat of it.
        epoch: the device's database that counted it; numbers are gapless within one.
        seq: its number.
        topic: below ``<prefix>/<device>/``.
        body: JSON.
    """

    device: str
    id: str
    epoch: str
    seq: int
    topic: str
    body: str


class Said(NamedTuple):
    """What a device says of itself beside its count.

    Attributes:
        device: who.
        last_seq: how far its numbers reach.
        status: the body of a `status` message as JSON; None: it was another one.
        epoch: the device's database that counts them; empty where it does not tell.
    """

    device: str
    last_seq: int
    status: str | None
    epoch: str = ""


class Malformed(Exception):
    """It is no message of a device; the text says why."""


def parse(topic: str, payload: bytes, *, prefix: str, pictures: bool) -> Numbered | Said:
    """Read a message.

    Args:
        topic: the whole of it.
        payload: JSON, perhaps.
        prefix: of all topics.
        pictures: keep the cells' pictures.

    Raises:
        Malformed: it is none.
    """
    device, _, name = topic.removeprefix(prefix + "/").partition("/")
    body = _body(payload)
    seq, message_id = body.get("seq"), body.get("id")
    if body.get("device") != device:
        raise Malformed("it says that it is another device's than its topic does")
    if not _NAME.fullmatch(device):
        raise Malformed("its device has no name that a device can have")
    if type(seq) is not int or not 0 <= seq <= LARGEST_SEQ:
        raise Malformed("its number is none")
    if not isinstance(message_id, str) or not 0 < len(message_id) <= LONGEST_ID:
        raise Malformed("it has no id")
    if name not in NUMBERED:
        boot = body.get("boot_id")
        epoch = boot.partition("-")[0][:LONGEST_ID] if isinstance(boot, str) and boot.isprintable() else ""
        return Said(device, seq, _text(body) if name == "status" else None, epoch)
    # The database, what is new at each start of the device (older ones lack it), the number.
    epoch, dash, number = message_id.partition("-")[0], *message_id.rpartition("-")[1:]
    if not dash or number != str(seq):
        raise Malformed("its id does not end in its number")
    _check(body, NUMBERED[name])
    if not pictures:
        body = {key: value for key, value in body.items() if key not in PICTURES}
    return Numbered(device, message_id, epoch, seq, name, _text(body))


def _body(payload: bytes) -> dict[str, Any]:
    if len(payload) > LARGEST:
        raise Malformed(f"{len(payload)} bytes are too many")
    try:
        body = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("it is no JSON") from None
    if not isinstance(body, dict):
        raise Malformed("it is no JSON object")
    return body


def _check(body: dict[str, Any], model: type[Payload]) -> None:
    """See that it says what it must; what a later program says beyond that is kept."""
    try:
        said = model.model_validate(body, extra="ignore")
        if len(str(body.get("sample"))) > LONGEST_SAMPLE:
            raise ValueError("no sample has so long a name")
        if isinstance(said, CellPayload) and 0 < said.confidence < LEAST_CONFIDENCE:
            raise ValueError("nobody is that unsure")
        for key, value in body.items():
            if key.endswith("_at") and value is not None:
                datetime.fromisoformat(value)
    except (ValidationError, ValueError, TypeError):
        raise Malformed("it does not say what its topic promises") from None


def _text(body: dict[str, Any]) -> str:
    """As JSON that PostgreSQL takes: it keeps no zeros in texts, no halves of characters and no infinities."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (ValueError, RecursionError):
        raise Malformed("it holds what no database keeps") from None
    if "\\u0000" in text:
        raise Malformed("it holds what no database keeps")
    return text
