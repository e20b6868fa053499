"""What did not arrive is asked for again: the device keeps it, and sends it with the numbers that it had."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, NamedTuple

from pydantic import ValidationError

from dashboard.link import CommandError, Link
from dashboard.mirror import Mirror, Span
from edge.commands.replay import MOST_RUNS
from edge.errors import StoreError
from edge.wire.payloads import ReplayBody

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""So often is looked whether something is missing; what is on its way arrives in less."""
PATIENCE_S = 30.0
"""The same is asked for again after so long, and each time after twice as long."""
PATIENCE_LAST_S = 600.0
MOST_AT_ONCE = 2000
"""Numbers in one request: a busy device answers others in between."""


class _Asked(NamedTuple):
    """When a gap may be asked for again, and how long was waited since it was asked for last."""

    again_at: float
    wait_s: float


class Gaps:
    """Looks for what is missing, while the application runs.

    Args:
        mirror: knows what is missing.
        link: asks for it.
    """

    def __init__(self, mirror: Mirror, link: Link) -> None:
        self._mirror, self._link = mirror, link
        self._asked: dict[tuple[str, Span], _Asked] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._link.state.connected:
                continue
            try:
                await self._look()
            except StoreError as error:
                log.error("%s", error)

    async def _look(self) -> None:
        devices = await asyncio.to_thread(self._mirror.devices)
        online = [device for device in devices if device.status and device.status.state == "online"]
        names = {device.name for device in online}
        self._asked = {key: asked for key, asked in self._asked.items() if key[0] in names}
        for device in online:
            missing = await asyncio.to_thread(self._mirror.missing, device.name)
            due = self._due(device.name, [_part(span) for span in missing])
            if due is not None:
                await self._ask(device.name, due)

    def _due(self, device: str, spans: list[Span]) -> Span | None:
        """The first that is to be asked for now, one at a time; one that stays keeps no other from being asked for."""
        keys = [(device, span) for span in spans]
        self._asked = {key: asked for key, asked in self._asked.items() if key[0] != device or key in keys}
        now, due = time.monotonic(), None
        for key in keys:
            asked = self._asked.get(key)
            # Seen twice: what is merely under way was given its time.
            if asked is None:
                self._asked[key] = _Asked(now, 0.0)
            elif due is None and now >= asked.again_at:
                wait_s = min(2 * asked.wait_s, PATIENCE_LAST_S) or PATIENCE_S
                self._asked[key] = _Asked(now + wait_s, wait_s)
                due = key[1]
        return due

    async def _ask(self, device: str, span: Span) -> None:
        try:
            answer = await self._link.command(device, "replay", {"from_seq": span.low, "to_seq": span.high})
        except CommandError as error:
            log.info("%s: messages %d to %d are missing: %s", device, span.low, span.high, error)
            return
        if answer.ok:
            log.info("%s sends messages %d to %d again", device, span.low, span.high)
            for gone in _missing(answer.body, span):
                await asyncio.to_thread(self._mirror.forgo, device, gone)
        else:
            log.info(
                "%s does not send messages %d to %d again: %s", device, span.low, span.high, answer.message
            )


def _part(span: Span) -> Span:
    return Span(span.low, min(span.high, span.low + MOST_AT_ONCE - 1))


def _missing(body: dict[str, Any], asked: Span) -> list[Span]:
    """What the device has no longer of what it was asked for, as far as its answer can be believed."""
    try:
        replay = ReplayBody.model_validate(body.get("replay"), extra="ignore")
    except ValidationError:
        return []
    within = (Span(max(low, asked.low), min(high, asked.high)) for low, high in replay.missing[:MOST_RUNS])
    return [span for span in within if span.low <= span.high]
