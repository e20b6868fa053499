"""The outbox: messages that wait for the broker, and those that it has, kept for a replay.

Two tables: `outbox` holds what is said and is not touched again, `delivery` holds where each message stands, so
that an acknowledgement writes a few bytes to the card and not the message once more. Triggers keep the totals.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from edge.errors import StoreUnavailable
from edge.store.database import Database
from edge.store.rows import Failure, Outgoing
from edge.wire.cellrecord import utc_text

BATCH = 100
"""Messages that are tidied in one transaction: others wait for it, on a slow card a few tenths of a second."""
FAILURES_KEPT = 100
"""Kinds of failures that are kept, those seen last."""


class OutboxState(NamedTuple):
    """How much there is in the outbox.

    Attributes:
        waiting: messages that the broker has not acknowledged.
        bytes: of all messages, the acknowledged ones that are kept for a replay too.
        oldest_at: since when the first of the waiting ones waits; None where none does.
        pictures_dropped: messages that lost their picture to the limits, since the database was made.
        replays: how often messages were put back to be sent again.
    """

    waiting: int
    bytes: int
    oldest_at: datetime | None
    pictures_dropped: int
    replays: int


class Tidied(NamedTuple):
    """What was done to keep the outbox within its limits.

    Attributes:
        forgotten: acknowledged messages that cannot be sent again from now on.
        stripped: waiting messages that lost their picture.
    """

    forgotten: int
    stripped: int


class OutboxTables(Database):
    """The part of the store that the broker's session uses.

    While the disk takes nothing, the session goes on: what it would have written is kept in memory, or left for later.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        super().__init__(path, shared=shared)
        # Acknowledged, not yet written: when, and how often messages had been put back until then.
        self._unmarked: dict[int, tuple[str, int | None]] = {}

    def pending(
        self, after: int, limit: int, *, only: str | None = None, without: Collection[str] = ()
    ) -> list[Outgoing]:
        """Unacknowledged messages, in order.

        Args:
            after: with a number above this one.
            limit: at most so many.
            only: of this topic.
            without: of none of these topics.
        """
        topics = [only] if only is not None else self._topics(without) if without else []
        if without and not topics:
            return []
        # By topic, so that those which are left out are not even looked at, however many wait.
        waiting = "SELECT seq FROM delivery WHERE published_at IS NULL AND seq > ? {} ORDER BY seq LIMIT ?"
        parts = [waiting.format("AND topic = ?") for _ in topics] or [waiting.format("")]
        values = [value for topic in topics for value in (after, topic, limit)] or [after, limit]
        rows = self._all(
            "SELECT seq, topic, payload FROM "
            f"({' UNION ALL '.join(f'SELECT seq FROM ({part})' for part in parts)} ORDER BY seq LIMIT ?) "
            "JOIN delivery USING (seq) JOIN outbox USING (seq) ORDER BY seq",
            (*values, limit),
        )
        return [Outgoing(*row) for row in rows]

    def _topics(self, without: Collection[str]) -> list[str]:
        """The topics of which something waits, but for some; found by leaps over the index."""
        topics: list[str] = []
        topic = ""
        while True:
            (found,) = self._one(
                "SELECT min(topic) FROM delivery WHERE published_at IS NULL AND topic > ?", (topic,)
            )
            if found is None:
                return topics
            topic = found
            if topic not in without:
                topics.append(topic)

    def published(self, seqs: Sequence[int], *, at: datetime, replays: int | None = None) -> None:
        """Mark messages as acknowledged. They are kept for a replay until `tidy` deletes them.

        What cannot be marked now is marked with those that come after. Lost before, it is sent once more, as it was.

        Args:
            seqs: their numbers.
            at: when.
            replays: as of `outbox_state` when they were sent: an acknowledgement from before messages were put
                back does not stand for them. None: whatever it was.
        """
        self._unmarked |= dict.fromkeys(seqs, (utc_text(at), replays))
        with suppress(StoreUnavailable):
            with self._transaction() as connection:
                connection.executemany(
                    "UPDATE delivery SET published_at = ? WHERE seq = ? "
                    "AND EXISTS (SELECT 1 FROM outbox_totals WHERE replays = coalesce(?, replays))",
                    [(moment, seq, before) for seq, (moment, before) in self._unmarked.items()],
                )
            self._unmarked.clear()

    def outbox_depth(self) -> int:
        """How many messages wait for the broker's acknowledgement."""
        return int(self._one("SELECT waiting FROM outbox_totals")[0])

    def outbox_state(self) -> OutboxState:
        """How much there is in the outbox."""
        waiting, size, dropped, replays = self._one(
            "SELECT waiting, bytes, pictures_dropped, replays FROM outbox_totals"
        )
        oldest = self._all("SELECT put_at FROM delivery WHERE published_at IS NULL ORDER BY seq LIMIT 1")
        since = datetime.fromisoformat(oldest[0][0]) if oldest else None
        return OutboxState(waiting, size, since, dropped, replays)

    def tidy(self, *, keep: timedelta, largest: int, at: datetime) -> Tidied:
        """Bring the outbox nearer to its limits, by `BATCH` messages at most; call it until it has nothing to do.

        Acknowledged messages older than `keep` are deleted, and, while there is too much, the younger ones from
        the oldest on. Waiting messages stay, but lose their pictures once they are older than `keep`, and, while
        there is still too much, from the oldest on; those of accepted cells before those that a person must see.

        Args:
            keep: the age.
            largest: bytes of all messages together.
            at: the present.
        """
        limit = utc_text(at - keep)
        too_old = self._seqs("published_at < ?", "published_at", limit)
        forgotten = self._forget(too_old or self._seqs_beyond(largest, "published_at IS NOT NULL", "seq"))
        if forgotten:
            return Tidied(forgotten, 0)
        waiting = "published_at IS NULL AND picture > 0"
        aged = self._seqs(f"{waiting} AND put_at < ?", "seq", limit)
        return Tidied(0, self.drop_pictures(aged or self._seqs_beyond(largest, waiting, "picture, seq")))

    def drop_pictures(self, seqs: Sequence[int]) -> int:
        """Take the pictures out of messages. The cells' own are kept with the cells, see `Store.crop`.

        Returns:
            How many of them had one and could be changed.
        """
        if not seqs:
            return 0
        with suppress(StoreUnavailable), self._transaction() as connection:
            before = self._one("SELECT pictures_dropped FROM outbox_totals")[0]
            for seq in seqs:
                connection.execute(
                    "UPDATE outbox SET payload = json_remove(payload, '$.thumbnail', '$.saliency') "
                    "WHERE seq = (SELECT seq FROM delivery WHERE seq = ? AND picture > 0)",
                    (seq,),
                )
                connection.execute(
                    "UPDATE delivery SET picture = 0, bytes = "
                    "(SELECT length(CAST(payload AS BLOB)) FROM outbox WHERE outbox.seq = delivery.seq) "
                    "WHERE seq = ? AND picture > 0",
                    (seq,),
                )
            return int(self._one("SELECT pictures_dropped FROM outbox_totals")[0]) - int(before)
        return 0

    def failures(self) -> tuple[Failure, ...]:
        """What failed at the broker, the newest first."""
        return tuple(
            Failure(what, reason, times, datetime.fromisoformat(first), datetime.fromisoformat(last))
            for what, reason, times, first, last in self._all(
                "SELECT what, reason, times, first_at, last_at FROM failures ORDER BY last_at DESC"
            )
        )

    def keep_failures(self, failures: Collection[Failure], *, since: datetime) -> None:
        """Keep what failed, each in the place of what was kept of its kind; forget what ended before `since`."""
        with suppress(StoreUnavailable), self._transaction() as connection:
            connection.executemany(
                "INSERT INTO failures VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET times = excluded.times, last_at = excluded.last_at",
                [
                    (each.what, each.reason, each.times, utc_text(each.first_at), utc_text(each.last_at))
                    for each in failures
                ],
            )
            connection.execute(
                "DELETE FROM failures WHERE last_at < ? OR (what, reason) NOT IN "
                "(SELECT what, reason FROM failures ORDER BY last_at DESC LIMIT ?)",
                (utc_text(since), FAILURES_KEPT),
            )

    def _forget(self, seqs: Sequence[int]) -> int:
        if not seqs:
            return 0
        with suppress(StoreUnavailable):
            with self._transaction() as connection:
                for table in ("outbox", "delivery"):
                    connection.executemany(f"DELETE FROM {table} WHERE seq = ?", [(seq,) for seq in seqs])
            return len(seqs)
        return 0

    def _seqs(self, where: str, order: str, *values: object) -> list[int]:
        rows = self._all(f"SELECT seq FROM delivery WHERE {where} ORDER BY {order} LIMIT ?", (*values, BATCH))
        return [row[0] for row in rows]

    def _seqs_beyond(self, largest: int, where: str, order: str) -> list[int]:
        """The first messages that together are as large as what is too much."""
        excess = int(self._one("SELECT bytes FROM outbox_totals")[0]) - largest
        chosen: list[int] = []
        if excess <= 0:
            return chosen
        rows = self._all(f"SELECT seq, bytes FROM delivery WHERE {where} ORDER BY {order} LIMIT ?", (BATCH,))
        for seq, size in rows:
            if excess <= 0:
                break
            chosen.append(seq)
            excess -= size
        return chosen
