"""Fixtures for all tests: a real broker, and real subscribers to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from helpers import Subscriber

from edge.broker import PrivateBroker


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
