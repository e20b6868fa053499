"""Percentages and their exact limits, against published and independently computed values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.differential import Limits, differential, limits

# scipy 1.17.1: 100 * scipy.stats.beta.ppf(0.025, c, n - c + 1) and 100 * beta.ppf(0.975, c + 1, n - c),
# with 0 and 100 at the ends.
REFERENCE = [
    (0, 1, 0.000000000, 97.500000000),
    (1, 1, 2.500000000, 100.000000000),
    (0, 100, 0.000000000, 3.621669265),
    (1, 100, 0.025314603, 5.445938539),
    (5, 100, 1.643187918, 11.283491111),
    (30, 100, 21.240642049, 39.981467618),
    (50, 100, 39.832112950, 60.167887050),
    (60, 100, 49.720915042, 69.670523130),
    (95, 100, 88.716508889, 98.356812082),
    (99, 100, 94.554061461, 99.974685397),
    (100, 100, 96.378330735, 100.000000000),
    (5, 200, 0.816616619, 5.737435113),
    (60, 200, 23.738964408, 36.864987546),
    (120, 200, 52.853567280, 66.845373626),
    (1, 400, 0.006329252, 1.384976996),
    (200, 400, 44.990788774, 55.009211226),
    (3, 7, 9.898827844, 81.594843236),
    (777, 10000, 7.252674635, 8.312074638),
    (5000, 100000, 4.865725521, 5.136892088),
    (99999, 100000, 99.994428484, 99.999974682),
]

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


@pytest.mark.parametrize(("count", "total", "low", "high"), REFERENCE)
def test_limits_agree_with_scipy(count: int, total: int, low: float, high: float) -> None:
    assert limits(count, total) == pytest.approx((low, high), abs=1e-8)


@pytest.mark.parametrize(("percent", "total", "low", "high"), RUMKE)
def test_limits_agree_with_rumkes_table(percent: int, total: int, low: float, high: float) -> None:
    found = limits(percent * total // 100, total)
    assert (round(found.low, 1), round(found.high, 1)) == (low, high)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_limits_enclose_the_share_and_mirror_its_complement(case: tuple[int, int]) -> None:
    count, total = case
    found, mirrored = limits(count, total), limits(total - count, total)
    assert 0 <= found.low <= 100 * count / total <= found.high <= 100
    assert (100 - found.high, 100 - found.low) == pytest.approx(mirrored, abs=1e-7)


def test_nothing_counted_says_nothing() -> None:
    result = differential({"neutrophil": 0, "monocyte": 0}, flagged=3)
    assert result.accepted == 0
    assert result.flagged == 3
    assert [(share.percent, share.limits) for share in result.shares] == [(None, Limits(0.0, 100.0))] * 2


def test_flagged_cells_are_in_no_percentage() -> None:
    result = differential({"neutrophil": 60, "lymphocyte": 30, "basophil": 0, "monocyte": 10}, flagged=40)
    assert result.accepted == 100
    assert [share.percent for share in result.shares] == [60, 30, 0, 10]
    assert result.shares[0].limits == limits(60, 100)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="between 0 and the total of 5"):
        limits(count, total)
