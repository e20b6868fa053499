"""The program that runs on the device: pictures in, decided cells stored and published, until told to stop.

    source ──(thread)──▶ FrameQueue ──▶ reader ──▶ store ──outbox──▶ session (thread) ──▶ broker

The thread that calls `Daemon.run` reads and stores. What ends any thread ends the daemon: nothing is caught
just to go on.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from edge import __version__, config
from edge.config import FolderSettings, Settings, VirtualSlideSettings
from edge.differential import Sample, differential
from edge.framequeue import FrameQueue
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.messages import (
    Message,
    Metrics,
    Model,
    Stamp,
    cell_message,
    metrics_message,
    sample_message,
    schema_messages,
    status_message,
)
from edge.mqtt import Session, State
from edge.pipeline import Reader
from edge.records import Frame, Verdict
from edge.sources.base import FileFrame, ReadLog, Source, SourceEnded
from edge.sources.folder import FolderSource
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide
from edge.store import Store
from edge.thumbnail import jpeg_data_uri

log = logging.getLogger(__name__)

QUEUE_FRAMES = 4
TICK_S = 0.25
"""How long the daemon waits for a frame, or the source for one, before it looks after other things."""
SAMPLE_S = 1.0
"""The sample is published at most this often."""
METRICS_S = 10.0
FLUSH_S = 5.0
"""At the end, time for the broker to take what the outbox holds."""


class Daemon:
    """Reads one source to its end, or until `stop`.

    Args:
        settings: everything that the device was told.
        store: its database, not yet open.
        source: where frames come from, not yet open.
        reader: frame → decisions.
        bundle: the reader's model.

    Raises:
        ConfigError: the broker's password or a certificate cannot be read.
    """

    def __init__(
        self, settings: Settings, *, store: Store, source: Source, reader: Reader, bundle: Bundle
    ) -> None:
        self.settings = settings
        self.store = store
        self.source = source
        self.reader = reader
        self.classes = bundle.classes
        self.model = Model(bundle.name, bundle.sha256, reader.point.threshold)
        self.frames = FrameQueue(QUEUE_FRAMES, live=source.live)
        self.session = Session(
            settings.mqtt,
            password=config.password(settings.mqtt),
            device=settings.device.name,
            outbox=store,
            status=self._status,
        )
        self._stopping = False
        self._numbers = itertools.count()
        self._read = self._decided = 0
        self._boot_id = ""
        self._begun_at = 0.0
        self._sample: Sample | None = None
        self._sample_due_at: float | None = None
        self._metrics_due_at = 0.0
        self._metrics_of = (0.0, 0)

    @classmethod
    def of(cls, settings: Settings) -> Daemon:
        """A daemon with the store, source and model that the settings name.

        Raises:
            BundleError: the model is missing or altered.
            ConfigError: as the constructor.
        """
        bundle = Bundle.load(settings.model.name)
        store = Store(settings.store.path)
        reader = make_reader(settings, bundle)
        return cls(
            settings, store=store, source=make_source(settings.source, store), reader=reader, bundle=bundle
        )

    def stop(self) -> None:
        """Ask the daemon to end after the frame in hand. Only sets a flag: safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Read until the source ends or `stop`; then publish what is left and say `offline`.

        Raises:
            SourceError: the source cannot be opened, or failed.
            StoreError: the database cannot be used.
        """
        with ExitStack() as stack:
            stack.enter_context(self.store)
            self._boot_id = self.store.boot_id
            self.source.open()
            stack.callback(self.source.close)
            self._begun_at = time.monotonic()
            self._metrics_of = (self._begun_at, 0)
            for message in schema_messages():
                self.session.publish(message)
            self._sample = self.store.latest_sample()
            self._say_sample()
            self.session.start()
            stack.callback(self.session.stop, FLUSH_S)
            thread = threading.Thread(target=self._take_pictures, name="source", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(self.frames.close)
            log.info("reading, as %s, with %s", self.settings.device.name, self.model.name)
            self._loop()

    def _take_pictures(self) -> None:
        failure: BaseException | None = None
        try:
            while not self._stopping:
                frame = self.source.read(TICK_S)
                if frame is not None and not self.frames.put(frame):
                    return
        except SourceEnded:
            log.info("the source has ended")
        except Exception as error:  # noqa: BLE001 - raised in the daemon's thread by `FrameQueue.get`
            failure = error
        self.frames.close(failure)

    def _loop(self) -> None:
        try:
            while not self._stopping:
                self.session.raise_failure()
                frame = self.frames.get(TICK_S)
                if frame is not None:
                    self._take(frame)
                now = time.monotonic()
                if self._sample_due_at is not None and now >= self._sample_due_at:
                    self._say_sample()
                if now >= self._metrics_due_at:
                    self._say_metrics(now)
        except SourceEnded:
            pass
        if self._sample_due_at is not None:
            self._say_sample()

    def _take(self, frame: Frame) -> None:
        """Read a frame, and store what was decided, its messages and the file's mark as one."""
        decisions = self.reader.read(frame)
        self._read += 1
        if not decisions and not isinstance(frame, FileFrame):
            return
        sample = self._sample_of(frame)
        with self.store.write() as write:
            if decisions:
                write.sample(sample)
            for decision in decisions:
                ticket = write.ticket()
                write.cell(
                    ticket,
                    decision,
                    sample=sample.id,
                    model=self.model.name,
                    model_sha256=self.model.sha256,
                )
                flagged = decision.verdict is Verdict.FLAGGED
                message = cell_message(
                    Stamp(self.settings.device.name, self._boot_id, *ticket),
                    decision,
                    sample=sample.id,
                    model=self.model,
                    thumbnail=jpeg_data_uri(decision.cell.crop) if flagged else None,
                )
                write.message(ticket, message.topic, message.payload)
            if isinstance(frame, FileFrame):
                write.file_read(frame.key)
        if decisions:
            self._decided += len(decisions)
            self._sample = sample
            if self._sample_due_at is None:
                self._sample_due_at = time.monotonic() + SAMPLE_S
            self.session.notify()

    def _sample_of(self, frame: Frame) -> Sample:
        """The sample that a frame's cells are counted for: the device's day, in UTC."""
        day = frame.captured_at.astimezone(UTC).date().isoformat()
        name = f"{self.settings.device.name}-{day}"
        if self._sample is not None and self._sample.id == name:
            return self._sample
        return Sample(name, frame.captured_at, self.settings.sample.target)

    def _stamp(self, topic: str) -> Stamp:
        """For what is published beside the outbox."""
        name = f"{self._boot_id}-{topic}-{next(self._numbers)}"
        return Stamp(self.settings.device.name, self._boot_id, self.store.last_seq, name)

    def _status(self, state: State) -> Message:
        return status_message(self._stamp("status"), state, version=__version__, model=self.model)

    def _say_sample(self) -> None:
        self._sample_due_at = None
        if self._sample is None:
            return
        tally = self.store.tally(self._sample.id)
        counts = dict.fromkeys(self.classes, 0) | tally.accepted
        result = differential(counts, flagged=tally.flagged)
        self.session.publish(sample_message(self._stamp("sample"), self._sample, result))

    def _say_metrics(self, now: float) -> None:
        (then, read), self._metrics_of = self._metrics_of, (now, self._read)
        self._metrics_due_at = now + METRICS_S
        metrics = Metrics(
            uptime_s=round(now - self._begun_at, 1),
            frames=self._read,
            cells=self._decided,
            frames_per_s=round((self._read - read) / max(now - then, TICK_S), 2),
            queue=len(self.frames),
            dropped=self.frames.dropped,
            outbox=self.store.outbox_depth(),
            temperature_c=_temperature_c(),
            throttled=_throttled(),
        )
        self.session.publish(metrics_message(self._stamp("metrics"), metrics, at=datetime.now(UTC)))


def make_source(settings: FolderSettings | VirtualSlideSettings, read_log: ReadLog) -> Source:
    """The source that the settings name, not yet open."""
    if isinstance(settings, FolderSettings):
        return FolderSource(settings.path, read_log)
    return VirtualSlide(
        SlideSettings(seed=settings.seed, cells=settings.cells, interval_s=settings.interval_s)
    )


def make_reader(settings: Settings, bundle: Bundle) -> Reader:
    """A reader with the model's operating point as the settings have it."""
    return Reader(
        Classifier(bundle),
        OperatingPoint.of(bundle, settings.model.threshold),
        view=settings.model.view,
        um_per_pixel=settings.model.um_per_pixel,
    )


def _temperature_c() -> float | None:
    """The processor's temperature as Linux tells it, in °C."""
    try:
        return int(Path("/sys/class/thermal/thermal_zone0/temp").read_text("ascii")) / 1000
    except (OSError, ValueError):
        return None


def _throttled() -> int | None:
    """The Raspberry Pi's throttling bits, as `vcgencmd get_throttled` prints them."""
    try:
        return int(Path("/sys/devices/platform/soc/soc:firmware/get_throttled").read_text("ascii"), 16)
    except (OSError, ValueError):
        return None
