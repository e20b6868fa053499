"""Samples and cells as the pages' scripts get them: JSON from the mirror, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.agreement import first_and_second
from dashboard.auth.users import Role
from dashboard.mirror import Filter, Mirror, MirrorCell, Reading, SampleState
from dashboard.pages.base import require, services
from dashboard.settings import Reference
from edge.differential import OTHER_WHITE_CELL, Differential, place
from edge.wire.cellrecord import utc_text

MOST: Final = 200
"""Cells in one answer."""

FILTERS: Final = ("undecided", "flagged", "all")


def sample_of(request: Request) -> SampleState:
    """The sample that an address names.

    Raises:
        HTTPException: nothing was heard of it.
    """
    found = services(request).mirror.sample(request.path_params["device"], request.path_params["sample"])
    if found is None:
        raise HTTPException(404)
    return found


def cell_of(request: Request) -> MirrorCell:
    """The cell that an address names.

    Raises:
        HTTPException: it is not here.
    """
    found = services(request).mirror.cell(request.path_params["device"], request.path_params["cell"])
    if found is None:
        raise HTTPException(404)
    return found


def whole(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the query, 0 to `most`.

    Raises:
        HTTPException: it is something else.
    """
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > most:
        raise HTTPException(400, f"{name} is a whole number from 0 to {most}")
    return int(text)


def ordered(names: Sequence[str]) -> list[str]:
    """Classes in the order in which laboratories list them."""
    return sorted(names, key=place)


def cell_json(cell: MirrorCell, said: Sequence[Reading]) -> dict[str, Any]:
    """A cell as the scripts get it."""
    record = cell.record
    first, second = first_and_second(said)
    return {
        "number": cell.number,
        "device": record.device,
        "id": record.id,
        "sample": record.sample,
        "class": record.class_,
        "confidence": record.confidence,
        "verdict": record.verdict,
        "reasons": [reason.value for reason in record.reasons],
        "probabilities": record.probabilities,
        "threshold": record.threshold,
        "throttled": record.throttled,
        "captured_at": record.captured_at,
        "file": record.file,
        "views": record.views,
        "model": record.model,
        "reviewed": cell.reviewed,
        "standing": cell.standing,
        "pictured": cell.pictured,
        "first": _reading(first),
        "second": _reading(second),
        "readings": [_reading(each) for each in said],
    }


def sample_json(mirror: Mirror, sample: SampleState, reference: Reference) -> dict[str, Any]:
    """A sample as the scripts get it, with the differential of the cells that are here."""
    record = sample.record
    result = mirror.differential(sample.device, sample.id)
    names = [share.cell_class for share in result.shares]
    missing = mirror.missing(sample.device)
    return {
        "device": sample.device,
        "id": sample.id,
        "started_at": utc_text(sample.started_at),
        "state": record.state if record else "open",
        "named": bool(record and record.named),
        "operator": record.operator if record else "",
        "target": record.target if record else None,
        "reached_at": record.reached_at if record else None,
        "finished_at": record.finished_at if record else None,
        "signed_by": record.signed_by if record else None,
        "signed_at": record.signed_at if record else None,
        "classes": ordered([name for name in names if name != OTHER_WHITE_CELL]),
        "differential": differential_json(result, reference),
        "cells": mirror.count(sample.device, sample.id),
        "flagged": mirror.count(sample.device, sample.id, "flagged"),
        "missing": sum(high - low + 1 for low, high in missing),
    }


def differential_json(result: Differential, reference: Reference) -> dict[str, Any]:
    """A differential as the scripts get it, with the ranges that it is compared with."""
    shares = {share.cell_class: share for share in result.shares}
    return {
        "accepted": result.accepted,
        "undecided": result.flagged,
        "reviewed": result.reviewed,
        "not_white_cells": result.not_white_cells,
        "cannot_tell": result.cannot_tell,
        "shares": [
            {
                "class": name,
                "count": shares[name].count,
                "percent": shares[name].percent,
                "limits": shares[name].limits,
                "simultaneous": shares[name].simultaneous,
                "reference": reference.ranges.get(name),
            }
            for name in ordered(list(shares))
        ],
    }


def _reading(said: Reading | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {
        "reading": said.reading,
        "operator": said.operator,
        "at": utc_text(said.at),
        "withdrawn": said.withdrawn,
    }


@require(Role.VIEW)
async def sample(request: Request) -> Response:
    """A sample."""
    here = services(request)
    found = await run_in_threadpool(
        lambda: sample_json(here.mirror, sample_of(request), here.settings.reference)
    )
    return JSONResponse(found)


@require(Role.VIEW)
async def cells(request: Request) -> Response:
    """A sample's cells: `only`, `standing`, `after`, `offset`, `limit`."""
    mirror, query = services(request).mirror, request.query_params
    device, name = request.path_params["device"], request.path_params["sample"]
    only, standing = query.get("only", "all"), query.get("standing")
    if only not in FILTERS:
        raise HTTPException(400, f"only is one of {', '.join(FILTERS)}")
    after = whole(request, "after", 0, 2**53)
    offset = whole(request, "offset", 0, 10**7)
    limit = whole(request, "limit", 100, MOST)

    def ask() -> list[dict[str, Any]]:
        found = mirror.cells(
            device,
            name,
            after=after,
            limit=limit,
            only=cast(Filter, only),
            standing=standing,
            offset=offset,
        )
        said = mirror.readings_among(device, [cell.record.id for cell in found])
        return [cell_json(cell, said.get(cell.record.id, ())) for cell in found]

    return JSONResponse({"cells": await run_in_threadpool(ask)})


@require(Role.VIEW)
async def cell(request: Request) -> Response:
    """A cell with what the model looked at, and how many of its sample come before it."""
    mirror = services(request).mirror

    def ask() -> dict[str, Any]:
        found = cell_of(request)
        device, name = found.record.device, found.record.id
        said = mirror.readings(device, name)
        saliency = mirror.saliency(device, name)
        return {**cell_json(found, said), "saliency": saliency, "rank": mirror.rank(found)}

    return JSONResponse(await run_in_threadpool(ask))


@require(Role.VIEW)
async def picture(request: Request) -> Response:
    """A cell's picture."""
    mirror, path = services(request).mirror, request.path_params
    found = await run_in_threadpool(mirror.picture, path["device"], path["cell"])
    if found is None:
        raise HTTPException(404)
    # What a message brought never changes.
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return Response(found, media_type="image/jpeg", headers=headers)


@require(Role.VIEW)
async def like(request: Request) -> Response:
    """Accepted cells that look like one."""
    likeness = services(request).likeness

    def ask() -> list[dict[str, Any]]:
        return [
            {**cell_json(found.cell, ()), "cosine": found.cosine}
            for found in likeness.nearest(cell_of(request))
        ]

    return JSONResponse({"cells": await run_in_threadpool(ask)})


routes = [
    Route("/data/sample/{device}/{sample}", sample, name="sample_data"),
    Route("/data/sample/{device}/{sample}/cells", cells, name="cells_data"),
    Route("/data/cell/{device}/{cell}", cell, name="cell_data"),
    Route("/data/cell/{device}/{cell}/picture", picture, name="cell_picture"),
    Route("/data/cell/{device}/{cell}/like", like, name="cell_like"),
]
