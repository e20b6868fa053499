"""What the live page shows, taken from the mirror: records that become JSON. No I/O but the mirror's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from dashboard.mirror import DeviceState, Mirror, MirrorCell, SampleState
from dashboard.settings import Reference
from edge.wire.cellrecord import utc_text
from edge.wire.payloads import MetricsPayload, ProblemBody, SamplePayload

THROTTLING = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_temperature_limit"}
"""The Raspberry Pi's bits for now; the same 16 higher tell what was since its boot."""


class Row(NamedTuple):
    """One class of a sample.

    Attributes:
        name: the class.
        cells: accepted cells of it.
        percent: of all accepted ones; None while there are none.
        low, high: exact 95 % limits, percent.
        reference: lowest and highest of the reference range; None where the settings have none.
    """

    name: str
    cells: int
    percent: float | None
    low: float
    high: float
    reference: tuple[float, float] | None


class View(BaseModel):
    """What all parts of the page's data have in common."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class DeviceLine(View):
    """A device in the list of all.

    Attributes:
        state: `online`, `offline`, or `unknown` before its first status.
        problems: how many it says it has.
        sample: the one it counts now, empty where there is none.
    """

    name: str
    state: str
    problems: int
    sample: str
    accepted: int
    target: int | None


class SampleView(View):
    """A sample as it stands.

    Attributes:
        open: a person has started it and it is not finished.
        named: a person started it; otherwise it is the device's day.
        here: how many of its cells are here.
        missing: how many messages of the device are on their way or have to be asked for.
    """

    id: str
    open: bool
    named: bool
    operator: str
    started_at: str
    finished_at: str | None
    signed_by: str | None
    target: int | None
    accepted: int
    flagged: int
    reviewed: int
    not_white_cells: int
    cannot_tell: int
    rows: tuple[Row, ...]
    here: int
    missing: int


class DeviceView(View):
    """One device, with the sample that it counts.

    Attributes:
        heard_at: when anything of it arrived last.
        throttled_now, throttled_since_boot: words of `THROTTLING`.
    """

    name: str
    state: str
    heard_at: str
    version: str
    model: str
    threshold: float | None
    problems: tuple[ProblemBody, ...]
    metrics: MetricsPayload | None
    throttled_now: tuple[str, ...]
    throttled_since_boot: tuple[str, ...]
    sample: SampleView | None


class LiveView(View):
    """Everything but the cells."""

    devices: tuple[DeviceLine, ...]
    device: DeviceView | None


class CellRow(NamedTuple):
    """A cell, as short as a list of ten thousand needs it."""

    number: int
    id: str
    cell_class: str
    confidence: float
    verdict: str
    reasons: tuple[str, ...]
    reviewed: str | None
    pictured: bool
    captured_at: str


def live_view(mirror: Mirror, reference: Reference, chosen: str) -> LiveView:
    """The page's data.

    Args:
        mirror: what devices said.
        reference: the ranges to compare with.
        chosen: the device that is looked at; where there is none of that name, the first one online.
    """
    devices = mirror.devices()
    device = next((each for each in devices if each.name == chosen), None)
    if device is None and devices:
        device = min(devices, key=lambda each: (_state(each) != "online", each.name))
    return LiveView(
        devices=tuple(_line(mirror, each) for each in devices),
        device=None if device is None else device_view(mirror, reference, device),
    )


def device_view(mirror: Mirror, reference: Reference, device: DeviceState) -> DeviceView:
    """One device, with its sample."""
    status, metrics = device.status, device.metrics
    bits = 0 if metrics is None or metrics.throttled is None else metrics.throttled
    sample = mirror.latest_sample(device.name)
    return DeviceView(
        name=device.name,
        state=_state(device),
        heard_at=utc_text(device.heard_at),
        version="" if status is None else status.version,
        model="" if status is None else status.model,
        threshold=None if status is None else status.threshold,
        problems=() if status is None else tuple(status.problems),
        metrics=metrics,
        throttled_now=_throttling(bits),
        throttled_since_boot=_throttling(bits >> 16),
        sample=None if sample is None else sample_view(mirror, reference, sample),
    )


def sample_view(mirror: Mirror, reference: Reference, sample: SampleState) -> SampleView:
    """A sample as its device last said; before it said anything, as its cells that are here say."""
    record = sample.record
    missing = sum(span.high - span.low + 1 for span in mirror.missing(sample.device))
    if record is not None:
        rows = _rows_of(record, reference)
        accepted, flagged, reviewed = record.accepted, record.flagged, record.reviewed
        apart = record.not_white_cells, record.cannot_tell
    else:
        counted = mirror.differential(sample.device, sample.id)
        rows = tuple(
            Row(
                each.cell_class, each.count, each.percent, *each.limits, reference.ranges.get(each.cell_class)
            )
            for each in counted.shares
        )
        accepted, flagged, reviewed = counted.accepted, counted.flagged, counted.reviewed
        apart = counted.not_white_cells, counted.cannot_tell
    return SampleView(
        id=sample.id,
        open=sample.open,
        named=record is not None and record.named,
        operator="" if record is None else record.operator,
        started_at=utc_text(sample.started_at),
        finished_at=None if record is None else record.finished_at,
        signed_by=None if record is None else record.signed_by,
        target=None if record is None else record.target,
        accepted=accepted,
        flagged=flagged,
        reviewed=reviewed,
        not_white_cells=apart[0],
        cannot_tell=apart[1],
        rows=_in_order(rows, reference),
        here=mirror.count(sample.device, sample.id),
        missing=missing,
    )


def cell_rows(cells: Iterable[MirrorCell]) -> list[CellRow]:
    """Cells for the list."""
    return [
        CellRow(
            cell.number,
            cell.record.id,
            cell.record.class_,
            cell.record.confidence,
            cell.record.verdict,
            tuple(cell.record.reasons),
            cell.reviewed,
            cell.pictured,
            cell.record.captured_at,
        )
        for cell in cells
    ]


def _rows_of(record: SamplePayload, reference: Reference) -> tuple[Row, ...]:
    rows = []
    for name, count in record.counts.items():
        low, high = record.limits.get(name, (0.0, 100.0))
        rows.append(Row(name, count, record.percentages.get(name), low, high, reference.ranges.get(name)))
    return tuple(rows)


def _in_order(rows: tuple[Row, ...], reference: Reference) -> tuple[Row, ...]:
    """As laboratories list them, which is how the reference ranges stand; other classes follow."""
    places = {name: place for place, name in enumerate(reference.ranges)}
    return tuple(sorted(rows, key=lambda row: places.get(row.name, len(places))))


def _line(mirror: Mirror, device: DeviceState) -> DeviceLine:
    sample = mirror.latest_sample(device.name)
    record = None if sample is None else sample.record
    return DeviceLine(
        name=device.name,
        state=_state(device),
        problems=0 if device.status is None else len(device.status.problems),
        sample="" if sample is None else sample.id,
        accepted=0 if record is None else record.accepted,
        target=None if record is None else record.target,
    )


def _state(device: DeviceState) -> str:
    return "unknown" if device.status is None else device.status.state


def _throttling(bits: int) -> tuple[str, ...]:
    return tuple(word for bit, word in THROTTLING.items() if bits >> bit & 1)
