"""What each message says: pydantic models, from which the published JSON Schemas are made.

The one definition of the payloads. Within a version (`/1`) fields are only ever added.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from edge.records import Reason, SkipReason
from edge.wire.base import Body as Body
from edge.wire.base import Count, UtcText
from edge.wire.base import Payload as Payload
from edge.wire.metrics import MetricsPayload as MetricsPayload

Percent = Annotated[float, Field(ge=0, le=100)]
Probability = Annotated[float, Field(ge=0, le=1)]
Code = Literal["malformed", "oversized", "unknown", "too_frequent", "retained", "refused", "unavailable"]


class PlaceBody(Body):
    """Where a cell's middle lies on the slide."""

    region: Count = Field(description="Places can be compared within one region of one sample.")
    x: float = Field(description="Pixels of the camera's frame, from the region's first field rightwards.")
    y: float = Field(description="Likewise, downwards.")


class SaliencyBody(Body):
    """Where the model saw what speaks for the class: a grid that is laid over the thumbnail, whatever its size."""

    rows: Annotated[int, Field(ge=1)]
    columns: Annotated[int, Field(ge=1)]
    values: list[Annotated[int, Field(ge=0, le=255)]] = Field(
        description="Row by row from the top left; 0 is nothing, 255 the strongest in this cell."
    )


class CellPayload(Payload):
    """One decided cell. A flagged one waits for a person."""

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
        description="The cell as a JPEG data URI, where the device is set to send it, see [mqtt] thumbnails. Left out, "
        "too, where a message waited so long, or in such company, that pictures were given up.",
    )
    place: PlaceBody | None = Field(
        default=None, description="Its place on the slide; null where the source shows no slide."
    )
    views: Annotated[int, Field(ge=1)] = Field(default=1, description="In how many frames it was seen.")
    threshold: Probability | None = Field(
        default=None,
        description="The operating point that it was decided at: less confidence would be flagged.",
    )
    throttled: list[str] = Field(
        default=[],
        description="What held the machine back when it was decided: under_voltage, frequency_capped, throttled, "
        "soft_temperature_limit. Left out where nothing did, or where that is not known.",
    )
    saliency: SaliencyBody | None = Field(
        default=None,
        description="What the model looked at, on flagged cells with a thumbnail; left out where the model cannot "
        "tell.",
    )


class ProblemBody(Body):
    """Something that is wrong with the device."""

    code: str = Field(description="A word for programs.")
    text: str = Field(description="A sentence for people: what is wrong, and what to do about it.")
    since: UtcText


class StatusPayload(Payload):
    """Whether the device is there. Also the will."""

    schema_: Literal["leukoscope.status/1"] = Field(alias="schema")
    state: Literal["online", "offline"]
    version: str = Field(description="Of leukoscope.")
    model: str
    model_sha256: str
    threshold: Probability = Field(description="Confidence below it flags a cell.")
    problems: list[ProblemBody] = Field(default=[], description="What is wrong now, the oldest first.")


class SamplePayload(Payload):
    """A sample, as far as it has come."""

    schema_: Literal["leukoscope.sample/1"] = Field(alias="schema")
    sample: str
    started_at: UtcText
    target: Annotated[int, Field(ge=1)] = Field(description="Accepted cells wanted.")
    accepted: Count = Field(
        description="The cells that the percentages are of: accepted by the device, or named by a person."
    )
    flagged: Count = Field(description="Cells that wait for a person; in no percentage.")
    counts: dict[str, Count] = Field(description="Accepted cells by class, as reviewed where they were.")
    percentages: dict[str, Percent | None] = Field(description="Null while no cell is accepted.")
    limits: dict[str, tuple[Percent, Percent]] = Field(
        description="Exact (Clopper–Pearson) 95 % limits of the percentages, each class taken alone."
    )
    state: Literal["open", "finished"] = Field(default="open")
    named: bool = Field(default=False, description="A person started it; false for a device's day.")
    operator: str = Field(default="", description="Who started it, as far as they said.")
    reached_at: UtcText | None = Field(default=None, description="When the target was reached.")
    finished_at: UtcText | None = Field(default=None, description="When a person finished it.")
    simultaneous_limits: dict[str, tuple[Percent, Percent]] = Field(
        default={},
        description="Limits that hold for all classes at once in 95 % of samples (Clopper–Pearson with "
        "Bonferroni's correction).",
    )
    more_cells: dict[str, Count | None] = Field(
        default={},
        description="How many more accepted cells until a class's limits lie within 5 points of its "
        "percentage, if that stays as it is; null while no cell is accepted.",
    )
    reviewed: Count = Field(default=0, description="Cells that a person has decided.")
    not_white_cells: Count = Field(
        default=0, description="Reviewed cells that are no white cells; in no percentage."
    )
    cannot_tell: Count = Field(
        default=0, description="Reviewed cells that the person could not name either; in no percentage."
    )
    first_seq: Count | None = Field(
        default=None, description="The lowest number of its cells' messages; null while it has none."
    )
    signed_by: str | None = Field(
        default=None, description="Who signed the result; null while nobody has, or where that was withdrawn."
    )
    signed_at: UtcText | None = Field(default=None, description="When it was signed.")
    thresholds: list[Probability] = Field(
        default=[], description="The operating points that its cells were decided at, in rising order."
    )


