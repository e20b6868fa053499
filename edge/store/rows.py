"""What is read from the database: frozen records. Times are in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from edge.records import Box, Place, Reason, Verdict


class Ticket(NamedTuple):
    """A message's number in the device's gapless count, and its id, which never changes."""

    seq: int
    id: str


class Outgoing(NamedTuple):
    """A message that waits for the broker; `topic` is below ``<prefix>/<device>/``."""

    seq: int
    topic: str
    payload: str


class OutboxRange(NamedTuple):
    """What the outbox holds of a range of numbers.

    Attributes:
        messages: how many.
        missing: the first and the last number of each run of messages that it holds no longer, in order.
        without_picture: cells among the messages that have no picture, or lost it to the outbox's limits.
    """

    messages: int
    missing: tuple[tuple[int, int], ...]
    without_picture: int


class SetThreshold(NamedTuple):
    """A threshold that a person has set.

    Attributes:
        value: 0.50 to 0.99.
        model_sha256: of the model that it was set for.
        configured: the threshold that it stands in for.
    """

    value: float
    model_sha256: str
    configured: float


class Failure(NamedTuple):
    """Something that failed at the broker, again and again perhaps.

    Attributes:
        what: `connection`, `subscription`, or the topic of the messages that were refused.
        reason: in the broker's words, or the machine's.
        times: how often.
        first_at: when for the first time.
        last_at: when for the last time.
    """

    what: str
    reason: str
    times: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class StoredCell:
    """A decided cell, as it was kept.

    Attributes:
        seq: its number in the device's count; cells are in the order of these.
        id: names it in messages.
        sample: the sample that it is counted for.
        file: the file's name where the frame was a file, else empty.
        index: its number within its frame, from 0.
        box: its place in the frame in pixels; None where the frame was the cell.
        cell_class: the device's reading; it stays when a person says otherwise.
        confidence: the calibrated probability of `cell_class`.
        verdict: whether the device stood by it.
        reasons: why not.
        probabilities: by class, unrounded.
        model: the bundle that named it.
        model_sha256: the hash of that bundle's model.
        captured_at: when the frame was captured.
        place: its place on the slide, where that is known.
        views: in how many frames it was seen.
        reviewed: what a person says of it (a class or another of `differential.readings`); None while
            nobody has, or where that was withdrawn.
        threshold: the least confidence that was accepted when it was decided; None where that is not known.
        throttled: what held the machine back then, see `machine.held_back`.
    """

    seq: int
    id: str
    sample: str
    file: str
    index: int
    box: Box | None
    cell_class: str
    confidence: float
    verdict: Verdict
    reasons: tuple[Reason, ...]
    probabilities: dict[str, float]
    model: str
    model_sha256: str
    captured_at: datetime
    place: Place | None
    views: int
    reviewed: str | None
    threshold: float | None = None
    throttled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """One decision of a person on a cell. Reviews are only ever added.

    Attributes:
        seq: its number in the device's count.
        cell: the cell's id.
        reading: what the person says; None: the review before was withdrawn.
        operator: who said it.
        at: when.
        withdrawn: it was taken back later.
    """

    seq: int
    cell: str
    reading: str | None
    operator: str
    at: datetime
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that was done to a sample.

    Attributes:
        number: counts the entries of the database.
        at: when.
        author: who did it, as far as they said; the device's own name where it did it itself.
        via: how it was asked for: `cli`, `mqtt`, or `device`.
        action: what was done, `sample/start` for example.
        sample: the sample's id, or None where it is about none.
        detail: the particulars, in words.
    """

    number: int
    at: datetime
    author: str
    via: str
    action: str
    sample: str | None
    detail: str
