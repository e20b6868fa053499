"""Order, bounds and errors of work on several threads."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest
from helpers import WAIT_S

from edge.pictures.parallel import AHEAD, in_order


def test_answers_come_in_order_though_the_first_is_slowest() -> None:
    def make() -> Callable[[int], int]:
        def work(number: int) -> int:
            time.sleep(0.05 if number == 0 else 0)
            return number * number

        return work

    assert list(in_order(range(40), make, 4)) == [number * number for number in range(40)]


def test_no_more_is_taken_than_is_needed_soon() -> None:
    taken = itertools.count()

    answers = in_order(taken, lambda: lambda number: number, 2)
    for expected in range(100):
        assert next(answers) == expected
    answers.close()  # type: ignore[attr-defined]
    assert next(taken) <= 100 + 2 * AHEAD + 1


def test_each_thread_makes_its_tool_once_and_uses_no_other() -> None:
    made = []
    together = threading.Barrier(3)

    def make() -> Callable[[int], bool]:
        owner = threading.current_thread()
        made.append(owner)

        def work(number: int) -> bool:
            if number < 3:
                together.wait(WAIT_S)  # so that all three threads are needed
            return threading.current_thread() is owner

        return work

    assert all(in_order(range(50), make, 3))
    assert len(made) == len(set(made)) == 3


def test_one_item_needs_one_tool() -> None:
    made = []
    list(in_order([1], lambda: made.append(1) or (lambda item: item), 8))  # type: ignore[func-returns-value]
    assert made == [1]


def test_an_error_takes_its_items_place_and_leaves_no_thread() -> None:
    def work(number: int) -> int:
        return 10 // (3 - number)

    before = set(threading.enumerate())  # of which one that a test before has left may end meanwhile
    answers = in_order(range(100), lambda: work, 2)
    assert [next(answers) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(answers)
    assert not set(threading.enumerate()) - before


def test_a_tool_that_cannot_be_made_is_the_callers_to_know() -> None:
    def make() -> Callable[[int], int]:
        raise RuntimeError("no tool")

    with pytest.raises(RuntimeError, match="no tool"):
        list(in_order(range(10), make, 2))
