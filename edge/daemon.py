"""The program that runs on the device: pictures in, decided cells stored and published, until told to stop.

    source ──(thread)──▶ FrameQueue ──▶ recorder ──▶ store ──outbox──▶ session (thread) ──▶ broker

The thread that calls `Daemon.run` reads and stores. What ends any thread ends the daemon: nothing is caught
just to go on.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

from edge import __version__, config
from edge.assembly import make_counter, make_reader, make_source
from edge.commands.clerk import Clerk
from edge.commands.desk import Desk
from edge.commands.instrument import Instrument
from edge.commands.requests import COMMANDS
from edge.config import Settings
from edge.differential import Sample
from edge.errors import SourceError, StoreUnavailable
from edge.health.clock import ClockWatch
from edge.health.gauges import Gauges, report_conditions
from edge.health.problems import Health
from edge.health.prometheus import Exporter
from edge.health.service import Progress, ServiceManager, Watchdog
from edge.health.storage import Storage
from edge.inference.bundle import Bundle
from edge.mqtt import lastwords
from edge.mqtt.connection import State
from edge.mqtt.discovery import birth_topic, discovery_message
from edge.mqtt.session import Session
from edge.pipeline import Reader
from edge.recorder import Recorder, model_of
from edge.records import View
from edge.sources.base import Source, SourceEnded
from edge.sources.framequeue import FrameQueue
from edge.store import Store
from edge.wire.messages import Message, Model, Stamp, metrics_message, schema_messages, status_message

log = logging.getLogger(__name__)

QUEUE_FRAMES = 4
TICK_S = 0.25
"""How long the daemon waits for a frame, or the source for one, before it looks after other things."""
METRICS_S = 10.0
FLUSH_S = 5.0
"""At the end, time for the broker to take what the outbox holds."""
JOIN_S = 10.0
OPENING_S = 300.0
"""How long opening the database may take: a large one is read wholly, or taken over."""
STOP_S = 60.0
"""How long the end may take: the frame in hand, the outbox, a broker that no longer answers."""
PROGRESS = {"source": 60.0, "broker session": 180.0}
"""Seconds that one turn of each thread may take: a camera that is opened anew; a name server that is away."""


class Daemon:
    """Reads one source to its end, or until `stop`.

    Args:
        settings: everything that the device was told.
        store: its database, not yet open.
        source: where frames come from, not yet open.
        reader: frame → decisions.
        bundle: the reader's model.
        health: where its parts say what is wrong.

    Raises:
        ConfigError: the broker's password or a certificate cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        source: Source,
        reader: Reader,
        bundle: Bundle,
        health: Health | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.source = source
        self.health = health or Health()
        self.reader = reader
        self.classes = bundle.classes
        self.frames = FrameQueue(QUEUE_FRAMES, live=source.live)
        self.gauges = Gauges()
        self.exporter = Exporter(settings.metrics, self.health, version=__version__, model=bundle.name)
        self.manager = ServiceManager()
        self.progress = Progress(PROGRESS)
        self.watchdog = Watchdog(self.manager, self.progress)
        self.session = Session(
            settings.mqtt,
            password=config.password(settings.mqtt),
            device=settings.device.name,
            outbox=store,
            status=self._status,
            turned=lambda: self.progress.turn("broker session"),
            health=self.health,
        )
        self.clock = ClockWatch(self.health)
        self.storage = Storage(store, self.health, turn=self._wait)
        view: View = "field" if source.continuous else reader.view
        self.instrument = Instrument(reader, store, view=view)
        desk = Desk(store, device=settings.device.name, classes=bundle.classes, target=settings.sample.target)
        self.recorder = Recorder(
            make_counter(settings, reader, continuous=source.continuous),
            reader,
            store,
            desk=desk,
            thumbnails=settings.mqtt.thumbnails,
            gauges=self.gauges,
            instrument=self.instrument,
            stored=self._stored,
            insist=self.storage.insist,
        )
        self.clerk = Clerk(
            desk,
            self.instrument,
            self.session,
            stamp=self._stamp,
            prefix=settings.mqtt.prefix,
            settle=self.recorder.settle,
        )
        self._stopping = self._why_told = False
        self._numbers = itertools.count()
        self._boot_id = ""
        self._metrics_due_at = 0.0
        self._status_told = 0, reader.point.threshold

    @classmethod
    def of(cls, settings: Settings) -> Daemon:
        """A daemon with the store, source and model that the settings name.

        Raises:
            BundleError: the model is missing or altered.
            ConfigError: as the constructor.
        """
        bundle = Bundle.load(settings.model.name)
        store, health = Store(settings.store.path), Health()
        return cls(
            settings,
            store=store,
            source=make_source(settings.source, store, health),
            reader=make_reader(settings, bundle),
            bundle=bundle,
            health=health,
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
            self.manager.extend(OPENING_S)
            self.storage.open(device=self.settings.device.name, wait=self._wait_to_start)
            stack.callback(self.store.close)
            self._boot_id = self.store.boot_id
            self.instrument.open(device=self.settings.device.name, at=datetime.now(UTC))
            self._status_told = 0, self.instrument.threshold  # it is said at each connection
            self.source.open()
            stack.callback(self.source.close)
            for message in schema_messages(COMMANDS):
                self.session.publish(message)
            self._introduce()
            stack.enter_context(self.exporter)
            self.clerk.open()
            self.session.start()
            stack.callback(self.session.stop, FLUSH_S)
            thread = threading.Thread(target=self._take_pictures, name="source", daemon=True)
            thread.start()
            stack.callback(thread.join, JOIN_S)  # a source that hangs must not keep it from saying goodbye
            stack.callback(self.frames.close)
            stack.callback(self._say_stopping)
            log.info("reading, as %s, with %s", self.settings.device.name, self.model.name)
            self.manager.ready(self._state())
            self._loop()

    def _introduce(self) -> None:
        """Describe the device to Home Assistant, now and whenever it begins anew."""
        settings = self.settings.home_assistant
        if not settings.discovery:
            return
        message = discovery_message(
            prefix=settings.prefix,
            root=self.session.root,
            device=self.settings.device.name,
            version=__version__,
            model=self.model.name,
            classes=self.classes,
        )

        def heard(payload: bytes) -> None:
            if payload == b"online":
                self.session.publish(message)

        self.session.publish(message)
        self.session.listen(birth_topic(settings.prefix), heard)

    def _wait_to_start(self) -> bool:
        """The disk takes nothing: say so. Whether it is waited for, which is worth it under systemd only."""
        self._why_told = self._why_told or lastwords.say(
            self.settings.mqtt,
            lastwords.status(self.settings.device.name, self.model, self.health.problems()),
            device=self.settings.device.name,
            password=config.password(self.settings.mqtt),
        )
        self.manager.status(self._state())
        self.manager.extend(OPENING_S)
        return self.manager.listens and not self._stopping

    def _take_pictures(self) -> None:
        failure: BaseException | None = None
        try:
            while not self._stopping:
                self.progress.turn("source")
                frame = self.source.read(TICK_S)
                if frame is not None:
                    with self.progress.resting("source"):  # waiting for room is waiting for the reader
                        taken = self.frames.put(frame)
                    if not taken:
                        return
        except SourceEnded:
            log.info("the source has ended")
        except Exception as error:  # noqa: BLE001 - raised in the daemon's thread by `FrameQueue.get`
            failure = error
        self.progress.rest("source")
        self.frames.close(failure)

    def _loop(self) -> None:
        failure: SourceError | None = None
        try:
            while not self._stopping:
                self.session.raise_failure()
                frame = self.frames.get(TICK_S)
                if frame is not None:
                    self.recorder.take(self.clerk.running(frame.captured_at), frame)
                with suppress(StoreUnavailable):  # which `storage` notices; it is done at a later turn
                    self.clerk.tick()
                self.storage.look()
                self._tell()
                self.watchdog.feed()
        except SourceEnded:
            pass
        except SourceError as error:
            failure = error
        self.recorder.settle()  # what a camera showed before it failed is decided, too
        self.clerk.close()
        if failure is not None:
            raise failure

    def _wait(self) -> bool:
        """A turn while the disk takes nothing; False where it is to end."""
        self.session.raise_failure()
        self._tell()
        self.watchdog.feed()
        time.sleep(TICK_S)
        return not self._stopping

    def _stored(self, sample: Sample) -> None:
        self.clerk.counted(sample)
        self.session.notify()

    def _tell(self) -> None:
        """Publish metrics where they are due, and the status where something in it has changed."""
        self.clock.look()
        state = self.health.version, self.instrument.threshold
        if state != self._status_told:
            self._status_told = state
            self.session.publish(self._status("online"))
            self.manager.status(self._state())
        now = time.monotonic()
        if now >= self._metrics_due_at:
            self._metrics_due_at = now + METRICS_S
            report_conditions(self.health)
            metrics = self.gauges.metrics(
                queue=self.frames,
                store=self.store,
                source=self.source,
                session=self.session,
                health=self.health,
            )
            self.exporter.tell(metrics)
            self.session.publish(metrics_message(self._stamp("metrics"), metrics, at=datetime.now(UTC)))

    def _state(self) -> str:
        """One line for `systemctl status`."""
        return "; ".join(problem.text for problem in self.health.problems()) or (
            f"reading, as {self.settings.device.name}"
        )

    def _say_stopping(self) -> None:
        self.manager.stopping("ending: what waits is published")
        self.manager.extend(STOP_S)

    def _stamp(self, topic: str) -> Stamp:
        """For what is published beside the outbox."""
        name = f"{self._boot_id}-{topic}-{next(self._numbers)}"
        return Stamp(self.settings.device.name, self._boot_id, self.store.last_seq, name)

    def _status(self, state: State) -> Message:
        problems = self.health.problems() if state == "online" else ()
        return status_message(
            self._stamp("status"), state, version=__version__, model=self.model, problems=problems
        )

    @property
    def model(self) -> Model:
        """What names the cells, at the operating point of this moment."""
        return model_of(self.reader)
