"""The PostgreSQL database of a fleet: messages once, what is missing, and who asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg.errors import ProgramLimitExceeded

from edge.errors import ConfigError, StoreError
from fleet.gaps import Gap
from fleet.inbox import Numbered, Said

if TYPE_CHECKING:
    from psycopg import Connection

ASKER_LOCK = 0x1E0C05C0  # one number that no other program is likely to lock
SCHEMA_LOCK = ASKER_LOCK + 1

_KEEP = """
    INSERT INTO message (device, id, epoch, seq, topic, body) VALUES (%s, %s, %s, %s, %s, %s::jsonb)
    ON CONFLICT (device, id) DO NOTHING
"""
_HEARD = """
    INSERT INTO device (device, epoch, last_seq) VALUES (%s, %s, %s)
    ON CONFLICT (device) DO UPDATE SET
        last_seq = CASE WHEN device.epoch = excluded.epoch THEN greatest(device.last_seq, excluded.last_seq)
                   ELSE excluded.last_seq END,
        complete_to = CASE WHEN device.epoch = excluded.epoch THEN device.complete_to ELSE 0 END,
        epoch = excluded.epoch, seen_at = now()
"""
# What a broker kept of a device's database of before says nothing of how far the numbers of its present one reach.
_SAID = """
    INSERT INTO device (device, last_seq, status) VALUES (%(device)s, %(last_seq)s, %(status)s::jsonb)
    ON CONFLICT (device) DO UPDATE SET
        last_seq = CASE WHEN %(epoch)s IN ('', device.epoch) OR device.epoch = ''
                   THEN greatest(device.last_seq, excluded.last_seq) ELSE device.last_seq END,
        status = coalesce(excluded.status, device.status), seen_at = now()
"""
_GAPS = """
    WITH known AS (
        SELECT seq FROM message WHERE device = %(device)s AND epoch = %(epoch)s AND seq > %(complete)s
        UNION SELECT %(complete)s UNION SELECT %(last)s + 1
    ), pairs AS (SELECT seq, lead(seq) OVER (ORDER BY seq) AS next FROM known)
    SELECT seq + 1, next - 1 FROM pairs WHERE next > seq + 1 ORDER BY seq LIMIT %(limit)s
"""


class Unkeepable(Exception):
    """Something that no database holds, however often it is tried; the text says why."""


class FleetDatabase:
    """A connection to the database; opened again by whoever uses it, after a `StoreError`.

    Args:
        url: ``postgresql://…``; never shown, for it may hold a password.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection[tuple[object, ...]] | None = None

    def open(self) -> None:
        """Connect, and make the tables where they are missing.

        Raises:
            ConfigError: the address is none.
            StoreError: the database is away, or does not let us in.
        """
        try:
            self._connection = psycopg.connect(self._url, connect_timeout=10, application_name="leukoscope")
            with self._connection.transaction():
                if self._connection.execute("SELECT to_regclass('result')").fetchone() == (None,):
                    # Several collectors may begin at once.
                    self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                    script = resources.files("fleet").joinpath("schema.sql").read_text("utf-8")
                    self._connection.execute(script.encode())
        except psycopg.ProgrammingError as error:
            self.close()
            raise ConfigError(f"the database's address or rights are wrong: {_first_line(error)}") from None
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"the database cannot be used: {_first_line(error)}") from None

    def close(self) -> None:
        """End the connection; closing twice does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep(self, numbered: Sequence[Numbered], said: Sequence[Said]) -> int:
        """Write messages as one transaction; those that are there already are passed over.

        Returns:
            How many were new.

        Raises:
            StoreError: nothing was written, and may be later.
            Unkeepable: nothing was written, as one of them is something that the database cannot hold.
        """
        # In one order, so that collectors that write to the same devices' rows never wait for each other in
        # a circle.
        furthest: dict[str, Numbered] = {}
        for message in numbered:
            known = furthest.get(message.device)
            if known is None or known.epoch != message.epoch or known.seq < message.seq:
                furthest[message.device] = message
        newest = {each.device: each for each in sorted(said, key=lambda each: each.status is not None)}
        connection = self._open_connection()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                if numbered:
                    rows: list[Numbered] = sorted(numbered, key=lambda each: (each.device, each.id))
                    cursor.executemany(_KEEP, rows)
                new = max(0, cursor.rowcount)
                for device in sorted(furthest.keys() | newest.keys()):
                    if device in furthest:
                        cursor.execute(_HEARD, (device, furthest[device].epoch, furthest[device].seq))
                    if device in newest:
                        cursor.execute(_SAID, newest[device]._asdict())
            return new
        except (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded) as error:
            raise Unkeepable(_first_line(error)) from None
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"the database cannot be written: {_first_line(error)}") from None

    def asker(self) -> bool:
        """Whether this collector is the one that asks devices for what is missing: one of all, while it lives.

        Raises:
            StoreError: the database is away.
        """
        connection = self._open_connection()
        try:
            with connection.transaction():
                # Once held, it is not taken again: the server counts, and would want as many releases.
                held = connection.execute(
                    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() "
                    "AND classid = 0 AND objid = %s",
                    (ASKER_LOCK,),
                ).fetchone()
                if held is not None:
                    return True
                found = connection.execute("SELECT pg_try_advisory_lock(%s)", (ASKER_LOCK,)).fetchone()
                return found == (True,)
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"the database cannot be read: {_first_line(error)}") from None

    def gaps(self, *, limit: int = 1000) -> list[Gap]:
        """What is missing of each device's newest count, the lowest numbers first.

        What is complete is noted, so that the next look begins there.

        Args:
            limit: gaps a device at most.

        Raises:
            StoreError: the database is away.
        """
        connection = self._open_connection()
        found: list[Gap] = []
        try:
            with connection.transaction():
                rows = connection.execute(
                    "SELECT device, epoch, complete_to, last_seq FROM device "
                    "WHERE epoch <> '' AND complete_to < last_seq ORDER BY device"
                ).fetchall()
                for device, epoch, complete, last in rows:
                    place = {
                        "device": device,
                        "epoch": epoch,
                        "complete": complete,
                        "last": last,
                        "limit": limit,
                    }
                    missing = connection.execute(_GAPS, place).fetchall()
                    found += [Gap(str(device), str(epoch), int(str(a)), int(str(b))) for a, b in missing]
                    upto = last if not missing else int(str(missing[0][0])) - 1
                    connection.execute(
                        "UPDATE device SET complete_to = %s WHERE device = %s AND epoch = %s",
                        (upto, device, epoch),
                    )
            return found
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"the database cannot be read: {_first_line(error)}") from None

    def _open_connection(self) -> Connection[tuple[object, ...]]:
        if self._connection is None:
            self.open()
        assert self._connection is not None
        return self._connection


def _first_line(error: psycopg.Error) -> str:
    """What went wrong; psycopg does not repeat the password."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
