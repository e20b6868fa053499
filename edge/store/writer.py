"""What is written, within one transaction; see `Store.write`."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime

from edge.counting.slide import KEYFRAMES_KEPT
from edge.differential import Sample
from edge.records import Decision, Keyframe, Place
from edge.sources.base import FileKey
from edge.store.rows import SetThreshold, Ticket
from edge.wire.cellrecord import utc_text
from edge.wire.thumbnail import jpeg

CROPS_KEPT = 20_000
"""Pictures of cells are kept for the newest cells only: about 100 MB of 5 kB each."""
ANSWERS_KEPT = 1_000
"""Commands whose repetition is recognised."""


class Writer:
    """Writes within one transaction; see `Store.write`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ticket(self) -> Ticket:
        """Draw the next number. Rolled back with everything else, so that none is ever missing."""
        seq, store_id, nonce = self._connection.execute(
            "UPDATE meta SET seq = seq + 1 RETURNING seq, store_id, nonce"
        ).fetchone()
        return Ticket(seq, f"{store_id}-{nonce}-{seq}")

    def sample(self, sample: Sample) -> None:
        """Begin a sample where there is none of its name yet."""
        self._connection.execute(
            "INSERT INTO samples (id, started_at, target, named, operator) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO NOTHING",
            (sample.id, utc_text(sample.started_at), sample.target, sample.named, sample.operator),
        )

    def sample_finished(self, sample: str, *, at: datetime) -> None:
        """Close a sample, and forget what its slide looked like: the next one is another."""
        self._connection.execute("UPDATE samples SET finished_at = ? WHERE id = ?", (utc_text(at), sample))
        self._connection.execute("DELETE FROM keyframes WHERE sample = ?", (sample,))

    def sample_signed(self, sample: str, *, by: str | None, at: datetime | None) -> None:
        """Note who signed a sample's result and when; with None for both, that nobody stands by it any more."""
        self._connection.execute(
            "UPDATE samples SET signed_by = ?, signed_at = ? WHERE id = ?",
            (by, None if at is None else utc_text(at), sample),
        )

    def target_reached(self, sample: str, *, at: datetime) -> None:
        """Note that a sample has as many accepted cells as were wanted."""
        self._connection.execute("UPDATE samples SET reached_at = ? WHERE id = ?", (utc_text(at), sample))

    def cell(
        self,
        ticket: Ticket,
        decision: Decision,
        *,
        sample: str,
        model: str,
        model_sha256: str,
        place: Place | None = None,
        views: int = 1,
        threshold: float | None = None,
        throttled: Sequence[str] = (),
    ) -> None:
        """Keep one decided cell and its picture. Confidence and probabilities are kept unrounded.

        Args:
            ticket: its number and id.
            decision: its reading.
            sample: the sample that it is counted for, which must have begun.
            model: what named it.
            model_sha256: the hash of that.
            place: its place on the slide, where that is known.
            views: in how many frames it was seen.
            threshold: the least confidence that was accepted; None where it is not known.
            throttled: what held the machine back when it was decided.
        """
        cell, prediction = decision.cell, decision.prediction
        probabilities = {name: float(value) for name, value in prediction.probabilities.items()}
        region, x, y = place or (None, None, None)
        self._connection.execute(
            "INSERT INTO cells (seq, id, sample, file, cell, box, class, confidence, verdict, reasons, "
            "probabilities, model, model_sha256, captured_at, elapsed_ms, region, x, y, views, threshold, throttled) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                ticket.seq,
                ticket.id,
                sample,
                cell.field.frame.name,
                cell.index,
                None if cell.box is None else json.dumps([int(edge) for edge in cell.box]),
                decision.cell_class,
                float(decision.confidence),
                decision.verdict.value,
                json.dumps([reason.value for reason in decision.reasons]),
                json.dumps(probabilities),
                model,
                model_sha256,
                utc_text(cell.field.frame.captured_at),
                float(prediction.elapsed_ms),
                region,
                None if x is None else float(x),
                None if y is None else float(y),
                views,
                threshold,
                json.dumps(list(throttled)),
            ),
        )
        self._connection.execute("INSERT INTO crops VALUES (?, ?)", (ticket.seq, jpeg(cell.picture)))
        # No two cells share a number, so that this leaves at most CROPS_KEPT of them without counting.
        self._connection.execute("DELETE FROM crops WHERE seq <= ?", (ticket.seq - CROPS_KEPT,))

    def keyframe(self, sample: str, keyframe: Keyframe) -> None:
        """Keep what a place on a sample's slide looks like. The sample must have begun."""
        image = keyframe.image
        number = self._connection.execute(
            "INSERT INTO keyframes (sample, region, x, y, height, width, grey) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                sample,
                keyframe.region,
                float(keyframe.x),
                float(keyframe.y),
                *image.shape,
                zlib.compress(image.tobytes(), 1),
            ),
        ).lastrowid
        assert number is not None
        self._connection.execute("DELETE FROM keyframes WHERE number <= ?", (number - KEYFRAMES_KEPT,))

    def skipped(self, sample: str, counts: Mapping[str, int]) -> None:
        """Add to the numbers of frames that were not read, by reason. The sample must have begun."""
        self._connection.executemany(
            "INSERT INTO skipped VALUES (?, ?, ?) "
            "ON CONFLICT (sample, reason) DO UPDATE SET frames = frames + excluded.frames",
            [(sample, reason, count) for reason, count in counts.items() if count],
        )

    def review(
        self, ticket: Ticket, cell: str, reading: str | None, *, operator: str, at: datetime
    ) -> str | None:
        """Keep what a person says of a cell, or, with None, that the newest standing review is withdrawn.

        Args:
            ticket: the review's number and id.
            cell: the cell's id; the cell must be there.
            reading: a class, or another of `differential.readings`.
            operator: who says it.
            at: when.

        Returns:
            What stands now; None where it is the device's own reading.
        """
        execute = self._connection.execute
        (number,) = execute("SELECT seq FROM cells WHERE id = ?", (cell,)).fetchone()
        standing = (
            "SELECT {} FROM reviews WHERE cell = ? AND reading IS NOT NULL AND NOT withdrawn "
            "ORDER BY seq DESC LIMIT 1"
        )
        if reading is None:
            execute(f"UPDATE reviews SET withdrawn = 1 WHERE seq = ({standing.format('seq')})", (number,))
        execute(
            "INSERT INTO reviews (seq, cell, reading, operator, reviewed_at) VALUES (?, ?, ?, ?, ?)",
            (ticket.seq, number, reading, operator, utc_text(at)),
        )
        row = execute(
            f"UPDATE cells SET reviewed = ({standing.format('reading')}) WHERE seq = ? RETURNING reviewed",
            (number, number),
        ).fetchone()
        stands: str | None = row[0]
        return stands

    def threshold(self, kept: SetThreshold | None) -> None:
        """Keep the threshold that somebody set; None: the configured one holds."""
        self._connection.execute("DELETE FROM threshold")
        if kept is not None:
            self._connection.execute("INSERT INTO threshold VALUES (1, ?, ?, ?)", kept)

    def audit(
        self, action: str, *, author: str, via: str, at: datetime, sample: str | None, detail: str
    ) -> None:
        """Note who did what; see `AuditEntry`."""
        self._connection.execute(
            "INSERT INTO audit (at, author, via, action, sample, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (utc_text(at), author, via, action, sample, detail),
        )

    def answered(self, request: str, payload: str) -> None:
        """Keep the answer to a request, so that a repeated request gets the same and changes nothing.

        Args:
            request: what a repetition has in common with it, and no other request.
            payload: the answer.
        """
        number = self._connection.execute(
            "INSERT INTO answers (request, payload) VALUES (?, ?)", (request, payload)
        ).lastrowid
        assert number is not None
        self._connection.execute("DELETE FROM answers WHERE number <= ?", (number - ANSWERS_KEPT,))

    def message(self, ticket: Ticket, topic: str, payload: str) -> None:
        """Put a message in the outbox."""
        picture = 0
        if '"thumbnail":' in payload or '"saliency":' in payload:
            picture = 1 if topic == "cell/accepted" else 2
        self._connection.execute("INSERT INTO outbox VALUES (?, ?)", (ticket.seq, payload))
        self._connection.execute(
            "INSERT INTO delivery (seq, topic, bytes, picture) VALUES (?, ?, ?, ?)",
            (ticket.seq, topic, len(payload.encode()), picture),
        )

    def replay(self, first: int, last: int) -> int:
        """Put acknowledged messages back, to be sent again as they are, in order, before what comes later.

        Args:
            first: the lowest number.
            last: the highest number.

        Returns:
            How many wait again.
        """
        self._connection.execute("UPDATE outbox_totals SET replays = replays + 1")
        return self._connection.execute(
            "UPDATE delivery SET published_at = NULL WHERE seq BETWEEN ? AND ? AND published_at IS NOT NULL",
            (first, last),
        ).rowcount

    def file_read(self, key: FileKey) -> None:
        """Mark a file as read in this state."""
        self._connection.execute("INSERT INTO files_read VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key)
