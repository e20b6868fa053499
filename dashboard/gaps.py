"""What did not arrive is asked for again: the device keeps it, and sends it with the numbers that it had."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from pydantic import ValidationError

from dashboard.link import CommandError, Link
from dashboard.mirror import Mirror, Span
from edge.errors import StoreError
from edge.wire.payloads import ReplayBody

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""So often is looked whether something is missing; what is on its way arrives in less."""
PATIENCE_S = 30.0
"""The same is asked for again after so long."""
MOST_AT_ONCE = 2000
"""Numbers in one request: a busy device answers others in between."""


class Gaps:
    """Looks for what is missing, while the application runs.

    Args:
        mirror: knows what is missing.
        link: asks for it.
    """

    def __init__(self, mirror: Mirror, link: Link) -> None:
        self._mirror, self._link = mirror, link
        self._seen: dict[tuple[str, Span], float] = {}

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
        for device in await asyncio.to_thread(self._mirror.devices):
            if device.status is None or device.status.state != "online":
                continue
            missing = await asyncio.to_thread(self._mirror.missing, device.name)
            wanted = {(device.name, _part(span)) for span in missing[:1]}
            self._seen = {key: at for key, at in self._seen.items() if key[0] != device.name or key in wanted}
            for name, span in wanted:
                asked_at = self._seen.get((name, span))
                # Seen twice: what is merely under way was given its time.
                if asked_at is None:
                    self._seen[name, span] = 0.0
                elif time.monotonic() - asked_at > PATIENCE_S:
                    self._seen[name, span] = time.monotonic()
                    await self._ask(name, span)

    async def _ask(self, device: str, span: Span) -> None:
        try:
            answer = await self._link.command(device, "replay", {"from_seq": span.low, "to_seq": span.high})
        except CommandError as error:
            log.info("%s: messages %d to %d are missing: %s", device, span.low, span.high, error)
            return
        if answer.ok:
            log.info("%s sends messages %d to %d again", device, span.low, span.high)
            for gone in _missing(answer.body):
                await asyncio.to_thread(self._mirror.forgo, device, gone)
        else:
            log.info(
                "%s does not send messages %d to %d again: %s", device, span.low, span.high, answer.message
            )


def _part(span: Span) -> Span:
    return Span(span.low, min(span.high, span.low + MOST_AT_ONCE - 1))


def _missing(body: dict[str, Any]) -> list[Span]:
    """What the device has no longer, as far as its answer can be believed."""
    try:
        replay = ReplayBody.model_validate(body.get("replay"), extra="ignore")
    except ValidationError:
        return []
    within = ((max(low, replay.from_seq), min(high, replay.to_seq)) for low, high in replay.missing)
    return [Span(low, high) for low, high in within if low <= high]
