"""A plugin that makes races show: `PYTHONPATH=tests pytest -p shaken --shake SEED` holds things up at random.

A test that passes on one machine because one thing happens to come before another fails here: threads wait
where they hand over, messages come late to subscribers, and the dashboard's answers and events to a browser that
is slow. Nothing is changed but the moment: what goes through the outbox keeps its order, and so do each other
topic and each stream of events.
"""

from __future__ import annotations

import asyncio
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
ANSWER_S = 0.7
"""The longest that an answer or an event of the dashboard is held up."""
SLOWER = 2
"""How many times slower the browser computes."""

_sleep = time.sleep


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shake", type=int, default=0, metavar="SEED", help="hold things up at random, so seeded"
    )


def pytest_configure(config: pytest.Config) -> None:
    if seed := config.getoption("--shake"):
        rng = random.Random(seed)
        _shake_threads(rng)
        _shake_subscribers(rng)
        _shake_dashboard(rng)
        _slow_browser()


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


def _shake_dashboard(rng: random.Random) -> None:
    from dashboard import server

    create_app = server.create_app

    def pause() -> float:
        return rng.random() ** 2 * ANSWER_S if rng.random() < 0.5 else 0.0

    class Late:
        """Middleware by which answers and events come late, those of one request in their order."""

        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or "/static/" in scope["path"]:
                await self.app(scope, receive, send)
                return
            events = scope["path"].endswith("/events")

            async def send_late(message: Any) -> None:
                if message["type"] == "http.response.start" or events:
                    await asyncio.sleep(pause())
                await send(message)

            if not events:
                await asyncio.sleep(pause())
            await self.app(scope, receive, send_late)

    def create_late(*args: Any, **named: Any) -> Any:
        app = create_app(*args, **named)
        app.add_middleware(Late)
        return app

    server.create_app = create_late


def _slow_browser() -> None:
    from playwright.sync_api import BrowserContext

    new_page = BrowserContext.new_page

    def new_slow_page(self: Any) -> Any:
        page = new_page(self)
        self.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        return page

    BrowserContext.new_page = new_slow_page  # type: ignore[method-assign]
