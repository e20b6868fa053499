"""Which of a device's numbers arrived, and which are missing. Works within the caller's transaction."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from dashboard.mirror.rows import Span
from dashboard.mirror.schema import MOST_STREAMS

MOST_STORES: Final = 1000
"""Databases of one device: more than it will ever lose. One that makes them up leaves the others theirs."""
MOST_GAPS: Final = 100
"""Gaps that are told at once; the rest are told when these are filled."""

_BOOT: Final = re.compile(r"([^-]+)-(?:[^-]+-)?b\d+")
"""The database, what is new at each start (older devices lack it), and how many starts there were."""


def stream_of(connection: sqlite3.Connection, device: str, boot_id: str) -> int | None:
    """The stream that a message belongs to: one for each database that the device ever had.

    Returns:
        None where the device, or all together, had more databases than devices ever have: somebody makes them up.
    """
    match = _BOOT.fullmatch(boot_id)
    store = match.group(1) if match else boot_id
    row = connection.execute(
        "SELECT stream FROM streams WHERE device = ? AND store = ?", (device, store)
    ).fetchone()
    if row is not None:
        return int(row[0])
    had = connection.execute("SELECT count(*) FROM streams WHERE device = ?", (device,)).fetchone()[0]
    if had >= MOST_STORES:
        return None
    stream = connection.execute(
        "INSERT INTO streams (device, store, reach, floor) VALUES (?, ?, 0, 0) RETURNING stream",
        (device, store),
    ).fetchone()[0]
    return int(stream) if stream < MOST_STREAMS else None


def reached(connection: sqlite3.Connection, stream: int, seq: int, first: int | None) -> None:
    """Note that a device has given out numbers up to `seq`.

    Args:
        connection: within a transaction.
        stream: the device's.
        seq: the last number given out.
        first: the lowest number of a sample that is of interest; None where that is not said. What was before
            the first contact is missed only from the lowest such number on.
    """
    connection.execute(
        "UPDATE streams SET reach = max(reach, ?1), floor = CASE "
        "WHEN floor = 0 THEN coalesce(?2, ?1 + 1) ELSE min(floor, coalesce(?2, floor)) END WHERE stream = ?3",
        (seq, first, stream),
    )


def arrived(connection: sqlite3.Connection, stream: int, span: Span) -> None:
    """Note that numbers arrived, or will never: they are missing no more."""
    low, high = span
    touching = connection.execute(
        "SELECT low, high FROM spans WHERE stream = ? AND low <= ? AND high >= ? ORDER BY low",
        (stream, high + 1, low - 1),
    ).fetchall()
    if touching:
        low, high = min(low, touching[0][0]), max(high, touching[-1][1])
        connection.executemany(
            "DELETE FROM spans WHERE stream = ? AND low = ?", [(stream, each) for each, _ in touching]
        )
    connection.execute("INSERT INTO spans VALUES (?, ?, ?)", (stream, low, high))
    connection.execute(
        "UPDATE streams SET reach = max(reach, ?1), floor = iif(floor = 0, ?2, floor) WHERE stream = ?3",
        (span.high, span.low, stream),
    )


def missing(connection: sqlite3.Connection, device: str) -> tuple[Span, ...]:
    """The numbers of a device's present stream that were given out and did not arrive, in order."""
    row = connection.execute(
        "SELECT stream, floor, reach FROM streams WHERE device = ? ORDER BY stream DESC LIMIT 1", (device,)
    ).fetchone()
    if row is None:
        return ()
    stream, after, reach = row
    gaps: list[Span] = []
    for low, high in connection.execute(
        "SELECT low, high FROM spans WHERE stream = ? AND high >= ? ORDER BY low", (stream, after)
    ):
        if low > after:
            gaps.append(Span(after, low - 1))
        after = max(after, high + 1)
        if len(gaps) == MOST_GAPS:
            return tuple(gaps)
    if after <= reach:
        gaps.append(Span(after, reach))
    return tuple(gaps)
