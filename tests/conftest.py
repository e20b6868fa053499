"""Fixtures for all tests: a real broker, and real subscribers to it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from brokers import CutProxy
from helpers import Subscriber

from edge.mqtt import flow
from edge.mqtt import session as mqtt
from edge.mqtt.broker import PrivateBroker
from edge.store import Store

# A busy machine is no reason to fail, and what runs on this machine is asked without a proxy.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C reach the programs that are started, also where the tests run in the background, which ignores it."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """What a command that ran in this process lets be logged is its own affair."""
    loggers = [logging.getLogger(name) for name in ("edge", "dashboard", "fleet")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def broker() -> Iterator[PrivateBroker]:
    """A Mosquitto for all tests that do not mind each other's messages: take a device name of your own."""
    with PrivateBroker() as running:
        yield running


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    """Makes subscribers, and closes them after the test."""
    with ExitStack() as stack:

        def make(broker: PrivateBroker, name: str = "") -> Subscriber:
            subscriber = Subscriber(broker.host, broker.port, name)
            subscriber.open()
            stack.callback(subscriber.close)
            return subscriber

        yield make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database of its own, open."""
    with Store(tmp_path / "db") as opened:
        yield opened


@pytest.fixture
def proxy(broker: PrivateBroker) -> Iterator[CutProxy]:
    """A way to the broker that can be cut."""
    running = CutProxy(broker.port)
    yield running
    running.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens what is long in a session for the sake of brokers, not of correctness."""
    monkeypatch.setattr(mqtt, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(mqtt, "BACKOFF_LAST_S", 0.2)
    monkeypatch.setattr(flow, "MARK_S", 0.1)
