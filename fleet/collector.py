"""Messages → the database, each once; what is missing is asked for again.

    broker ──▶ Subscription ──▶ Collector ──▶ FleetDatabase ──▶ acknowledgement
                                   └── gaps in the numbers ──▶ command/replay

The broker shares the messages of all devices between the collectors of a group (`$share/…`, MQTT 5, section 4.8.2).

A collector may be killed at any moment: what it had not acknowledged, the broker keeps for it, and what the broker
lost, its device has. The numbers of a device have no gaps, so that the database knows what it lacks. What is asked
for comes to the one that asked, on a session of its own: shared out, a part of it would go to one that is dead.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import time
from typing import NamedTuple

from edge.errors import BrokerError, StoreError
from fleet.database import FleetDatabase, Unkeepable
from fleet.gaps import GapWatch
from fleet.inbox import NUMBERED, Malformed, Numbered, Said, parse
from fleet.settings import Settings
from fleet.subscription import Received, Subscription, take

log = logging.getLogger(__name__)

TICK_S = 0.25
BACKOFF_FIRST_S, BACKOFF_LAST_S = 1.0, 60.0
LEAVE_S = 20.0
QUIET_S = 60.0
"""Malformed messages are warned of at most this often."""
LOOK_S = 1.5
"""The database is looked over for gaps at most this often; devices take one `replay` a second."""
KEPT_S = 30 * 24 * 3600
"""So long the broker keeps what comes while a collector is away, as far as it has room."""
BESIDE = ("status", "sample", "metrics")
"""What tells how far a device's numbers reach. Every collector hears it: nobody has to acknowledge it for all."""


class Counts(NamedTuple):
    """What a collector did.

    Attributes:
        written: messages that were new.
        repeated: that were in the database already.
        refused: that were none.
        asked: requests for what was missing.
    """

    written: int = 0
    repeated: int = 0
    refused: int = 0
    asked: int = 0


