"""Commands over MQTT → answers, each an `edge.wire.payloads.ReplyPayload`.

Something is changed only where the answer says `ok`: the change, its audit entry and the answer are one
transaction. A command that comes again, from a broker that saw no acknowledgement or a client that saw no answer,
gets the first answer again and changes nothing.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import datetime

from edge.commands.desk import Author, Desk
from edge.commands.instrument import Instrument
from edge.commands.pace import Pace
from edge.commands.replay import replay
from edge.commands.requests import (
    LARGEST_CORRELATION,
    Command,
    CommandError,
    FinishSample,
    Replay,
    ReviewCell,
    SetThreshold,
    SignSample,
    StartSample,
    TakeSnapshot,
    parse,
    repetition_key,
)
from edge.errors import SampleError, StoreUnavailable
from edge.store import Writer
from edge.wire.base import Body
from edge.wire.messages import Reply, Request, Stamp, sample_payload
from edge.wire.payloads import Code, ReplyPayload

log = logging.getLogger(__name__)

LARGEST_TOPIC = 256
QUIET_S = 5.0
"""After a refused command no other is logged for so long."""
EVERY_S, AT_ONCE = 0.1, 100
"""Commands that are carried out: in the long run one every so many seconds, and so many at once. Each is a write
to the card."""
SNAPSHOT_S, REPLAY_S = 0.5, 1.0
"""Snapshots and replays are costlier: one every so many seconds."""
NOBODY = "a client without a name"
"""The author of what was asked without an operator's name, for the audit trail: the broker does not say who asks."""
TOO_LARGE = "the picture is larger than the broker's limit on the size of packets; raise that"

_NAME = re.compile(r"[a-z]{1,32}(/[a-z]{1,32}){0,2}")


