"""Messages that the broker has had, sent again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from edge.commands.desk import Author, Desk
from edge.errors import SampleError
from edge.store import Writer
from edge.wire.payloads import ReplayBody

MOST_RUNS: Final = 100
"""Runs of missing messages that an answer names."""


def replay(write: Writer, desk: Desk, first: int, last: int, *, author: Author, at: datetime) -> ReplayBody:
    """Put stored messages back into the outbox, as they were published first: nothing in them is new.

    Args:
        write: the transaction.
        desk: of the device.
        first: the lowest number.
        last: the highest number; may lie beyond the last one given out.
        author: who asks.
        at: when.

    Raises:
        SampleError: no message has these numbers yet; or the operator's name is not allowed.
    """
    given_out = desk.store.last_seq
    if first > given_out:
        raise SampleError(f"no message has the number {first} yet; the last one has {given_out}")
    last = min(last, given_out)
    found = desk.store.outbox_range(first, last)
    write.replay(first, last)
    desk.note(write, "replay", author, at, None, f"{first} to {last}: {found.messages} messages")
    return ReplayBody(
        from_seq=first,
        to_seq=last,
        messages=found.messages,
        missing=list(found.missing[:MOST_RUNS]),
        missing_messages=sum(high - low + 1 for low, high in found.missing),
        without_picture=found.without_picture,
    )
