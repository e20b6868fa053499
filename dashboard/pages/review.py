"""Flagged cells, one after another."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.auth.users import Role
from dashboard.mirror import Mirror, SampleState
from dashboard.pages import acts
from dashboard.pages.base import operator, render, require, services

OFFERED = 30
"""Samples to choose from, the newest first."""


@require(Role.VIEW)
async def review(request: Request) -> Response:
    """The page: of the sample that the address names, else of the one that waits for a person."""
    mirror = services(request).mirror
    device, name = request.query_params.get("device", ""), request.query_params.get("sample", "")

    def ask() -> tuple[SampleState | None, list[tuple[SampleState, int]]]:
        recent = mirror.search(limit=OFFERED)
        found = mirror.sample(device, name) if name else _waiting(mirror, recent)
        if found is not None and found not in recent:
            recent = (found, *recent)
        return found, [(each, mirror.count(each.device, each.id, "undecided")) for each in recent]

    found, offered = await run_in_threadpool(ask)
    return render(
        request,
        "review.html",
        strings=["review"],
        page="review",
        sample=found,
        offered=offered,
        operator=operator(request),
    )


def _waiting(mirror: Mirror, recent: tuple[SampleState, ...]) -> SampleState | None:
    """The open sample, else the newest with a cell that waits, else the newest."""
    opened = next((sample for sample in recent if sample.open), None)
    waiting = (s for s in recent if mirror.count(s.device, s.id, "undecided"))
    return opened or next(waiting, None) or next(iter(recent), None)


routes = [Route("/review", review, name="review"), *acts.routes]
