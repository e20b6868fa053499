"""Keeps the outbox within its limits, and writes down what failed: now and then, beside publishing."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Protocol

from edge.config import Mqtt
from edge.health.problems import Health
from edge.mqtt.failures import Failures
from edge.mqtt.flow import Outbox
from edge.store import Failure
from edge.store.outbox import Tidied

log = logging.getLogger(__name__)

TIDY_S = 60.0
TIDY_BATCHES, TIDY_ON_S = 10, 1.0
"""So many batches are tidied at once; where there is more to do, the next ones so much later."""
MEGABYTE = 1_000_000


class LimitedOutbox(Outbox, Protocol):
    """An outbox with limits, that keeps what failed. The store is one; it says what these do."""

    def tidy(self, *, keep: timedelta, largest: int, at: datetime) -> Tidied:
        """Bring it nearer to its limits."""

    def failures(self) -> tuple[Failure, ...]:
        """What failed."""

    def keep_failures(self, failures: Collection[Failure], *, since: datetime) -> None:
        """Keep what failed; forget what was over before a moment."""


class Upkeep:
    """Looks after an outbox. Used from the session's thread.

    Args:
        settings: with the outbox's limits.
        outbox: what is looked after.
        failures: what failed in this run.
        health: is told where limits were reached.

    Attributes:
        due_at: when there is something to do, as `time.monotonic` counts.
    """

    def __init__(self, settings: Mqtt, outbox: LimitedOutbox, failures: Failures, health: Health) -> None:
        self.due_at = time.monotonic()
        self._keep = timedelta(days=settings.outbox_days)
        self._megabytes = settings.outbox_mb
        self._outbox = outbox
        self._failures = failures
        self._health = health

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self.due_at:
            self.due_at = now + (TIDY_S if self.do() else TIDY_ON_S)

    def do(self) -> bool:
        """Do it now; False where there is more to do."""
        at, largest = datetime.now(UTC), self._megabytes * MEGABYTE
        self._outbox.published((), at=at)  # what could not be marked before
        stripped = batches = 0
        while batches < TIDY_BATCHES and any(
            done := self._outbox.tidy(keep=self._keep, largest=largest, at=at)
        ):
            stripped, batches = stripped + done.stripped, batches + 1
        finished = batches < TIDY_BATCHES
        self._tell(stripped, full=finished and self._outbox.outbox_state().bytes > largest)
        self._failures.forget(at - self._keep)
        self._outbox.keep_failures(self._failures.unkept(), since=at - self._keep)
        return finished

    def _tell(self, stripped: int, *, full: bool) -> None:
        if stripped:
            log.warning("%d waiting messages lost their pictures to the outbox's limits", stripped)
            self._health.report(
                "outbox_pictures",
                "pictures of cells were given up, as messages wait too long or need too much room "
                "([mqtt] outbox_days, outbox_mb); results are kept, and the newest pictures on the device",
            )
        elif not self._outbox.outbox_state().waiting:
            self._health.clear("outbox_pictures")
        if full:
            self._health.report(
                "outbox_full",
                f"the messages that wait for the broker need more than {self._megabytes} MB without their "
                "pictures; none is deleted: bring the broker back, or raise [mqtt] outbox_mb",
            )
        else:
            self._health.clear("outbox_full")