class ReviewPayload(Payload):
    """What a person said of a cell. Both readings, the device's and the person's, are kept."""

    schema_: Literal["leukoscope.review/1"] = Field(alias="schema")
    cell: str = Field(description="The id of the cell's message.")
    sample: str
    class_: str = Field(alias="class", description="The device's reading.")
    verdict: Literal["accepted", "flagged"] = Field(description="The device's.")
    reading: str | None = Field(
        description="What the person said: a class, other_white_cell, not_a_white_cell or cannot_tell; null "
        "where the review before was withdrawn."
    )
    reviewed: str | None = Field(
        description="The reading that stands now; null where it is the device's own again."
    )
    operator: str
    reviewed_at: UtcText


class SeenBody(Body):
    """A cell in a snapshot."""

    box: Annotated[list[int], Field(min_length=4, max_length=4)] | None = Field(
        description="Left, top, width, height in pixels of the picture; null where the frame was the cell."
    )
    class_: str = Field(alias="class", description="The model's best guess in this frame alone.")
    confidence: Probability
    verdict: Literal["accepted", "flagged"]


class SnapshotBody(Body):
    """What the camera shows."""

    image: str = Field(pattern=r"^data:image/jpeg;base64,.+$", description="The newest frame, reduced.")
    width: Annotated[int, Field(ge=1)] = Field(description="Of the picture.")
    height: Annotated[int, Field(ge=1)]
    captured_at: UtcText
    boxes: list[SeenBody] = Field(
        description="The white cells in it; none where the frame was not fit to be read."
    )
    skipped: SkipReason | None = Field(description="Why the frame was not read; null where it was.")


class ReplayBody(Body):
    """What comes again, and what cannot."""

    from_seq: Count
    to_seq: Count = Field(description="As asked, or the last number given out where that is lower.")
    messages: Count = Field(description="So many come, in the order of seq, before what is newer.")
    missing: list[tuple[Count, Count]] = Field(
        description="First and last number of each run of messages that the device keeps no longer; the first 100."
    )
    missing_messages: Count = Field(description="How many these are, those of further runs too.")
    without_picture: Count = Field(
        description="Cells among the messages that come without a picture: it was not sent, or given up for room."
    )


class Fault(Body):
    """Why a command was refused."""

    code: Code
    message: str = Field(description="One sentence for a person.")


class ReplyPayload(Payload):
    """The answer to a command."""

    schema_: Literal["leukoscope.reply/1"] = Field(alias="schema")
    command: str = Field(description="The command's name, sample/start for example.")
    request: str | None = Field(description="The id that the command bore; null where it bore none.")
    ok: bool = Field(description="It was done; false: nothing was changed.")
    error: Fault | None = Field(default=None, description="Why it was not done.")
    sample: SamplePayload | None = Field(default=None, description="The sample, after the command.")
    review: ReviewPayload | None = Field(default=None, description="The review, where it was one.")
    threshold: Probability | None = Field(default=None, description="The operating point, where it was set.")
    replay: ReplayBody | None = Field(default=None, description="What comes again, where that was asked for.")
    snapshot: SnapshotBody | None = Field(default=None, description="The picture, where it was asked for.")


PAYLOADS: dict[str, type[Payload]] = {
    "cell": CellPayload,
    "status": StatusPayload,
    "sample": SamplePayload,
    "review": ReviewPayload,
    "metrics": MetricsPayload,
    "reply": ReplyPayload,
}
"""The payloads by the name under which their schema is published."""


def json_schema(model: type[BaseModel], *, closed: bool = False) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a payload.

    Args:
        model: the payload.
        closed: further fields are forbidden, as in commands. What the device itself says stays open: a later
            program may say more under the same version.
    """
    schema = model.model_json_schema(by_alias=True)
    if not closed:
        for part in (schema, *schema.get("$defs", {}).values()):
            part.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
