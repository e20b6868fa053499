"""What the devices are doing now: the page, its data, and the stream of changes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dashboard.auth.guard import cookie_name
from dashboard.auth.users import Role
from dashboard.hub import Hub, Listener
from dashboard.liveview import CellRow, cell_rows, live_view
from dashboard.pages.base import DataResponse, island, render, require, services

LOOK_S = 10.0
"""Whether somebody is still signed in is looked at so often while changes are sent."""
MOST_CELLS = 1000
"""Cells in one answer: a list of thousands comes in parts."""
MOST_NAMED = 50
"""Cells that are asked for by name at once."""


@require(Role.VIEW)
async def live(request: Request) -> Response:
    """The page, with what is known already: it shows the sample before its script has asked for anything."""
    here = services(request)
    heard = here.hub.now
    view = await run_in_threadpool(
        live_view, here.mirror, here.settings.reference, request.query_params.get("device", "")
    )
    return render(
        request,
        "live.html",
        strings=["live"],
        page="live",
        view=view,
        reference=here.settings.reference,
        broker=f"{here.settings.mqtt.host}:{here.settings.mqtt.port}",
        data=island(view.model_dump(mode="json")),
        heard=heard,
    )


@require(Role.VIEW)
async def state(request: Request) -> Response:
    """Everything but the cells."""
    here = services(request)
    chosen = request.query_params.get("device", "")
    return DataResponse(await run_in_threadpool(live_view, here.mirror, here.settings.reference, chosen))


@require(Role.VIEW)
async def cells(request: Request) -> Response:
    """Cells of a sample, in the order in which they were decided.

    `after`: those with greater numbers; `last`: so many at the end; `id`, again and again: these.
    """
    here, asked = services(request), request.query_params
    device, sample = request.path_params["device"], request.path_params["sample"]
    limit = min(MOST_CELLS, _number(asked.get("limit"), MOST_CELLS))

    def find() -> list[CellRow]:
        if names := asked.getlist("id")[:MOST_NAMED]:
            found = (here.mirror.cell(device, name) for name in names)
            return cell_rows(cell for cell in found if cell is not None and cell.record.sample == sample)
        offset = 0
        if "last" in asked:
            offset = max(0, here.mirror.count(device, sample) - _number(asked["last"], 0))
        after = _number(asked.get("after"), 0)
        return cell_rows(here.mirror.cells(device, sample, after=after, limit=limit, offset=offset))

    return DataResponse({"cells": await run_in_threadpool(find)})


@require(Role.VIEW)
async def events(request: Request) -> Response:
    """Changes, as Server-Sent Events, as long as whoever asked is signed in.

    `since`: from where the page has them, see `Hub.now`.
    """
    here = services(request)
    token = request.cookies.get(cookie_name(request), "")

    async def allowed() -> bool:
        if here.sessions is None:
            return True
        return await run_in_threadpool(here.sessions.user, token, active=False) is not None

    return _Events(here.hub, here.hub.listen(request.query_params.get("since", "")), allowed)


class _Events(StreamingResponse):
    """The stream of one browser, which the hub forgets when it goes."""

    def __init__(self, hub: Hub, listener: Listener, allowed: Callable[[], Awaitable[bool]]) -> None:
        super().__init__(
            _while(listener.events(), allowed),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )
        self._hub, self._listener = hub, listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, until one side ends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave(self._listener)


async def _while(events: AsyncIterator[str], allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
    """A stream that ends when it is allowed no more; that is looked at now and then."""
    looked_at = time.monotonic()
    async for text in events:
        if time.monotonic() - looked_at > LOOK_S:
            looked_at = time.monotonic()
            if not await allowed():
                return
        yield text


def _number(text: str | None, default: int) -> int:
    """A count from an address.

    Raises:
        HTTPException: it is none.
    """
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 16:
        raise HTTPException(400)
    return int(text)


routes = [
    Route("/", live, name="live"),
    Route("/events", events, name="events"),
    Route("/data/live", state, name="live_state"),
    Route("/data/devices/{device}/samples/{sample}/cells", cells, name="live_cells"),
]
