"""Believed messages → rows. Each function works within the caller's transaction and says what changed by it.

A message that was here before changes nothing, and an older one never replaces what a later one said.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

from dashboard.mirror import spans
from dashboard.mirror.reading import Incoming, Refused
from dashboard.mirror.rows import Change, Span
from dashboard.mirror.schema import SEQ_BITS
from edge.wire.cellrecord import utc_text
from edge.wire.payloads import CellPayload, MetricsPayload, ReviewPayload, SamplePayload, StatusPayload

MOST_DEVICES = 500
"""More than a laboratory has; beyond it somebody makes names up."""


def write(connection: sqlite3.Connection, incoming: Incoming, at: datetime) -> list[Change]:
    """Take a message in.

    Raises:
        Refused: it contradicts what is known.
    """
    payload, device = incoming.payload, incoming.device
    _heard(connection, device, at)
    stream = spans.stream_of(connection, device, payload.boot_id)
    if stream is None:
        raise Refused("too many")
    number = (stream << SEQ_BITS) | payload.seq
    match payload:
        case CellPayload():
            spans.arrived(connection, stream, Span(payload.seq, payload.seq))
            return _cell(connection, incoming, payload, number)
        case ReviewPayload():
            spans.arrived(connection, stream, Span(payload.seq, payload.seq))
            return _review(connection, payload, number)
        case SamplePayload():
            if incoming.topic == "sample":
                spans.reached(connection, stream, payload.seq, payload.first_seq)
            else:
                spans.arrived(connection, stream, Span(payload.seq, payload.seq))
                connection.execute(
                    "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)",
                    (number, device, payload.sample, incoming.record),
                )
            return _sample(connection, payload, number, incoming.record)
        case StatusPayload() | MetricsPayload():
            spans.reached(connection, stream, payload.seq, None)
            said = "status" if isinstance(payload, StatusPayload) else "metrics"
            connection.execute(f"UPDATE devices SET {said} = ? WHERE name = ?", (incoming.record, device))
            return [Change("device" if said == "status" else "metrics", device)]
        case _:
            raise AssertionError(f"{type(payload).__name__} is read, and nobody writes it")


def _heard(connection: sqlite3.Connection, device: str, at: datetime) -> None:
    known = connection.execute(
        "UPDATE devices SET heard_at = ? WHERE name = ? RETURNING name", (utc_text(at), device)
    ).fetchone()
    if known:
        return
    if connection.execute("SELECT count(*) FROM devices").fetchone()[0] >= MOST_DEVICES:
        raise Refused("too many")
    connection.execute("INSERT INTO devices (name, heard_at) VALUES (?, ?)", (device, utc_text(at)))


def _cell(connection: sqlite3.Connection, incoming: Incoming, cell: CellPayload, number: int) -> list[Change]:
    if _same(connection, "cells", number, cell.device, cell.id):
        return []
    # Its reviews may have come before it: what the latest of them says holds.
    said = connection.execute(
        "SELECT reviewed FROM reviews WHERE device = ? AND cell = ? ORDER BY number DESC LIMIT 1",
        (cell.device, cell.id),
    ).fetchone()
    connection.execute(
        "INSERT INTO cells (number, device, id, sample, class, confidence, verdict, threshold, record, saliency, "
        "reviewed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            cell.device,
            cell.id,
            cell.sample,
            cell.class_,
            cell.confidence,
            cell.verdict,
            cell.threshold,
            incoming.record,
            incoming.saliency,
            said[0] if said else None,
        ),
    )
    if incoming.jpeg is not None:
        connection.execute(
            "INSERT INTO pictures (cell, size, jpeg) VALUES (?, ?, ?)",
            (number, len(incoming.jpeg), incoming.jpeg),
        )
    connection.execute(
        "INSERT INTO samples (device, id, number, started_at, state, named, operator) "
        "VALUES (?, ?, 0, ?, 'open', 0, '') ON CONFLICT DO NOTHING",
        (cell.device, cell.sample, cell.captured_at),
    )
    return [Change("cell", cell.device, cell.sample, cell.id)]


def _same(connection: sqlite3.Connection, table: str, number: int, device: str, name: str) -> bool:
    """Whether a cell is here already.

    Raises:
        Refused: its number or its id is, and belongs to another.
    """
    known = connection.execute(
        f"SELECT number, device, id FROM {table} WHERE number = ? OR (device = ? AND id = ?)",
        (number, device, name),
    ).fetchall()
    if known and known != [(number, device, name)]:
        raise Refused("contradiction")
    return bool(known)


def _sample(connection: sqlite3.Connection, sample: SamplePayload, number: int, record: str) -> list[Change]:
    written = connection.execute(
        "INSERT INTO samples (device, id, number, started_at, state, named, operator, record) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = excluded.number, "
        "started_at = excluded.started_at, state = excluded.state, named = excluded.named, "
        "operator = excluded.operator, record = excluded.record "
        "WHERE excluded.number >= number RETURNING id",
        (
            sample.device,
            sample.sample,
            number,
            sample.started_at,
            sample.state,
            sample.named,
            sample.operator,
            record,
        ),
    ).fetchone()
    return [Change("sample", sample.device, sample.sample)] if written else []


def _review(connection: sqlite3.Connection, review: ReviewPayload, number: int) -> list[Change]:
    known = connection.execute("SELECT device, cell FROM reviews WHERE number = ?", (number,)).fetchone()
    if known:
        if known != (review.device, review.cell):
            raise Refused("contradiction")
        return []
    connection.execute(
        "INSERT INTO reviews VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            review.device,
            review.cell,
            review.sample,
            review.reading,
            review.reviewed,
            review.operator,
            review.reviewed_at,
        ),
    )
    connection.execute(
        "UPDATE cells SET reviewed = (SELECT reviewed FROM reviews r WHERE r.device = cells.device "
        "AND r.cell = cells.id ORDER BY r.number DESC LIMIT 1) WHERE device = ? AND id = ?",
        (review.device, review.cell),
    )
    return [Change("review", review.device, review.sample, review.cell)]
