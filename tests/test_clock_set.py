"""A clock that is set while a cell waits to be decided: what is measured stays what was measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from helpers import decided

from edge.health.gauges import Gauges
from edge.records import Counted


def counted(captured_at: datetime) -> tuple[Counted, ...]:
    return (Counted(decided(captured_at=captured_at), None, 1, captured_at, captured_at),)


@pytest.mark.parametrize("jump", [timedelta(days=400), -timedelta(days=400), timedelta(minutes=2)])
def test_a_clock_that_is_set_is_no_time_that_passed(jump: timedelta) -> None:
    offset = timedelta(0)

    def clock() -> datetime:
        return datetime.now(UTC) + offset

    gauges = Gauges(wall=lambda: clock().timestamp())
    gauges.stored(counted(clock() - timedelta(seconds=2)), at=clock())
    before = clock()
    offset = jump
    gauges.stored(counted(before), at=clock())  # seen before the clock was set, stored after it
    gauges.stored(counted(before), at=clock())
    gauges.stored(counted(clock()), at=clock())
    assert gauges.cells == 4
    count, total_s = gauges._timings["latency"]
    assert count == (2 if jump > timedelta(0) else 4), "the time of those two is not known"
    assert 2 <= total_s < 5


def test_a_clock_that_is_slewed_makes_no_time_negative() -> None:
    gauges = Gauges()
    now = datetime.now(UTC)
    gauges.stored(counted(now + timedelta(milliseconds=300)), at=now)
    assert gauges._timings["latency"] == (1, 0.0)
