"""Records → topics and JSON: every message that the device publishes, and the JSON Schema of each.

Pure: what a message says comes in as arguments, the time and its number too. The pydantic models below are
the one definition of the payloads; the published schemas are made from them. Within a version (`/1`) fields
are only ever added. Topics are given below ``<prefix>/<device>/``.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from edge.cellrecord import cell_fields, utc_text
from edge.differential import Differential, Sample
from edge.records import Decision, Reason

Percent = Annotated[float, Field(ge=0, le=100)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
UtcText = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


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
    """

    topic: str
    payload: str
    qos: int = 1
    retain: bool = False


class _Payload(BaseModel):
    # An unknown field is our own mistake; the published schema stays open, see `json_schema`.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())

    schema_: str = Field(alias="schema")
    device: str = Field(description="The device's name.")
    boot_id: str = Field(description="Changes at each start of the program on the device.")
    seq: Count = Field(
        description="One gapless counter a device for cells and whatever else must not be lost. In status, "
        "sample and metrics: the last number given out."
    )
    id: str = Field(description="Stable: a repeat of a message bears the same id.")

    def text(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_unset=True)


class CellPayload(_Payload):
    """One decided cell. A flagged one brings its picture and waits for a person."""

    schema_: Literal["leukoscope.cell/1"] = Field(alias="schema")
    sample: str = Field(description="The sample that the cell is counted for.")
    file: str = Field(description="The file's name where the frame was a file, else empty.")
    cell: Count = Field(description="The cell's number within its frame, from 0.")
    box: Annotated[list[int], Field(min_length=4, max_length=4)] | None = Field(
        description="Left, top, width, height in pixels of the frame; null where the frame was the cell."
    )
    class_: str = Field(alias="class", description="The model's best guess, on flagged cells too.")
    confidence: Probability = Field(description="The calibrated probability of the class.")
    verdict: Literal["accepted", "flagged"]
    reasons: list[Reason] = Field(description="Why the cell was flagged; empty when accepted.")
    probabilities: dict[str, Probability] = Field(description="By class, calibrated.")
    model: str
    model_sha256: str
    captured_at: UtcText
    elapsed_ms: float = Field(ge=0, description="The model's time on this cell.")
    thumbnail: str = Field(
        default="",
        pattern=r"^(data:image/jpeg;base64,.+)?$",
        description="The cell as a JPEG data URI; on flagged cells only.",
    )


class StatusPayload(_Payload):
    """Whether the device is there. Also the will."""

    schema_: Literal["leukoscope.status/1"] = Field(alias="schema")
    state: Literal["online", "offline"]
    version: str = Field(description="Of leukoscope.")
    model: str
    model_sha256: str
    threshold: Probability = Field(description="Confidence below it flags a cell.")


class SamplePayload(_Payload):
    """The sample that cells are being counted for, as far as it has come."""

    schema_: Literal["leukoscope.sample/1"] = Field(alias="schema")
    sample: str
    started_at: UtcText
    target: Annotated[int, Field(ge=1)] = Field(description="Accepted cells wanted.")
    accepted: Count = Field(description="The cells that the percentages are of.")
    flagged: Count = Field(description="Cells that wait for a person; in no percentage.")
    counts: dict[str, Count] = Field(description="Accepted cells by class.")
    percentages: dict[str, Percent | None] = Field(description="Null while no cell is accepted.")
    limits: dict[str, tuple[Percent, Percent]] = Field(
        description="Exact (Clopper–Pearson) 95 % limits of the percentages."
    )


class MetricsPayload(_Payload):
    """How the device is doing, every ten seconds."""

    schema_: Literal["leukoscope.metrics/1"] = Field(alias="schema")
    at: UtcText
    uptime_s: float = Field(ge=0)
    frames: Count = Field(description="Frames read since the start.")
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


class Metrics(NamedTuple):
    """What a metrics message says; names and units as in `MetricsPayload`."""

    uptime_s: float
    frames: int
    cells: int
    frames_per_s: float
    queue: int
    dropped: int
    outbox: int
    temperature_c: float | None
    throttled: int | None


PAYLOADS: dict[str, type[_Payload]] = {
    "cell": CellPayload,
    "status": StatusPayload,
    "sample": SamplePayload,
    "metrics": MetricsPayload,
}
"""The payloads by the name under which their schema is published."""


def cell_message(
    stamp: Stamp, decision: Decision, *, sample: str, model: Model, thumbnail: str | None
) -> Message:
    """One decided cell, for the outbox.

    Args:
        stamp: its number and id.
        decision: the cell's reading.
        sample: the sample that it is counted for.
        model: what named it.
        thumbnail: its picture as a data URI, or None on an accepted cell.
    """
    fields = cell_fields(
        decision, file=decision.cell.field.frame.name, model=model.name, model_sha256=model.sha256
    )
    picture = {} if thumbnail is None else {"thumbnail": thumbnail}
    payload = CellPayload.model_validate({**fields, **stamp._asdict(), "sample": sample, **picture})
    return Message(f"cell/{decision.verdict}", payload.text())


def status_message(
    stamp: Stamp, state: Literal["online", "offline"], *, version: str, model: Model
) -> Message:
    """Whether the device is there; retained."""
    payload = StatusPayload.model_validate(
        {
            "schema": "leukoscope.status/1",
            **stamp._asdict(),
            "state": state,
            "version": version,
            "model": model.name,
            "model_sha256": model.sha256,
            "threshold": model.threshold,
        }
    )
    return Message("status", payload.text(), retain=True)


def sample_message(stamp: Stamp, sample: Sample, result: Differential) -> Message:
    """The sample's counts, percentages (one decimal) and limits; retained."""
    payload = SamplePayload.model_validate(
        {
            "schema": "leukoscope.sample/1",
            **stamp._asdict(),
            "sample": sample.id,
            "started_at": utc_text(sample.started_at),
            "target": sample.target,
            "accepted": result.accepted,
            "flagged": result.flagged,
            "counts": {share.cell_class: share.count for share in result.shares},
            "percentages": {
                share.cell_class: None if share.percent is None else round(share.percent, 1)
                for share in result.shares
            },
            "limits": {
                share.cell_class: (round(share.limits.low, 1), round(share.limits.high, 1))
                for share in result.shares
            },
        }
    )
    return Message("sample", payload.text(), retain=True)


def metrics_message(stamp: Stamp, metrics: Metrics, *, at: datetime) -> Message:
    """How the device is doing; not retained, and lost while the broker is away."""
    payload = MetricsPayload.model_validate(
        {"schema": "leukoscope.metrics/1", **stamp._asdict(), "at": utc_text(at), **metrics._asdict()}
    )
    return Message("metrics", payload.text(), qos=0)


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one of `PAYLOADS`.

    It does not forbid further fields: a later program may say more under the same version.
    """
    schema = PAYLOADS[name].model_json_schema(by_alias=True)
    schema.pop("additionalProperties")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_messages() -> tuple[Message, ...]:
    """The JSON Schemas of all messages, each to be retained under ``schema/<name>``."""
    return tuple(
        Message(f"schema/{name}", json.dumps(json_schema(name), ensure_ascii=False), retain=True)
        for name in PAYLOADS
    )