class Answerer:
    """Answers commands.

    Args:
        desk: where what people do with samples and cells is carried out.
        instrument: the part of the device that reads.
        prefix: of all topics; below it nobody's answer may be sent but to the device's own ``reply/``.
        stamp: makes the stamp of an answer.
    """

    def __init__(
        self, desk: Desk, instrument: Instrument, *, prefix: str, stamp: Callable[[], Stamp]
    ) -> None:
        self._desk = desk
        self._instrument = instrument
        self._prefix = f"{prefix}/"
        self._replies = f"{prefix}/{desk.device}/reply/"
        self._stamp = stamp
        self._quiet_until = 0.0
        self._pace = Pace(EVERY_S, AT_ONCE)
        self._paces = {TakeSnapshot: Pace(SNAPSHOT_S, 2), Replay: Pace(REPLAY_S, 2)}

    def answer(self, request: Request, *, at: datetime) -> Reply:
        """Do what is asked, where it can be done, and say how that went.

        Raises:
            StoreError: the database cannot be used; nothing was done.
        """
        name = request.name if _NAME.fullmatch(request.name) else "unknown"
        topic, request_id, smaller = self._replies + name, None, None
        try:
            topic = self._topic(request, topic)
            command = parse(request)
            request_id = command.id
            self._keep_pace(command)
            text = self._carry_out(request, command, at)
            if isinstance(command, TakeSnapshot):
                smaller = self._refusal(name, request_id, "oversized", TOO_LARGE)
        except (CommandError, SampleError, StoreUnavailable) as error:
            self._warn("the command %s was refused: %s", name, error)
            code: Code = "unavailable" if isinstance(error, StoreUnavailable) else "refused"
            if isinstance(error, CommandError):
                code = error.code
            text = self._refusal(name, request_id, code, str(error))
        correlation = request.correlation
        if correlation is not None and len(correlation) > LARGEST_CORRELATION:
            correlation = None
        return Reply(topic, text, correlation, smaller)

    def _warn(self, text: str, *what: object) -> None:
        """Log a refusal, unless one was logged just now: whoever sends nonsense must not fill the card."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            log.warning(text, *what)

    def _keep_pace(self, command: Command) -> None:
        """Refuse what comes too often.

        Raises:
            CommandError: it does.
        """
        now = time.monotonic()
        own = self._paces.get(type(command))
        if own is not None and not own.allows(now):
            raise CommandError("too_frequent", f"one every {own.every_s:g} s; ask again later")
        if not self._pace.allows(now):
            raise CommandError(
                "too_frequent", f"more than {AT_ONCE} commands at once, or than {1 / EVERY_S:g} a second"
            )

    def _carry_out(self, request: Request, command: Command, at: datetime) -> str:
        """Do it, or find that it was done.

        Returns:
            The answer's payload.

        Raises:
            CommandError: it cannot be done now.
            SampleError: it cannot be done; nothing was changed.
        """
        if isinstance(command, TakeSnapshot):  # changes nothing, so that there is nothing to be kept of it
            return self._done(request, command, snapshot=self._snapshot())
        key = repetition_key(request, command)
        with self._desk.store.write() as write:
            known = None if key is None else self._desk.store.answer(key)
            if known is not None:
                log.info("%s came again, and was answered as before", request.name)
                return known
            payload = self._done(request, command, **self._do(write, command, at))
            if key is not None:
                write.answered(key, payload)
        if isinstance(command, SetThreshold):
            self._instrument.threshold = command.threshold
        log.info("%s by %s", request.name, command.operator or "somebody without a name")
        return payload

    def _do(self, write: Writer, command: Command, at: datetime) -> dict[str, Body | float]:
        desk, author = self._desk, Author(command.operator, "mqtt", NOBODY)
        match command:
            case ReviewCell():
                review = desk.review(write, command.cell, command.class_, author=author, at=at)
                return {"review": review}
            case SetThreshold():
                self._instrument.keep_threshold(write, command.threshold, desk=desk, author=author, at=at)
                return {"threshold": command.threshold}
            case Replay():
                again = replay(write, desk, command.from_seq, command.to_seq, author=author, at=at)
                return {"replay": again}
            case StartSample():
                sample = desk.start(write, command.sample, target=command.target, author=author, at=at)
            case FinishSample():
                sample = desk.finish(write, command.sample, author=author, at=at)
            case SignSample():
                act = desk.sign if command.undo is None else desk.withdraw_signature
                sample = act(write, command.sample, author=author, at=at)
            case _:
                raise AssertionError(f"{type(command).__name__} has a schema, and nobody who carries it out")
        return {"sample": sample_payload(self._stamp(), sample, desk.result(sample.id))}

    def _snapshot(self) -> Body:
        found = self._instrument.snapshot()
        if found is None:
            raise CommandError("refused", "the camera has shown nothing yet")
        return found

    def _topic(self, request: Request, default: str) -> str:
        """Where the answer goes. A device with more rights than the asker must not be made to misuse them."""
        topic = request.response_topic
        if topic is None:
            return default
        if (
            not topic
            or len(topic.encode()) > LARGEST_TOPIC
            or not topic.isprintable()
            or set(topic) & set("+#")
        ):
            raise CommandError("malformed", "the response topic is none that can be published to")
        if topic.startswith("$") or (topic.startswith(self._prefix) and not topic.startswith(self._replies)):
            raise CommandError(
                "malformed", f"a response topic below {self._prefix} must lie below {self._replies}"
            )
        return topic

    def _head(self, name: str, request_id: str | None) -> dict[str, object]:
        return {
            "schema": "leukoscope.reply/1",
            **self._stamp()._asdict(),
            "command": name,
            "request": request_id,
        }

    def _done(self, request: Request, command: Command, **what: Body | float) -> str:
        head = self._head(request.name, command.id)
        return ReplyPayload.model_validate({**head, "ok": True, **what}).text()

    def _refusal(self, name: str, request_id: str | None, code: Code, message: str) -> str:
        fault = {"code": code, "message": message}
        head = self._head(name, request_id)
        return ReplyPayload.model_validate({**head, "ok": False, "error": fault}).text()
