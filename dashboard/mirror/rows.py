"""What the mirror answers with: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from edge.wire.payloads import CellPayload, MetricsPayload, SamplePayload, StatusPayload

Filter = Literal["all", "flagged", "undecided"]


class Message(NamedTuple):
    """Something from the broker, not yet believed.

    Attributes:
        topic: the whole of it.
        payload: what it carried.
        retained: the broker had kept it from an earlier time.
    """

    topic: str
    payload: bytes
    retained: bool = False


class Change(NamedTuple):
    """Something that is other than it was; what it is now is to be asked for.

    Attributes:
        kind: `device`: its state; `metrics`: its figures; `sample`: what is said of a sample; `cell`: a new cell;
            `review`: what a person said of one.
        device: its name.
        sample: the sample's id, where it is about one or about a cell of it.
        cell: the cell's id, where it is about one.
    """

    kind: Literal["device", "metrics", "sample", "cell", "review"]
    device: str
    sample: str = ""
    cell: str = ""


class Span(NamedTuple):
    """Numbers of messages from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device as it was last heard of.

    Attributes:
        name: its name.
        heard_at: when anything of it arrived last; UTC.
        status: the last status; None before the first.
        metrics: the last metrics; None before the first.
    """

    name: str
    heard_at: datetime
    status: StatusPayload | None
    metrics: MetricsPayload | None


@dataclass(frozen=True, slots=True)
class SampleState:
    """A sample as far as it is known here.

    Attributes:
        device: the device that counts it.
        id: its name.
        started_at: when it began, as far as known; UTC.
        number: the place of what is known in the order of messages; 0 where only cells of it arrived.
        record: what the device said of it last; None where only cells of it arrived.
    """

    device: str
    id: str
    started_at: datetime
    number: int
    record: SamplePayload | None

    @property
    def open(self) -> bool:
        """A person has started it and it is not finished."""
        return self.record is not None and self.record.named and self.record.state == "open"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a person said of a cell.

    Attributes:
        number: its place in the order of messages.
        cell: the cell's id.
        reading: a class or another reading; None: the one before was withdrawn.
        operator: who said it.
        at: when; UTC.
        withdrawn: it was taken back later.
    """

    number: int
    cell: str
    reading: str | None
    operator: str
    at: datetime
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class MirrorCell:
    """A decided cell.

    Attributes:
        number: its place in the order of messages; cells are in the order of these.
        record: what the device said of it, without picture and saliency.
        reviewed: what a person says of it; None where the device's reading stands.
        standing: what it counts as: a class, `edge.report.sample.WAITING`, or a reading that leaves the count.
        pictured: its picture is kept here.
    """

    number: int
    record: CellPayload
    reviewed: str | None
    standing: str
    pictured: bool
