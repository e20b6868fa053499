"""The broker session: connects again and again, keeps what is retained up to date, takes in commands.

What happens on one connection is in `edge.mqtt.connection`; what is refused, in `edge.mqtt.refusals`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Mqtt
from edge.errors import StoreUnavailable
from edge.health.problems import Health
from edge.mqtt.beside import Beside
from edge.mqtt.client import Event, tls_context
from edge.mqtt.connection import Connection, Ended, State
from edge.mqtt.failures import Failures
from edge.mqtt.refusals import Refusals
from edge.mqtt.upkeep import LimitedOutbox, Upkeep
from edge.store import Failure
from edge.wire.messages import Message, Reply, Request

log = logging.getLogger(__name__)

BACKOFF_FIRST_S, BACKOFF_LAST_S = 1.0, 60.0
COMMANDS_WAITING, COMMANDS_REFUSED = 16, 64
"""So many commands wait to be carried out; of so many more it is kept that they came, to refuse them."""
AGAIN_S = 60.0
"""A retained message that was refused is offered again this much later."""
SUSPECTED_OFTEN = 3
"""A topic beyond the device's own is left off when so many connections ended before it was answered."""


class Session:
    """Publishes for one device, whatever the broker does.

    Args:
        settings: the broker.
        password: for `settings.username`, or None.
        device: names the client and the topics.
        outbox: what must not be lost.
        status: makes the `status` message; asked at each connection, for `online` and for the will.
        turned: called at each turn of the session's thread, which comes at least twice a minute unless the
            thread hangs.
        health: is told what is wrong with the broker: `broker` (no connection), `broker_refuses` (messages),
            `broker_commands` (commands cannot be heard), `outbox_pictures` (pictures of waiting cells were given
            up), `outbox_full` (larger than its limit with results alone).

    Attributes:
        connected: there is a connection.
        attempts: connections tried since the start.
        connections: of these, those that came about.

    Raises:
        ConfigError: a certificate cannot be read.
    """

    def __init__(
        self,
        settings: Mqtt,
        *,
        password: str | None,
        device: str,
        outbox: LimitedOutbox,
        status: Callable[[State], Message],
        turned: Callable[[], None] = lambda: None,
        health: Health | None = None,
    ) -> None:
        self.settings = settings
        self.password = password
        self.client_id = f"leukoscope-{device}"
        self.root = f"{settings.prefix}/{device}/"
        self.where = f"{settings.host}:{settings.port}"
        self.outbox = outbox
        self.status = status
        self.turned = turned
        self.health = health or Health()
        self.tls = tls_context(settings)
        self.refusals = Refusals()
        self.listeners: dict[str, Callable[[bytes], None]] = {}
        self.connected = False
        self.attempts = self.connections = 0
        self._failures = Failures()
        self._upkeep = Upkeep(settings, outbox, self._failures, self.health)
        self._told = 0
        self._lock = threading.Lock()
        self._beside = Beside()
        self._suspected: Counter[str] = Counter()
        self._requests: deque[Request] = deque()
        self._replies: deque[Reply] = deque(maxlen=COMMANDS_WAITING + COMMANDS_REFUSED)
        self._connection: Connection | None = None
        self._connected_at = float("inf")
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect. Returns at once; a broker that is away is waited for."""
        self._thread.start()

    def stop(self, flush_s: float) -> None:
        """Publish what the outbox holds, say `offline`, disconnect.

        Args:
            flush_s: time for the outbox at most; what is left stays in it. Without a connection none of it
                is waited for.
        """
        self._deadline = time.monotonic() + flush_s
        self._stopping.set()
        self.notify()
        self._thread.join()

    def notify(self) -> None:
        """Say that the outbox has something new, or that messages were put back (`Writer.replay`)."""
        with self._lock:
            if self._connection is not None:
                self._connection.events.put(Event("news"))

    def publish(self, message: Message) -> None:
        """Publish beside the outbox; a newer message of the same topic takes an unsent one's place.

        A retained message is published after each connection anew; another is lost while there is none.
        """
        self._beside.put(message)
        self.notify()

    def listen(self, topic: str, heard: Callable[[bytes], None]) -> None:
        """Subscribe to another topic than the device's commands. To be called before `start`.

        Args:
            topic: the whole of it, without wildcards.
            heard: is given each payload, in the network's thread: it must return at once, and never raise.
        """
        self.listeners[topic] = heard

    def topic(self, message: Message) -> str:
        """The whole topic of a message."""
        return message.topic if message.elsewhere else self.root + message.topic

    def next_request(self) -> Request | None:
        """Take the command that came first; None where none waits."""
        with self._lock:
            return self._requests.popleft() if self._requests else None

    def reply(self, reply: Reply) -> None:
        """Answer a command; lost with the connection, as whoever asked is told by its absence."""
        with self._lock:
            self._replies.append(reply)
        self.notify()

    def requested(self, request: Request) -> None:
        """Take in a command, while there is room. For the connection."""
        with self._lock:
            if len(self._requests) < COMMANDS_WAITING:
                self._requests.append(request)
            elif len(self._requests) < COMMANDS_WAITING + COMMANDS_REFUSED:
                self._requests.append(request._replace(payload=b"", busy=True))

    def raise_failure(self) -> None:
        """Raise what ended the session's thread, a StoreError for example; nothing while it is well."""
        if self._failure is not None:
            raise self._failure

    def failures(self) -> tuple[Failure, ...]:
        """What failed at the broker, over restarts, the newest first: connections, subscriptions, messages."""
        return self._failures.all()

    def next_fresh(self) -> Message | None:
        """Take the next message beside the outbox. For the connection."""
        return self._beside.next(self.refusals.shunned(time.monotonic()))

    def next_reply(self) -> Reply | None:
        """Take the next answer. For the connection."""
        with self._lock:
            return self._replies.popleft() if self._replies else None

    def left_s(self) -> float | None:
        """None while the session goes on; once it is to stop, the seconds left for the outbox."""
        return max(0.0, self._deadline - time.monotonic()) if self._stopping.is_set() else None

    def subscribed(self, reasons: Sequence[ReasonCode]) -> None:
        """Hear whether commands will be heard. For the connection, in paho's thread.

        Args:
            reasons: the first for the commands, the others for the listeners, which nobody misses.
        """
        for topic, reason in zip(self.listeners, reasons[1:], strict=False):
            if reason.is_failure:
                log.info("the broker does not let this device listen to %s: %s", topic, reason.getName())
        refused = reasons[0].getName() if reasons[0].is_failure else None
        if refused is None:
            self.health.clear("broker_commands")
            return
        self._failures.note("subscription", refused)
        self.health.report(
            "broker_commands",
            f"the broker does not let this device listen to commands ({refused}); "
            f"allow it to read {self.root}command/#",
        )

    def refused(self, message: Message, seq: int | None, reason: str, help_: str, *, alone: bool) -> None:
        """Keep that the broker refused a message. For the connection."""
        what = message.topic if seq is not None else message.topic.partition("/")[0]
        self._failures.note(what, reason)
        if seq is not None:
            now = time.monotonic()
            self.refusals.refused(seq, message.topic, now=now, reason=reason, advice=help_, alone=alone)
        elif message.elsewhere:
            self._leave_off(message.topic, reason)
            return
        elif message.retain:
            self.refusals.leave_unsaid(message.topic, reason, help_)
            self._beside.say_again(message.topic, time.monotonic() + AGAIN_S)

    def _leave_off(self, topic: str, reason: str) -> None:
        """Say nothing more to a topic beyond the device's own: it may well be that it must not, and none misses it."""
        self._beside.leave_off(topic)
        log.warning(
            "the broker does not take %s (%s); it is not offered again before the next start", topic, reason
        )

    def _suspect(self, topics: frozenset[str]) -> None:
        """Note that a connection ended before these were answered: some brokers answer a refusal so."""
        for topic in topics:
            self._suspected[topic] += 1
            if self._suspected[topic] >= SUSPECTED_OFTEN:
                self._leave_off(topic, "the connection ends")
                self.listeners.clear()

    def taken(self, message: Message, seq: int | None) -> None:
        """Keep that the broker acknowledged a message. For the connection."""
        if seq is not None:
            self.refusals.taken(seq, message.topic, now=time.monotonic())
        else:
            self.refusals.said(message.topic)

    @property
    def tend_at(self) -> float:
        """When `tend` has something to do, as `time.monotonic` counts."""
        return min(self._upkeep.due_at, self._beside.again_at)

    def tend(self) -> None:
        """Show that the thread goes on, and do what is due beside publishing. For the connection."""
        self.turned()
        if self.refusals.version != self._told:
            self._told = self.refusals.version
            if self.refusals:
                self.health.report("broker_refuses", self.refusals.words())
            else:
                self.health.clear("broker_refuses")
        self._beside.look()
        self._upkeep.look()

    def _run(self) -> None:
        delay = BACKOFF_FIRST_S
        try:
            with suppress(StoreUnavailable):
                self._failures.remember(self.outbox.failures())
            while not self._stopping.is_set():
                self._connected_at = float("inf")
                try:
                    self._connect_once()
                    self.tend()
                except StoreUnavailable as error:
                    log.warning("the outbox cannot be used for now: %s", error)
                if time.monotonic() - self._connected_at > BACKOFF_LAST_S:
                    delay = BACKOFF_FIRST_S  # it had held: what ended it is a new matter
                # The jitter keeps a ward's devices from coming back all at once.
                self._stopping.wait(delay * random.uniform(0.5, 1))
                delay = min(2 * delay, BACKOFF_LAST_S)
            with suppress(StoreUnavailable):
                self._upkeep.do()
        except Exception as error:  # noqa: BLE001 - raised again by `raise_failure`
            self._failure = error

    def _connect_once(self) -> None:
        connection = Connection(self)
        self.attempts += 1
        try:
            ended = connection.open() or self._use(connection)
        finally:
            with self._lock:
                self.connected, self._connection = False, None
                self._replies.clear()
            self._beside.end()
            connection.close()
        if ended is not None:
            self._suspect(connection.flow.unanswered_elsewhere())
            self._failures.note("connection", ended.reason)
            self.health.report("broker", ended.text)
            self._blame(connection.flow.stuck_at())

    def _blame(self, first: int | str | None) -> None:
        """Leave a message behind at which one connection after the other ends: first its picture, then all of it."""
        if not self.refusals.ended(first) or first is None:
            return
        if isinstance(first, int) and self.outbox.drop_pictures([first]):
            return
        log.warning(
            "the connection to the broker ends at message %s again and again; it is left behind", first
        )
        self.refusals.shun(first, now=time.monotonic())

    def _use(self, connection: Connection) -> Ended | None:
        self.connections += 1
        self._connected_at = time.monotonic()
        self.health.clear("broker")
        known = self._beside.kept("status")
        self._beside.begin(self.status("online"), known=known)
        with self._lock:
            self.connected, self._connection = True, connection
        return connection.run()
