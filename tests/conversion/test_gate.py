"""Whether a converted model is still its original, and whether its outputs are called what they are."""

from __future__ import annotations

import numpy as np
import pytest

from convert.gate import better_order, check, compare
from edge.errors import ConversionError

NAMES = ("basophil", "eosinophil", "lymphocyte", "other")


def answers(*guesses: int) -> np.ndarray:
    return np.asarray(0.1 + 0.6 * np.eye(len(NAMES))[list(guesses)], np.float32)


TARGETS = np.array([0, 0, 1, 1, 1, 2, 2, 2, 3, -1])
RIGHT = (0, 0, 1, 1, 1, 2, 2, 2, 3, 2)


def test_the_same_answers_pass() -> None:
    comparison = compare(answers(*RIGHT), answers(*RIGHT), TARGETS, NAMES)
    assert (comparison.images, comparison.agreement, comparison.accuracy) == (10, 1.0, (1.0, 1.0))
    assert comparison.largest_difference == 0
    check(comparison, TARGETS, NAMES, pytest.fail)


def test_a_changed_answer_is_refused_with_what_it_lies_in() -> None:
    spoiled = answers(*RIGHT[:-1], 0)
    comparison = compare(answers(*RIGHT), spoiled, TARGETS, NAMES)
    assert comparison.accuracy == (1.0, 1.0), "the last is of no class"
    with pytest.raises(
        ConversionError, match=r"on 90\.00% of 10 images; at least 98\.5% are needed: the first$"
    ):
        check(comparison, TARGETS, NAMES, lambda: ": the first")


def test_a_class_that_loses_is_named() -> None:
    targets = np.concatenate([np.zeros(20, int), np.ones(380, int)])
    before = answers(*targets)
    after = answers(*[1] * 5, *targets[5:])
    comparison = compare(before, after, targets, NAMES)
    assert comparison.agreement == 395 / 400 > 0.985
    with pytest.raises(
        ConversionError, match=r"lost 25\.0% of the 20 basophil images; at most 2% may be lost\.$"
    ):
        check(comparison, targets, NAMES, lambda: ".")


def test_names_in_another_order_are_noticed() -> None:
    named = tuple(NAMES[i] for i in (2, 0, 1, 3))
    found = better_order(
        answers(*RIGHT), np.array([{0: 1, 1: 2, 2: 0, 3: 3, -1: -1}[t] for t in TARGETS]), named
    )
    assert found == NAMES
    assert better_order(answers(*RIGHT), TARGETS, NAMES) is None
    assert better_order(answers(0, 1, 1, 1, 1, 2, 2, 2, 3, 2), TARGETS, NAMES) is None, (
        "one mistake is no order"
    )
