"""The daemon's part in samples: which one cells go to, what is said of it, commands and other processes' acts.

Runs in the daemon's thread, between frames.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from edge.commands.answerer import Answerer
from edge.commands.desk import Desk, day_sample
from edge.commands.instrument import Instrument
from edge.differential import Sample
from edge.mqtt.session import Session
from edge.wire.messages import Stamp, sample_message

log = logging.getLogger(__name__)

SAMPLE_S = 1.0
"""The sample is published at most this often."""
COMMANDS_A_TICK = 80
"""More than can wait: whoever floods the device with commands does not keep it from reading."""


class Clerk:
    """Keeps the running sample.

    Args:
        desk: where people act.
        instrument: the part of the device that reads.
        session: to the broker.
        stamp: makes the stamp of what is published beside the outbox, by its topic.
        prefix: of all topics.
        settle: decides and stores what was seen and not yet decided, for the sample that is running, and
            forgets the slide; called before another sample becomes the running one.
    """

    def __init__(
        self,
        desk: Desk,
        instrument: Instrument,
        session: Session,
        *,
        stamp: Callable[[str], Stamp],
        prefix: str,
        settle: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._store = desk.store
        self._session = session
        self._stamp = stamp
        self._settle = settle
        self._answerer = Answerer(desk, instrument, prefix=prefix, stamp=lambda: stamp("reply"))
        self._running: Sample | None = None
        self._shown: Sample | None = None
        self._due_at: float | None = None
        self._version = 0

    def open(self) -> None:
        """Take up the sample where it was left, and publish it. The database must be open."""
        self._version = self._store.version()
        self._running = self._store.open_sample()
        self._shown = self._store.latest_sample()
        self._say()

    def running(self, captured_at: datetime) -> Sample:
        """The sample that cells seen at a moment are counted for: the open one, else the device's day (UTC)."""
        if self._running is not None:
            return self._running
        day = day_sample(self._desk.device, captured_at.astimezone(UTC), self._desk.target)
        return self._store.sample(day.id) or day

    def counted(self, sample: Sample) -> None:
        """Say that cells of a sample were stored."""
        self._shown = sample
        if self._due_at is None:
            self._due_at = time.monotonic() + SAMPLE_S

    def tick(self) -> None:
        """Look after commands, what other processes did, and what is due to be published."""
        version = self._store.version()
        if version != self._version:
            self._version = version
            self._session.notify()
            self._follow()
        for _ in range(COMMANDS_A_TICK):
            request = self._session.next_request()
            if request is None:
                break
            self._session.reply(self._answerer.answer(request, at=datetime.now(UTC)))
            self._session.notify()
            self._follow()
        if self._due_at is not None and time.monotonic() >= self._due_at:
            self._say()

    def close(self) -> None:
        """Publish what is due."""
        if self._due_at is not None:
            self._say()

    def _follow(self) -> None:
        """Go over to the sample that is open now."""
        found, left = self._store.open_sample(), self._running
        if (left and left.id) != (found and found.id):
            self._settle()
            self._running = found
            if left is not None:
                log.info("sample %s is finished", left.id)
            if found is not None:
                log.info("sample %s has begun", found.id)
                self._shown = found
        self._due_at = time.monotonic()

    def _say(self) -> None:
        """Publish the sample as the database has it, and notice when it has reached its target."""
        sample = None if self._shown is None else self._store.sample(self._shown.id)
        if sample is None:
            self._due_at = None
            return
        result = self._desk.result(sample.id)
        wanted = sample.reached_at is None and sample.finished_at is None
        if wanted and result.accepted >= sample.target:
            log.info("sample %s has reached its target of %d cells", sample.id, sample.target)
            with self._store.write() as write:
                sample = self._desk.notice_target(write, sample, at=datetime.now(UTC))
            self._session.notify()
        self._session.publish(sample_message(self._stamp("sample"), sample, result))
        self._due_at = None  # and not where the target could not be noted: it is tried again then