class Collector:
    """Runs in the thread that calls `run`.

    Args:
        settings: what it was told.
        database: where messages are kept, not yet open.

    Raises:
        ConfigError: a certificate or the broker's password cannot be read.
    """

    def __init__(self, settings: Settings, database: FleetDatabase) -> None:
        told = settings.collect
        self.settings = settings
        self.counts = Counts()
        self._database = database
        self._inbox: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._name = _name(settings)
        self._subscription = _subscription(settings, self._name, self._inbox, kept_s=KEPT_S)
        self._replays: Subscription | None = None
        self._gaps = GapWatch(told.gap_s)
        self._stopping = False
        self._look_at = 0.0
        self._quiet_until = 0.0

    def stop(self) -> None:
        """Ask it to end after the batch in hand. Only sets a flag: safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Collect until `stop`. A database that goes away is waited for.

        Raises:
            ConfigError: the database's address or rights are wrong.
            StoreError: the database cannot be used at the start.
        """
        told, prefix = self.settings.collect, self.settings.mqtt.prefix
        shared = {f"$share/{told.group}/{prefix}/+/{topic}": 1 for topic in NUMBERED}
        self._subscription.listen(shared | {f"{prefix}/+/{topic}": 0 for topic in BESIDE})
        with self._database:
            self._subscription.open()
            log.info("collecting as %s of %s", told.name, told.group)
            try:
                while not self._stopping:
                    batch = take(self._inbox, told.batch, TICK_S)
                    if batch:
                        self._keep(batch)
                    if time.monotonic() >= self._look_at:
                        self._look_at = time.monotonic() + max(LOOK_S, told.gap_s / 4)
                        self._ask()
            finally:
                self._subscription.close()
                self._no_replays()

    def _keep(self, batch: list[Received]) -> None:
        numbered: list[Numbered] = []
        said: list[Said] = []
        for message in batch:
            if message.topic.endswith(f"/reply/{self._name}"):
                self._hear(message)
                continue
            try:
                found = parse(
                    message.topic,
                    message.payload,
                    prefix=self.settings.mqtt.prefix,
                    pictures=self.settings.collect.thumbnails,
                )
            except Malformed as error:
                self._refuse(message.topic, str(error))
                continue
            if isinstance(found, Numbered):
                numbered.append(found)
            else:
                said.append(found)
        delay = BACKOFF_FIRST_S
        while not self._stopping:
            try:
                new = self._kept(numbered, said)
            except StoreError as error:
                # Nothing was acknowledged, so nothing is lost, however long this takes.
                log.warning("%s; trying again in %.0f s", error, delay)
                self._wait(delay * random.uniform(0.5, 1))
                delay = min(2 * delay, BACKOFF_LAST_S)
                continue
            for message in batch:
                message.acknowledge()
            self._count(written=new, repeated=len(numbered) - new)
            return

    def _kept(self, numbered: list[Numbered], said: list[Said]) -> int:
        """Write messages, each by itself where all together cannot be; returns how many were new.

        Raises:
            StoreError: the database is away; what was written is there already when it is tried again.
        """
        try:
            return self._database.keep(numbered, said)
        except Unkeepable as error:
            if len(numbered) + len(said) == 1:
                device = numbered[0].device if numbered else said[0].device
                self._refuse(f"{self.settings.mqtt.prefix}/{device}", str(error))
                return 0
        new = sum(self._kept([each], []) for each in numbered)
        return new + sum(self._kept([], [each]) for each in said)

    def _ask(self) -> None:
        """Have devices send again what is missing."""
        try:
            if not self._database.asker():
                return
            gaps = self._database.gaps()
        except StoreError as error:
            log.warning("%s", error)
            return
        if not gaps:
            self._no_replays()
        for gap in self._gaps.due(gaps, now=time.monotonic()):
            if self._replays is None:
                self._replays = _subscription(self.settings, f"{self._name}-replays", self._inbox, kept_s=0)
                self._replays.open()
            root = f"{self.settings.mqtt.prefix}/{gap.device}"
            answer = f"{root}/reply/{self._name}"
            self._replays.listen({**{f"{root}/{topic}": 1 for topic in NUMBERED}, answer: 0})
            log.info("asking %s for %d to %d again", gap.device, gap.first, gap.last)
            said = {"from_seq": gap.first, "to_seq": gap.last, "operator": self._name}
            self._replays.publish(f"{root}/command/replay", json.dumps(said), response=answer)
            self._count(asked=1)

    def _no_replays(self) -> None:
        """Nothing is asked for: the session for the answers is not needed."""
        if self._replays is not None:
            self._replays.close()
            self._replays = None

    def _hear(self, message: Received) -> None:
        try:
            body = json.loads(message.payload)
            if not body["ok"]:
                log.warning("%s does not send it again: %.200s", message.topic, body["error"]["message"])
        except (ValueError, TypeError, KeyError, RecursionError):
            self._refuse(message.topic, "it is no answer")

    def _refuse(self, topic: str, why: str) -> None:
        self._count(refused=1)
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            log.warning("%d messages refused so far; now one on %.200r: %s", self.counts.refused, topic, why)

    def _count(self, **more: int) -> None:
        self.counts = self.counts._replace(
            **{name: getattr(self.counts, name) + number for name, number in more.items()}
        )

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(min(TICK_S, max(0.0, until - time.monotonic())))


def leave_group(settings: Settings) -> None:
    """End a collector's session at the broker: from now on its share goes to the others.

    Raises:
        BrokerError: the broker cannot be reached.
        ConfigError: a certificate or the broker's password cannot be read.
    """
    leaving = _subscription(settings, _name(settings), queue.SimpleQueue(), kept_s=0)
    leaving.open()
    until = time.monotonic() + LEAVE_S
    try:
        while not leaving.connected:
            if time.monotonic() > until:
                raise BrokerError(
                    f"the broker at {settings.mqtt.host}:{settings.mqtt.port} does not let us in; see that it runs, "
                    "and leave once more: the session is still there"
                )
            time.sleep(TICK_S)
    finally:
        leaving.close()


def _name(settings: Settings) -> str:
    return f"collect-{settings.collect.group}-{settings.collect.name}"


def _subscription(
    settings: Settings, name: str, inbox: queue.SimpleQueue[Received], *, kept_s: int
) -> Subscription:
    window = 2 * settings.collect.batch
    return Subscription(settings.mqtt, name=f"leukoscope-{name}", inbox=inbox, window=window, kept_s=kept_s)
