"""Frames in, decided cells in the store: what is decided by a frame, its messages and its mark are one transaction.

Runs in the daemon's thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from edge.commands.desk import Desk
from edge.commands.instrument import Instrument
from edge.config import Thumbnails
from edge.differential import Sample
from edge.health import machine
from edge.health.gauges import Gauges
from edge.pipeline import FrameCounter, Reader, Reading
from edge.records import Counted, Frame, Verdict
from edge.sources.base import FileFrame
from edge.store import Store, Writer
from edge.wire.messages import Model, Stamp, cell_message
from edge.wire.thumbnail import jpeg_data_uri


class Recorder:
    """Counts a sample's cells and keeps them.

    Args:
        counter: frame → cells, each once.
        reader: what the counter reads with.
        store: where they are kept, with their messages in its outbox.
        desk: is told of cells that come to a finished sample; knows the device's name.
        thumbnails: which cells' messages bring their picture.
        gauges: are told what was done.
        instrument: is shown what the camera shows.
        stored: called after cells of a sample were stored.
        insist: does what it is given, again where the disk does not take it now.
    """

    def __init__(
        self,
        counter: FrameCounter,
        reader: Reader,
        store: Store,
        *,
        desk: Desk,
        thumbnails: Thumbnails,
        gauges: Gauges,
        instrument: Instrument,
        stored: Callable[[Sample], None],
        insist: Callable[[Callable[[], None]], None],
    ) -> None:
        self._counter = counter
        self._reader = reader
        self._store = store
        self._desk = desk
        self._thumbnails = thumbnails
        self._gauges = gauges
        self._instrument = instrument
        self._stored = stored
        self._insist = insist
        self._sample: Sample | None = None
        self._untold: Counter[str] = Counter()  # skipped, and not yet added to the sample's

    def take(self, sample: Sample, frame: Frame) -> None:
        """Count a frame's cells for a sample.

        Raises:
            StoreError: they cannot be stored.
        """
        if self._sample is None or self._sample.id != sample.id:
            before = self._sample
            self.settle()
            self._begin(sample, before)
        with self._gauges.reading():
            reading = self._counter.read(frame)
        self._gauges.read(reading)
        self._instrument.shown(frame, reading.skipped)
        if reading.skipped is not None:
            self._untold[reading.skipped.value] += 1
        if reading.counted or reading.keyframes or isinstance(frame, FileFrame):
            self._keep(sample, reading, frame)

    def _begin(self, sample: Sample, before: Sample | None) -> None:
        """Go over to a sample. From one day of the device to the next the slide stays where it is."""
        keyframes, places = self._store.keyframes(sample.id), self._store.places(sample.id)
        if not (keyframes or places or before is None or before.named or sample.named):
            keyframes, places = self._store.keyframes(before.id), self._store.places(before.id)
        self._counter.begin(keyframes, places)
        self._sample = sample

    def settle(self) -> None:
        """Decide and store what was seen for the sample in hand; what comes next is another slide."""
        counted, sample = self._counter.finish(), self._sample
        self._sample = None
        if sample is not None and (counted or self._untold):
            self._keep(sample, Reading(counted))

    def _keep(self, sample: Sample, reading: Reading, frame: Frame | None = None) -> None:
        throttled = machine.conditions() if reading.counted else ()
        self._insist(lambda: self._put(sample, reading, frame, throttled))
        self._untold.clear()
        if reading.counted:
            self._gauges.stored(reading.counted, at=datetime.now(UTC))
            self._stored(sample)

    def _put(self, sample: Sample, reading: Reading, frame: Frame | None, throttled: Sequence[str]) -> None:
        """One transaction."""
        with self._store.write() as write:
            if reading.counted or reading.keyframes or self._untold:
                write.sample(sample)
                write.skipped(sample.id, self._untold)
            for keyframe in reading.keyframes:
                write.keyframe(sample.id, keyframe)
            for counted in reading.counted:
                self._write(write, sample, counted, throttled)
            if reading.counted:
                self._desk.counted(write, sample.id, at=datetime.now(UTC))
            if isinstance(frame, FileFrame):
                write.file_read(frame.key)

    def _write(self, write: Writer, sample: Sample, counted: Counted, throttled: Sequence[str]) -> None:
        """Keep a cell, and put its message in the outbox."""
        ticket, decision = write.ticket(), counted.decision
        model, cell = model_of(self._reader), decision.cell
        flagged = decision.verdict is Verdict.FLAGGED
        pictured = self._thumbnails == "all" or (flagged and self._thumbnails == "flagged")
        looked_at = self._reader.classifier.activation if flagged and pictured else None
        write.cell(
            ticket,
            decision,
            sample=sample.id,
            model=model.name,
            model_sha256=model.sha256,
            place=counted.place,
            views=counted.views,
            threshold=model.threshold,
            throttled=throttled,
        )
        message = cell_message(
            Stamp(self._desk.device, self._store.boot_id, *ticket),
            decision,
            sample=sample.id,
            model=model,
            thumbnail=jpeg_data_uri(cell.picture) if pictured else None,
            place=counted.place,
            views=counted.views,
            throttled=throttled,
            saliency=None if looked_at is None else looked_at(cell, decision.cell_class),
        )
        write.message(ticket, message.topic, message.payload)


def model_of(reader: Reader) -> Model:
    """What a reader names cells with, and from which confidence on it believes it now."""
    bundle = reader.classifier.bundle
    return Model(bundle.name, bundle.sha256, reader.point.threshold)
