"""What a metrics message says: the device's figures, as pydantic models.

Counts are since the start of the program unless it says otherwise. `edge.health.gauges` fills it in,
`edge.health.prometheus` says the same to Prometheus.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge.wire.base import Body, Count, Payload, UtcText

Timed = Literal["read", "inference", "latency"]


class TimingBody(Body):
    """How long something takes."""

    count: Count = Field(description="How often it was done since the start.")
    total_s: float = Field(ge=0, description="How long all of it took.")
    recent_ms: float | None = Field(
        ge=0, description="How long it took on average since the metrics before; null where it was not done."
    )


class DecidedBody(Body):
    """Cells of one class that were decided since the start."""

    accepted: Count
    flagged: Count


class CameraBody(Body):
    """What a camera did wrong since the start."""

    restarts: Count = Field(description="It was opened again.")
    timeouts: Count = Field(description="No new picture came in time.")
    lost: Count = Field(description="Pictures that nobody took before a newer one came.")
    repeated: Count = Field(description="Pictures that were the one before once more.")
    blank: Count = Field(description="Pictures with nothing but black or white.")


class FailureBody(Body):
    """What the broker refused, over restarts of the program."""

    what: str = Field(description="A topic, connection or subscription.")
    reason: str
    times: Count


class BrokerBody(Body):
    """The connection to the broker."""

    connected: bool
    attempts: Count = Field(description="Connections tried since the start.")
    connections: Count = Field(description="Of these, those that came about.")
    failures: list[FailureBody] = Field(description="The newest first, ten at most.")


class OutboxBody(Body):
    """What is kept for the broker."""

    bytes: Count = Field(description="Of all messages, the acknowledged ones that are kept for a replay too.")
    oldest_s: float | None = Field(
        ge=0, description="How long the first of those that wait waits; null: none."
    )
    pictures_dropped: Count = Field(
        description="Messages that lost their picture to the outbox's limits, over restarts."
    )


class MachineBody(Body):
    """The machine; null where it does not tell."""

    disk_free_bytes: Count | None = Field(description="Where the database is.")
    memory_bytes: Count | None = Field(description="Of this program.")
    memory_available_bytes: Count | None = Field(description="That programs could still get.")
    load: float | None = Field(ge=0, description="Programs that run or wait to, over the last minute.")


class MetricsPayload(Payload):
    """How the device is doing, every ten seconds."""

    schema_: Literal["leukoscope.metrics/1"] = Field(alias="schema")
    at: UtcText
    uptime_s: float = Field(ge=0)
    frames: Count = Field(description="Frames looked at since the start.")
    skipped: dict[str, Count] = Field(
        default={}, description="Of these, those that were not read, by reason."
    )
    cells: Count = Field(description="Cells decided since the start.")
    frames_per_s: float = Field(ge=0, description="Since the metrics before.")
    queue: Count = Field(description="Frames that wait to be read.")
    dropped: Count = Field(description="Frames of a live source given up for newer ones since the start.")
    outbox: Count = Field(description="Messages that the broker has not acknowledged.")
    temperature_c: float | None = Field(description="Of the processor; null where it is not known.")
    throttled: int | None = Field(
        ge=0,
        description="The Raspberry Pi's throttling bits (0 to 3 now, 16 to 19 since boot); null elsewhere.",
    )
    decided: dict[str, DecidedBody] = Field(default={}, description="Of the cells, by class.")
    cells_per_min: float = Field(default=0.0, ge=0, description="Cells decided, since the metrics before.")
    timings: dict[Timed, TimingBody] = Field(
        default={},
        description="read: looking at a frame; inference: the model on one cell; latency: from the picture in "
        "which a cell was seen best to its being stored.",
    )
    camera: CameraBody | None = Field(default=None, description="Null where the source is none.")
    broker: BrokerBody | None = Field(default=None)
    waiting: OutboxBody | None = Field(default=None)
    machine: MachineBody | None = Field(default=None)
    problems: list[str] = Field(default=[], description="Their codes, as in status.")
