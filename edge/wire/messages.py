"""Records → topics and JSON: every message that the device publishes. What they hold is in `edge.wire.payloads`.

Pure: what a message says comes in as arguments, the time and its number too. Topics are given below
``<prefix>/<device>/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from edge.differential import Differential, Limits, Sample
from edge.health.problems import Problem
from edge.records import Decision, Place
from edge.store.rows import StoredCell
from edge.wire.cellrecord import cell_fields, utc_text
from edge.wire.metrics import (
    BrokerBody,
    CameraBody,
    DecidedBody,
    MachineBody,
    MetricsPayload,
    OutboxBody,
    Timed,
    TimingBody,
)
from edge.wire.payloads import (
    PAYLOADS,
    CellPayload,
    ReviewPayload,
    SamplePayload,
    StatusPayload,
    json_schema,
)


class Stamp(NamedTuple):
    """Who says something, and when in the order of things.

    Attributes:
        device: the device's name.
        boot_id: of this start of the program.
        seq: the message's number in the device's gapless count; for a message that is not in this count
            (status, sample, metrics) the last number given out: how far it reaches.
        id: stable; a repeat of the message bears the same.
    """

    device: str
    boot_id: str
    seq: int
    id: str


class Model(NamedTuple):
    """The model that names the cells, as messages mention it."""

    name: str
    sha256: str
    threshold: float


class Message(NamedTuple):
    """Something to publish.

    Attributes:
        topic: below ``<prefix>/<device>/``.
        payload: JSON.
        qos: 0 or 1.
        retain: the broker keeps the last one for those who subscribe later.
        elsewhere: the topic is the whole of it, and not below the device's own.
    """

    topic: str
    payload: str
    qos: int = 1
    retain: bool = False
    elsewhere: bool = False


class Request(NamedTuple):
    """A command as it came from the broker, not yet believed.

    Attributes:
        name: what follows ``command/`` in its topic.
        payload: empty where it was too large to be kept.
        size: of the payload, in bytes.
        retained: the broker had kept it from an earlier time.
        response_topic: where the answer is wanted (MQTT 5); None: under ``reply/``.
        correlation: to be sent back with the answer (MQTT 5).
        busy: it came while too many others waited.
    """

    name: str
    payload: bytes
    size: int
    retained: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    busy: bool = False


class Reply(NamedTuple):
    """An answer to a command.

    Attributes:
        topic: the whole of it, not below the device's own.
        payload: JSON.
        correlation: what the asker wants back with it.
        smaller: what is said in its place where the broker does not take so large a packet; None: nothing.
    """

    topic: str
    payload: str
    correlation: bytes | None
    smaller: str | None = None


class Metrics(NamedTuple):
    """What a metrics message says; names and units as in `MetricsPayload`."""

    uptime_s: float
    frames: int
    skipped: dict[str, int]
    cells: int
    frames_per_s: float
    queue: int
    dropped: int
    outbox: int
    temperature_c: float | None
    throttled: int | None
    decided: Mapping[str, DecidedBody] = {}
    cells_per_min: float = 0.0
    timings: Mapping[Timed, TimingBody] = {}
    camera: CameraBody | None = None
    broker: BrokerBody | None = None
    waiting: OutboxBody | None = None
    machine: MachineBody | None = None
    problems: Sequence[str] = ()


def cell_message(
    stamp: Stamp,
    decision: Decision,
    *,
    sample: str,
    model: Model,
    thumbnail: str | None,
    place: Place | None = None,
    views: int = 1,
    throttled: Sequence[str] = (),
    saliency: NDArray[np.float32] | None = None,
) -> Message:
    """One decided cell, for the outbox.

    Args:
        stamp: its number and id.
        decision: the cell's reading.
        sample: the sample that it is counted for.
        model: what named it.
        thumbnail: its picture as a data URI, or None where it is not to be sent.
        place: its place on the slide, where that is known.
        views: in how many frames it was seen.
        throttled: what held the machine back, of `machine.CONDITIONS`.
        saliency: what the model looked at, height × width, 0 to 1, to be laid over the thumbnail.
    """
    fields = cell_fields(
        decision, file=decision.cell.field.frame.name, model=model.name, model_sha256=model.sha256
    )
    more: dict[str, object] = {} if thumbnail is None else {"thumbnail": thumbnail}
    if throttled:
        more["throttled"] = list(throttled)
    if saliency is not None:
        rows, columns = saliency.shape
        values = np.rint(255 * saliency).astype(int).ravel().tolist()
        more["saliency"] = {"rows": rows, "columns": columns, "values": values}
    where = None if place is None else {"region": place.region, "x": round(place.x), "y": round(place.y)}
    payload = CellPayload.model_validate(
        {
            **fields,
            **stamp._asdict(),
            "sample": sample,
            "place": where,
            "views": views,
            "threshold": model.threshold,
            **more,
        }
    )
    return Message(f"cell/{decision.verdict}", payload.text())


def status_message(
    stamp: Stamp,
    state: Literal["online", "offline"],
    *,
    version: str,
    model: Model,
    problems: Iterable[Problem] = (),
) -> Message:
    """Whether the device is there, and what is wrong with it; retained."""
    payload = StatusPayload.model_validate(
        {
            "schema": "leukoscope.status/1",
            **stamp._asdict(),
            "state": state,
            "version": version,
            "model": model.name,
            "model_sha256": model.sha256,
            "threshold": model.threshold,
            "problems": [{**each._asdict(), "since": utc_text(each.since)} for each in problems],
        }
    )
    return Message("status", payload.text(), retain=True)


def sample_message(stamp: Stamp, sample: Sample, result: Differential, *, topic: str = "sample") -> Message:
    """The sample's counts, percentages (one decimal) and limits.

    Args:
        stamp: on ``sample`` beside the outbox, elsewhere its number and id.
        sample: the sample.
        result: its differential.
        topic: ``sample``, which is retained; or ``sample/target`` and ``sample/finished``, for the outbox.
    """
    return Message(topic, sample_payload(stamp, sample, result).text(), retain=topic == "sample")


def sample_payload(stamp: Stamp, sample: Sample, result: Differential) -> SamplePayload:
    """What `sample_message` says."""
    shares = {share.cell_class: share for share in result.shares}
    return SamplePayload.model_validate(
        {
            "schema": "leukoscope.sample/1",
            **stamp._asdict(),
            "sample": sample.id,
            "started_at": utc_text(sample.started_at),
            "target": sample.target,
            "accepted": result.accepted,
            "flagged": result.flagged,
            "counts": {name: share.count for name, share in shares.items()},
            "percentages": {
                name: None if share.percent is None else round(share.percent, 1)
                for name, share in shares.items()
            },
            "limits": {name: _rounded(share.limits) for name, share in shares.items()},
            "state": "open" if sample.finished_at is None else "finished",
            "named": sample.named,
            "operator": sample.operator,
            "reached_at": None if sample.reached_at is None else utc_text(sample.reached_at),
            "finished_at": None if sample.finished_at is None else utc_text(sample.finished_at),
            "simultaneous_limits": {name: _rounded(share.simultaneous) for name, share in shares.items()},
            "more_cells": {name: share.more for name, share in shares.items()},
            "reviewed": result.reviewed,
            "not_white_cells": result.not_white_cells,
            "cannot_tell": result.cannot_tell,
            "first_seq": sample.first_seq,
            "signed_by": sample.signed_by,
            "signed_at": None if sample.signed_at is None else utc_text(sample.signed_at),
            "thresholds": list(result.thresholds),
        }
    )


def _rounded(limits: Limits) -> tuple[float, float]:
    return round(limits.low, 1), round(limits.high, 1)


def review_payload(
    stamp: Stamp, cell: StoredCell, reading: str | None, *, reviewed: str | None, operator: str, at: datetime
) -> ReviewPayload:
    """What a person said of a cell.

    Args:
        stamp: the review's number and id.
        cell: the cell.
        reading: what was said; None: the review before was withdrawn.
        reviewed: what stands now; None: the device's own reading.
        operator: who said it.
        at: when.
    """
    return ReviewPayload.model_validate(
        {
            "schema": "leukoscope.review/1",
            **stamp._asdict(),
            "cell": cell.id,
            "sample": cell.sample,
            "class": cell.cell_class,
            "verdict": cell.verdict.value,
            "reading": reading,
            "reviewed": reviewed,
            "operator": operator,
            "reviewed_at": utc_text(at),
        }
    )


def metrics_message(stamp: Stamp, metrics: Metrics, *, at: datetime) -> Message:
    """How the device is doing; not retained, and lost while the broker is away."""
    payload = MetricsPayload.model_validate(
        {"schema": "leukoscope.metrics/1", **stamp._asdict(), "at": utc_text(at), **metrics._asdict()}
    )
    return Message("metrics", payload.text(), qos=0)


def schema_messages(commands: Mapping[str, type[BaseModel]]) -> tuple[Message, ...]:
    """The JSON Schemas of all messages and commands, each to be retained under ``schema/<name>``."""
    schemas = {name: json_schema(model) for name, model in PAYLOADS.items()}
    schemas |= {f"command/{name}": json_schema(model, closed=True) for name, model in commands.items()}
    return tuple(
        Message(f"schema/{name}", json.dumps(schema, ensure_ascii=False), retain=True)
        for name, schema in schemas.items()
    )
