"""What is asked of the database."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import numpy as np

from edge.differential import CANNOT_TELL, NOT_A_WHITE_CELL, Sample, Tally
from edge.errors import StoreUnavailable
from edge.records import Box, Keyframe, Place, Reason, Verdict
from edge.sources.base import FileKey
from edge.store.outbox import OutboxTables
from edge.store.rows import AuditEntry, OutboxRange, Review, SetThreshold, StoredCell
from edge.store.writer import Writer

_SAMPLE = (
    "SELECT id, started_at, target, named, operator, reached_at, finished_at, signed_by, signed_at, "
    "(SELECT min(seq) FROM cells WHERE sample = samples.id) FROM samples "
)
_CELL = (
    "SELECT seq, id, sample, file, cell, box, class, confidence, verdict, reasons, probabilities, model, "
    "model_sha256, captured_at, region, x, y, views, reviewed, threshold, throttled FROM cells "
)


class Store(OutboxTables):
    """The device's database.

    Is a `sources.base.ReadLog`, and the outbox that `edge.mqtt.session` empties. Within `write`, what is asked is
    answered as the transaction has it so far.
    """

    @property
    def boot_id(self) -> str:
        """Names this opening of this database by the daemon; the number at its end counts them."""
        store_id, nonce, boot = self._one("SELECT store_id, nonce, boot FROM meta")
        return f"{store_id}-{nonce}-b{boot}"

    @property
    def last_seq(self) -> int:
        """The last number given out; 0 before the first."""
        return int(self._one("SELECT seq FROM meta")[0])

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One transaction: everything written within is kept, or, after an exception, nothing.

        Raises:
            StoreUnavailable: the disk is full or read-only, or fails.
            StoreDamaged: the database is damaged.
        """
        self._begin_beside()
        with self._transaction() as connection:
            yield Writer(connection)

    def has_read(self, key: FileKey) -> bool:
        """Whether this state of this file was read at any time before."""
        return bool(self._all("SELECT 1 FROM files_read WHERE name = ? AND size = ? AND mtime_ns = ?", key))

    def mark_read(self, key: FileKey) -> None:
        """Remember a file that holds nothing to store; where that is impossible now, it is tried anew some day."""
        with suppress(StoreUnavailable), self.write() as write:
            write.file_read(key)

    def sample(self, name: str) -> Sample | None:
        """The sample of this name; None where there is none."""
        return _first(self._samples("WHERE id = ?", name))

    def samples(self) -> tuple[Sample, ...]:
        """All samples, the one that began first, first."""
        return self._samples("ORDER BY started_at, rowid")

    def open_sample(self) -> Sample | None:
        """The sample that a person has started and not finished; None where there is none."""
        return _first(self._samples("WHERE named = 1 AND finished_at IS NULL"))

    def latest_sample(self) -> Sample | None:
        """The sample that is open, else the one that the last cell went to; None before the first."""
        return self.open_sample() or _first(
            self._samples("WHERE id = (SELECT sample FROM cells ORDER BY seq DESC LIMIT 1)")
        )

    def like(self, name: str) -> Sample | None:
        """A sample of this name, whatever its capital letters; None where there is none."""
        return _first(self._samples("WHERE id = ? COLLATE NOCASE", name))

    def tally(self, sample: str) -> Tally:
        """Count a sample's cells, the reviewed ones as their reviewers say."""
        rows = self._all(
            "SELECT verdict, class, reviewed, threshold, count(*) FROM cells WHERE sample = ? "
            "GROUP BY verdict, class, reviewed, threshold",
            (sample,),
        )
        accepted: dict[str, int] = {}
        apart = {Verdict.FLAGGED: 0, NOT_A_WHITE_CELL: 0, CANNOT_TELL: 0}
        for verdict, name, reviewed, _, count in rows:
            counted = reviewed or (name if verdict == Verdict.ACCEPTED else Verdict.FLAGGED)
            if counted in apart:
                apart[counted] += count
            else:
                accepted[counted] = accepted.get(counted, 0) + count
        return Tally(
            accepted,
            flagged=apart[Verdict.FLAGGED],
            reviewed=sum(count for _, _, reviewed, _, count in rows if reviewed is not None),
            not_white_cells=apart[NOT_A_WHITE_CELL],
            cannot_tell=apart[CANNOT_TELL],
            thresholds=tuple(sorted({point for _, _, _, point, _ in rows if point is not None})),
        )

    def cell(self, name: str) -> StoredCell | None:
        """The cell of this id; None where there is none."""
        with self._understanding():
            return next(map(_cell, self._all(_CELL + "WHERE id = ?", (name,))), None)

    def cells_of(self, sample: str) -> tuple[StoredCell, ...]:
        """A sample's cells, in the order in which they were decided."""
        with self._understanding():
            return tuple(map(_cell, self._all(_CELL + "WHERE sample = ? ORDER BY seq", (sample,))))

    def crop(self, cell: str) -> bytes | None:
        """A cell's picture as the model saw it, a JPEG file; None where it is kept no longer."""
        rows = self._all("SELECT jpeg FROM crops JOIN cells USING (seq) WHERE id = ?", (cell,))
        return rows[0][0] if rows else None

    def places(self, sample: str) -> tuple[tuple[Place, Box], ...]:
        """Where a sample's cells lie on its slide, and how large they are, in the order of their decision.

        Cells whose place is not known are left out. What `pipeline.Counter.begin` takes.
        """
        rows = self._all(
            "SELECT region, x, y, box FROM cells WHERE sample = ? AND region IS NOT NULL AND box IS NOT NULL "
            "ORDER BY seq",
            (sample,),
        )
        with self._understanding():
            return tuple((Place(region, x, y), Box(*json.loads(box))) for region, x, y, box in rows)

    def keyframes(self, sample: str) -> tuple[Keyframe, ...]:
        """What is known of the look of a sample's slide, in the order in which it was kept."""
        rows = self._all(
            "SELECT region, x, y, height, width, grey FROM keyframes WHERE sample = ? ORDER BY number",
            (sample,),
        )
        with self._understanding():
            return tuple(Keyframe(region, x, y, _grey(*picture)) for region, x, y, *picture in rows)

    def skipped(self, sample: str) -> dict[str, int]:
        """How many of a sample's frames were not read, by reason."""
        return dict(
            self._all("SELECT reason, frames FROM skipped WHERE sample = ? ORDER BY reason", (sample,))
        )

    def reviews(self, sample: str) -> tuple[Review, ...]:
        """What people said of a sample's cells, in the order in which they said it."""
        rows = self._all(
            "SELECT r.seq, c.id, reading, operator, reviewed_at, withdrawn "
            "FROM reviews r JOIN cells c ON c.seq = r.cell WHERE sample = ? ORDER BY r.seq",
            (sample,),
        )
        return tuple(
            Review(seq, cell, reading, operator, datetime.fromisoformat(at), bool(withdrawn))
            for seq, cell, reading, operator, at, withdrawn in rows
        )

    def audit(self, sample: str) -> tuple[AuditEntry, ...]:
        """What was done to a sample, in order."""
        rows = self._all(
            "SELECT number, at, author, via, action, sample, detail FROM audit WHERE sample = ? "
            "ORDER BY number",
            (sample,),
        )
        return tuple(AuditEntry(number, datetime.fromisoformat(at), *rest) for number, at, *rest in rows)

    def threshold(self) -> SetThreshold | None:
        """The threshold that somebody set; None where nobody has."""
        rows = self._all("SELECT value, model_sha256, configured FROM threshold")
        return SetThreshold(*rows[0]) if rows else None

    def outbox_range(self, first: int, last: int) -> OutboxRange:
        """What there is of the messages numbered from `first` to `last`, sent or not."""
        inside = (first, last)
        messages, without = self._one(
            "SELECT count(*), count(*) FILTER (WHERE picture = 0 AND topic IN ('cell/accepted', 'cell/flagged')) "
            "FROM delivery WHERE seq BETWEEN ? AND ?",
            inside,
        )
        gaps = self._all(
            "SELECT before + 1, seq - 1 FROM (SELECT seq, lag(seq, 1, ? - 1) OVER (ORDER BY seq) AS before FROM "
            "(SELECT seq FROM delivery WHERE seq BETWEEN ? AND ? UNION ALL SELECT ? + 1)) WHERE seq - before > 1",
            (first, *inside, last),
        )
        return OutboxRange(messages, tuple((low, high) for low, high in gaps), without)

    def answer(self, request: str) -> str | None:
        """What a request was answered when it first came; None where it is new. See `Writer.answered`."""
        rows = self._all("SELECT payload FROM answers WHERE request = ?", (request,))
        return rows[0][0] if rows else None

    def _samples(self, where: str, *values: object) -> tuple[Sample, ...]:
        rows = self._all(_SAMPLE + where, values)
        with self._understanding():
            return tuple(
                Sample(
                    name,
                    datetime.fromisoformat(started),
                    target,
                    named=bool(named),
                    operator=operator,
                    reached_at=_moment(reached),
                    finished_at=_moment(finished),
                    signed_by=signer,
                    signed_at=_moment(signed),
                    first_seq=first,
                )
                for name, started, target, named, operator, reached, finished, signer, signed, first in rows
            )


def _first(samples: tuple[Sample, ...]) -> Sample | None:
    return samples[0] if samples else None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _grey(height: int, width: int, packed: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width)  # read-only, as bytes are


def _cell(row: tuple[Any, ...]) -> StoredCell:
    (seq, name, sample, file, index, box, cell_class, confidence, verdict, reasons) = row[:10]
    (probabilities, model, sha256, captured_at, region, x, y, views, reviewed, threshold, throttled) = row[
        10:
    ]
    return StoredCell(
        seq=seq,
        id=name,
        sample=sample,
        file=file,
        index=index,
        box=None if box is None else Box(*json.loads(box)),
        cell_class=cell_class,
        confidence=confidence,
        verdict=Verdict(verdict),
        reasons=tuple(Reason(reason) for reason in json.loads(reasons)),
        probabilities=json.loads(probabilities),
        model=model,
        model_sha256=sha256,
        captured_at=datetime.fromisoformat(captured_at),
        place=None if region is None else Place(region, x, y),
        views=views,
        reviewed=reviewed,
        threshold=threshold,
        throttled=tuple(json.loads(throttled)),
    )
