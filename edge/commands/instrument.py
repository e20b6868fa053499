"""The part of the device that reads, as commands use it: the operating point, and what the camera shows.

Used from the daemon's thread.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from edge.commands.desk import Author, Desk
from edge.commands.snapshot import snapshot
from edge.pipeline import Reader
from edge.records import Decision, Frame, SkipReason, View
from edge.store import SetThreshold, Store, Writer
from edge.wire.payloads import SnapshotBody

log = logging.getLogger(__name__)


class Instrument:
    """Reader and newest frame of one device.

    A threshold that somebody sets outlives the program: a power cut must not change in the middle of a sample what
    is flagged. It stands in for the configured one of one model: with another model, or after the configuration
    was changed, it holds no longer.

    Args:
        reader: reads with the configured threshold.
        store: where a threshold that was set is kept.
        view: how the source's frames are to be read.
    """

    def __init__(self, reader: Reader, store: Store, *, view: View) -> None:
        self._reader = reader
        self._store = store
        self._view = view
        self._configured = reader.point.threshold
        self._newest: tuple[Frame, SkipReason | None] | None = None

    @property
    def threshold(self) -> float:
        """The least confidence that is accepted, from the next cell on."""
        return self._reader.point.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._reader.point = replace(self._reader.point, threshold=value)

    def open(self, *, device: str, at: datetime) -> None:
        """Take up a threshold that was set before, where it still holds. The database must be open."""
        self.threshold = self._configured
        kept = self._store.threshold()
        if kept is None:
            return
        if kept == SetThreshold(kept.value, self._reader.classifier.bundle.sha256, self._configured):
            self.threshold = kept.value
            log.info("the threshold is %g, as somebody has set it; %g is configured", *kept[::2])
            return
        with self._store.write() as write:
            write.threshold(None)
            write.audit(
                "threshold",
                author=device,
                via="device",
                at=at,
                sample=None,
                detail=f"{kept.value:g}, which was set for another model or another configuration, holds no "
                f"longer: {self._configured:g}",
            )

    def keep_threshold(
        self, write: Writer, value: float, *, desk: Desk, author: Author, at: datetime
    ) -> None:
        """Keep a threshold, and who set it. It holds from the setting of `threshold` on, after the transaction.

        Raises:
            SampleError: the operator's name is not allowed.
        """
        sha256 = self._reader.classifier.bundle.sha256
        configured = value == self._configured
        write.threshold(None if configured else SetThreshold(value, sha256, self._configured))
        sample = self._store.open_sample()
        detail = f"from {self.threshold:g} to {value:g}"
        desk.note(write, "threshold", author, at, None if sample is None else sample.id, detail)

    def shown(self, frame: Frame, skipped: SkipReason | None) -> None:
        """The camera has shown something.

        Args:
            frame: the newest frame.
            skipped: why it was not read.
        """
        self._newest = frame, skipped

    def snapshot(self) -> SnapshotBody | None:
        """What the camera shows; None before its first frame."""
        if self._newest is None:
            return None
        frame, skipped = self._newest
        decisions: tuple[Decision, ...] = ()
        if skipped in (None, SkipReason.KNOWN):
            # A plain reader of its own: what is looked at here is not counted, nor seen by whoever compares.
            reader = Reader(
                self._reader.classifier,
                self._reader.point,
                view=self._view,
                um_per_pixel=self._reader.um_per_pixel,
            )
            decisions = reader.read(frame)
        return snapshot(frame, decisions, skipped)
