"""A plugin that makes races show: `pytest -p shaken --shake SEED` holds up threads at random where they hand over.

A test that passes on one machine because a message happens to come before another fails here. Nothing
is changed but the moment: what goes through the outbox keeps its order, and so does each other topic.
"""

from __future__ import annotations

import queue
import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

HAND_OVER_S = 0.03
"""The longest that a thread is held up where it hands over to another."""
LINE_S = 1.5
"""The longest that what a subscriber gets is held up, once in this time."""

_sleep = time.sleep


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shake", type=int, default=0, metavar="SEED", help="hold up threads at random, so seeded"
    )


def pytest_configure(config: pytest.Config) -> None:
    if seed := config.getoption("--shake"):
        rng = random.Random(seed)
        _shake_threads(rng)
        _shake_subscribers(rng)


def _shake_threads(rng: random.Random) -> None:
    def shaken(method: Callable[..., Any], odds: float) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            if rng.random() < odds:
                _sleep(rng.random() * HAND_OVER_S)
            return method(*args, **named)

        return run

    for owner, name, odds in (
        (threading.Thread, "run", 1.0),
        (threading.Event, "set", 0.5),
        (threading.Condition, "notify", 0.02),
        (queue.Queue, "put", 0.05),
        (queue.Queue, "get", 0.05),
    ):
        setattr(owner, name, shaken(getattr(owner, name), odds))


def _shake_subscribers(rng: random.Random) -> None:
    """Let a subscriber have what comes late: in order from the outbox, and in order for each other topic."""
    import helpers

    take = helpers.Subscriber.take
    lines: weakref.WeakKeyDictionary[Any, dict[str, queue.SimpleQueue[Any]]] = weakref.WeakKeyDictionary()

    def deliver(subscriber: Any, line: queue.SimpleQueue[Any]) -> None:
        last = 0.0
        while True:
            message = line.get()
            if time.monotonic() - last > LINE_S:
                _sleep(rng.random() ** 2 * LINE_S)
                last = time.monotonic()
            if isinstance(message, threading.Barrier):
                message.wait()
            else:
                take(subscriber, message)

    def take_late(self: Any, message: Any) -> None:
        mine = lines.setdefault(self, {})
        if message.topic == helpers.MARK:
            barrier = threading.Barrier(len(mine) + 1, action=lambda: take(self, message))
            for line in mine.values():
                line.put(barrier)
            threading.Thread(target=barrier.wait, daemon=True).start()
            return
        name = "outbox" if message.topic.split("/", 2)[-1] in helpers.NUMBERED else message.topic
        if name not in mine:
            mine[name] = queue.SimpleQueue()
            threading.Thread(target=deliver, args=(self, mine[name]), daemon=True).start()
        mine[name].put(message)

    helpers.Subscriber.take = take_late  # type: ignore[method-assign]
