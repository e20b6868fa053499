"""How often something may be done."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.commands.pace import Pace


def test_some_at_once_and_then_one_every_so_often() -> None:
    pace = Pace(0.5, 3)
    assert [pace.allows(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [pace.allows(100.0 + late) for late in (0.4, 0.6, 0.7, 1.1)] == [False, True, False, True]
    assert [pace.allows(1000.0) for _ in range(4)] == [True, True, True, False], (
        "no more than at once are saved up"
    )


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    pace = Pace(1.0, 1)
    assert pace.allows(50.0)
    assert not pace.allows(50.0)
    assert not pace.allows(20.0)
    assert pace.allows(21.0)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=80),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(1, 5),
)
def test_never_more_than_the_pace_allows(waits: list[float], every_s: float, at_once: int) -> None:
    pace, now, done = Pace(every_s, at_once), 1000.0, 0
    for wait in waits:
        now += wait
        done += pace.allows(now)
    assert done <= at_once + (now - 1000.0) / every_s + 1e-6
