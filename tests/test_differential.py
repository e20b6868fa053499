"""Percentages and their exact limits, against published and independently computed values."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edge.differential import Limits, Tally, differential, limits, more_cells, result

# Rümke's table of 95 % limits, as haematologists use it: percent seen, cells counted, low, high.
RUMKE = [
    (0, 100, 0.0, 3.6),
    (5, 100, 1.6, 11.3),
    (30, 100, 21.2, 40.0),
    (60, 100, 49.7, 69.7),
    (0, 200, 0.0, 1.8),
    (5, 200, 2.4, 9.0),
    (30, 200, 23.7, 36.9),
    (60, 200, 52.9, 66.8),
]


@pytest.mark.parametrize(("percent", "total", "low", "high"), RUMKE)
def test_limits_agree_with_rumkes_table(percent: int, total: int, low: float, high: float) -> None:
    found = limits(percent * total // 100, total)
    assert (round(found.low, 1), round(found.high, 1)) == (low, high)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_limits_enclose_the_share_and_mirror_its_complement(case: tuple[int, int]) -> None:
    count, total = case
    found, mirrored = limits(count, total), limits(total - count, total)
    assert 0 <= found.low <= 100 * count / total <= found.high <= 100
    assert (100 - found.high, 100 - found.low) == pytest.approx(mirrored, abs=1e-7)


def test_nothing_counted_says_nothing() -> None:
    counted = differential({"neutrophil": 0, "monocyte": 0}, flagged=3)
    assert counted.accepted == 0
    assert counted.flagged == 3
    assert [(share.percent, share.limits) for share in counted.shares] == [(None, Limits(0.0, 100.0))] * 2


def test_flagged_cells_are_in_no_percentage() -> None:
    counted = differential({"neutrophil": 60, "lymphocyte": 30, "basophil": 0, "monocyte": 10}, flagged=40)
    assert counted.accepted == 100
    assert [share.percent for share in counted.shares] == [60, 30, 0, 10]
    assert counted.shares[0].limits == limits(60, 100)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="between 0 and the total of 5"):
        limits(count, total)


@pytest.mark.parametrize("confidence", [0.95, 0.99, 1 - 0.05 / 7])
def test_limits_equal_scipys_to_a_billionth(confidence: float) -> None:
    tail = (1 - confidence) / 2
    draw = random.Random(1)
    cases = [(count, total) for total in (1, 2, 3, 7, 50, 100, 200, 400) for count in range(total + 1)]
    cases += [(draw.randint(0, total), total) for total in draw.choices(range(1, 20_000), k=300)]
    for count, total in [*cases, (1, 100_000), (5000, 100_000), (99_999, 100_000)]:
        low = 0.0 if count == 0 else 100 * stats.beta.ppf(tail, count, total - count + 1)
        high = 100.0 if count == total else 100 * stats.beta.isf(tail, count + 1, total - count)
        assert limits(count, total, confidence=confidence) == pytest.approx((low, high), abs=1e-9, rel=0)


BLOOD = {"neutrophil": 0.60, "lymphocyte": 0.30, "monocyte": 0.06, "eosinophil": 0.03, "basophil": 0.01}


@pytest.mark.parametrize("cells", [100, 200, 400])
def test_the_limits_hold_the_truth_as_often_as_they_say_in_a_thousand_samples(cells: int) -> None:
    """Exact limits never fall short of 95 %; for rare classes, whose counts are few numbers, they exceed it."""
    shares = np.array(list(BLOOD.values()))
    alone = np.array([limits(count, cells) for count in range(cells + 1)])
    wider = np.array([limits(count, cells, confidence=1 - 0.05 / len(BLOOD)) for count in range(cells + 1)])
    samples = np.random.default_rng(3).multinomial(cells, shares, 1000)
    held = ((alone[samples, 0] <= 100 * shares) & (100 * shares <= alone[samples, 1])).mean(axis=0)
    for number, (name, share) in enumerate(BLOOD.items()):
        inside = (alone[:, 0] <= 100 * share) & (100 * share <= alone[:, 1])
        expected = stats.binom.pmf(np.arange(cells + 1), cells, share)[inside].sum()
        assert expected >= 0.95, name
        assert held[number] == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 1000) ** 0.5)
    assert ((held[:2] >= 0.93) & (held[:2] <= 0.97)).all(), "neutrophils and lymphocytes"
    together = (wider[samples, 0] <= 100 * shares) & (100 * shares <= wider[samples, 1])
    assert together.all(axis=1).mean() >= 0.95


def test_simultaneous_limits_are_those_of_each_class_at_a_fifth_of_the_error() -> None:
    counted = differential({"a": 60, "b": 30, "c": 10, "d": 0, "e": 0}, flagged=0)
    for share in counted.shares:
        assert share.simultaneous == limits(share.count, 100, confidence=0.99)
        assert share.simultaneous.low <= share.limits.low <= share.limits.high <= share.simultaneous.high


@pytest.mark.parametrize(
    ("count", "total"), [(0, 10), (1, 20), (5, 100), (60, 100), (50, 100), (30, 30), (7, 9)]
)
def test_so_many_more_cells_suffice_and_one_fewer_does_not(count: int, total: int) -> None:
    """Against scipy's beta distribution, which takes parts of cells as ours does."""
    share = count / total

    def reach(cells: int) -> float:
        seen = share * cells
        low = stats.beta.ppf(0.025, seen, cells - seen + 1) if seen else 0.0
        high = stats.beta.ppf(0.975, seen + 1, cells - seen) if seen < cells else 1.0
        return 100 * max(share - low, high - share)

    needed = total + more_cells(count, total)
    assert reach(needed) <= 5
    assert needed == total or reach(needed - 1) > 5


def test_a_share_that_is_known_needs_no_more_cells_and_of_nothing_nothing_is_known() -> None:
    assert more_cells(240, 400) == 0
    assert more_cells(5, 100, precision=20) == 0
    assert [share.more for share in differential({"a": 0}, flagged=3).shares] == [None]
    with pytest.raises(ValueError, match="0 of 0 cells say nothing"):
        more_cells(0, 0)


def test_a_tally_lists_every_class_of_the_model_and_what_people_named_beside() -> None:
    tally = Tally({"neutrophil": 7, "other_white_cell": 1}, 4, 3, 1, 1)
    counted = result(tally, ("monocyte", "neutrophil"))
    assert [(s.cell_class, s.count) for s in counted.shares] == [
        ("monocyte", 0),
        ("neutrophil", 7),
        ("other_white_cell", 1),
    ]
    assert (counted.accepted, counted.flagged, counted.reviewed) == (8, 4, 3)
    assert (counted.not_white_cells, counted.cannot_tell) == (1, 1)
