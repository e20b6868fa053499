"""What the daemon counts of its own doing, for the metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from edge.health import machine
from edge.health.clock import JUMP_S
from edge.health.problems import Health
from edge.mqtt.session import Session
from edge.pipeline import Reading
from edge.records import Counted, Verdict
from edge.sources.base import Source
from edge.sources.framequeue import FrameQueue
from edge.sources.healing import HealingSource
from edge.store import Store
from edge.wire.messages import Metrics
from edge.wire.metrics import (
    BrokerBody,
    CameraBody,
    DecidedBody,
    FailureBody,
    MachineBody,
    OutboxBody,
    Timed,
    TimingBody,
)

SHORTEST_S = 0.25
"""A rate is never taken over less time than this."""
FAILURES_TOLD = 10


class _Before(NamedTuple):
    """Where the counts stood when metrics were made last, and when that was."""

    at: float
    frames: int
    cells: int
    timings: dict[Timed, tuple[int, float]]


class Gauges:
    """Counts since the start of the program. Used from the daemon's thread.

    Args:
        wall: the clock by which frames are dated, in seconds since 1970.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self.begun_at = time.monotonic()
        self._wall = wall
        self._offset = wall() - self.begun_at
        self._set_at = float("-inf")  # when somebody set that clock last
        self.frames = self.cells = 0
        self.skipped: Counter[str] = Counter()
        self.decided: Counter[tuple[str, Verdict]] = Counter()
        self._timings: dict[Timed, tuple[int, float]] = {}
        self._before = _Before(self.begun_at, 0, 0, {})

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Take the time that a frame takes."""
        begun = time.monotonic()
        yield
        self._time("read", time.monotonic() - begun)

    def read(self, reading: Reading) -> None:
        """A frame was looked at."""
        self.frames += 1
        if reading.skipped is not None:
            self.skipped[reading.skipped.value] += 1

    def stored(self, counted: Sequence[Counted], *, at: datetime) -> None:
        """Cells were decided and are in the store since a moment."""
        self.cells += len(counted)
        now = time.monotonic()
        jump, self._offset = self._wall() - now - self._offset, self._wall() - now
        if abs(jump) >= JUMP_S:
            self._set_at = now
        for each in counted:
            decision = each.decision
            self.decided[decision.cell_class, decision.verdict] += 1
            self._time("inference", decision.prediction.elapsed_ms / 1000)
            # It is not known of what was captured before the clock was set; set back, it must not be negative.
            age = (at - decision.cell.field.frame.captured_at).total_seconds()
            if age <= now - self._set_at:
                self._time("latency", max(0.0, age))

    def metrics(
        self, *, queue: FrameQueue, store: Store, source: Source, session: Session, health: Health
    ) -> Metrics:
        """How it is going; rates and recent times are since the call before."""
        now, before = time.monotonic(), self._before
        elapsed = max(now - before.at, SHORTEST_S)
        timings = {name: self._timing(name, before) for name in self._timings}
        self._before = _Before(now, self.frames, self.cells, dict(self._timings))
        state = store.outbox_state()
        return Metrics(
            uptime_s=round(now - self.begun_at, 1),
            frames=self.frames,
            skipped=dict(self.skipped),
            cells=self.cells,
            frames_per_s=round((self.frames - before.frames) / elapsed, 2),
            queue=len(queue),
            dropped=queue.dropped,
            outbox=state.waiting,
            temperature_c=machine.temperature_c(),
            throttled=machine.throttled(),
            decided=self._by_class(),
            cells_per_min=round(60 * (self.cells - before.cells) / elapsed, 1),
            timings=timings,
            camera=_camera(source),
            broker=_broker(session),
            waiting=OutboxBody(
                bytes=state.bytes,
                oldest_s=_age_s(state.oldest_at),
                pictures_dropped=state.pictures_dropped,
            ),
            machine=MachineBody(
                disk_free_bytes=machine.disk_free_bytes(store.path.parent),
                memory_bytes=machine.resident_bytes(),
                memory_available_bytes=machine.memory_available_bytes(),
                load=machine.load(),
            ),
            problems=[problem.code for problem in health.problems()],
        )

    def _time(self, name: Timed, seconds: float) -> None:
        count, total = self._timings.get(name, (0, 0.0))
        self._timings[name] = count + 1, total + seconds

    def _timing(self, name: Timed, before: _Before) -> TimingBody:
        count, total = self._timings[name]
        count_then, total_then = before.timings.get(name, (0, 0.0))
        recent = 1000 * (total - total_then) / (count - count_then) if count > count_then else None
        return TimingBody(
            count=count, total_s=round(total, 3), recent_ms=None if recent is None else round(recent, 2)
        )

    def _by_class(self) -> dict[str, DecidedBody]:
        return {
            name: DecidedBody(
                accepted=self.decided[name, Verdict.ACCEPTED], flagged=self.decided[name, Verdict.FLAGGED]
            )
            for name in sorted({name for name, _ in self.decided})
        }


def report_conditions(health: Health) -> None:
    """Say that the machine is held back, or that it is so no longer."""
    conditions = machine.conditions()
    if not conditions:
        health.clear("throttled")
        return
    supply = "under_voltage" in conditions
    advice = "use the board's own power supply and a short, thick cable" if supply else "cool it"
    words = ", ".join(conditions).replace("_", " ")
    health.report("throttled", f"the machine is held back ({words}), and cells decided now say so: {advice}")


def _camera(source: Source) -> CameraBody | None:
    return CameraBody(**source.figures._asdict()) if isinstance(source, HealingSource) else None


def _broker(session: Session) -> BrokerBody:
    failures = [
        FailureBody(what=each.what, reason=each.reason, times=each.times)
        for each in session.failures()[:FAILURES_TOLD]
    ]
    return BrokerBody(
        connected=session.connected,
        attempts=session.attempts,
        connections=session.connections,
        failures=failures,
    )


def _age_s(since: datetime | None) -> float | None:
    if since is None:
        return None
    return round(max(0.0, (datetime.now(UTC) - since).total_seconds()), 1)
