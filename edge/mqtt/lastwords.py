"""What a device says that cannot start: one retained message, on a connection of its own.

The broker's session needs the database; without it this is how others hear why there is silence.
"""

from __future__ import annotations

import logging
import queue
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress

from edge import __version__
from edge.config import Mqtt
from edge.health.problems import Problem
from edge.mqtt.client import Client, Event, tls_context
from edge.wire.messages import Message, Model, Stamp, status_message

log = logging.getLogger(__name__)

SAY_S = 10.0
"""A broker that has not taken it by then does not get it."""


def status(device: str, model: Model, problems: Iterable[Problem]) -> Message:
    """That a device is not there, and why. Its database, which counts starts and messages, is not open."""
    name = secrets.token_hex(6)
    stamp = Stamp(device, name, 0, f"{name}-status")
    return status_message(stamp, "offline", version=__version__, model=model, problems=problems)


def say(settings: Mqtt, message: Message, *, device: str, password: str | None) -> bool:
    """Publish a message, where there is a broker that takes it.

    Args:
        settings: the broker.
        message: what is said; its topic is below the device's.
        device: its name.
        password: for the settings' user.

    Returns:
        Whether the broker has it.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    client = Client(
        settings, f"leukoscope-{device}", password=password, tls=tls_context(settings), put=events.put
    )
    until = time.monotonic() + SAY_S

    def happens(kind: str) -> bool:
        with suppress(queue.Empty):
            event = events.get(timeout=max(0.0, until - time.monotonic()))
            return event.kind == kind and not (event.reason is not None and event.reason.is_failure)
        return False

    try:
        client.connect(settings.host, settings.port)
        client.loop_start()
        if not happens("connected"):
            return False
        topic = f"{settings.prefix}/{device}/{message.topic}"
        client.publish(topic, message.payload, message.qos, message.retain)
        return happens("acknowledged")
    except (OSError, ValueError) as error:
        log.debug("nobody hears why it does not start: %s", error)
        return False
    finally:
        client.disconnect()
        client.loop_stop()
