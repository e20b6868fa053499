"""Samples: found, opened, reported, compared, exported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.agreement import Readers, agree, compare, readers_of
from dashboard.auth.users import Role
from dashboard.mirror import SampleState
from dashboard.pages import cells
from dashboard.pages.base import render, require, services
from dashboard.pages.cells import ordered, sample_of
from dashboard.samplereport import FORMATS, Format, described, done, gather, lacking, models_used, rendered
from dashboard.samplestable import csv_text
from dashboard.strings import t, table
from edge.differential import Sample
from edge.store import AuditEntry
from edge.wire.cellrecord import utc_text

MOST_SAID: Final = 500
"""Lines of what was said and done on a sample's page; the report has all."""
DEVICE: Final = "device"
"""In a query, the device as a reader; persons are called `by:` and their name."""
FIELDS: Final = ("text", "device", "operator", "state", "since", "until")
SHOWN: Final = 100
"""Samples that a page of the list begins with; whoever wants more asks for them."""
MOST: Final = 100_000
"""Samples in one list, and in its CSV."""
FARTHEST_ZONE: Final = 14 * 60
"""Minutes from UTC."""


class Done(NamedTuple):
    """A line of what was done to a sample, as the page shows it.

    Attributes:
        at, author: when and who.
        what: in words.
        cell: its id, where it was done to a cell.
    """

    at: datetime
    author: str
    what: str
    cell: str


@require(Role.VIEW)
async def samples(request: Request) -> Response:
    """The page: a search, and what it finds."""
    most = max(1, cells.whole(request, "most", SHOWN, MOST))
    asked, found = await run_in_threadpool(_found, request, most + 1)
    return render(
        request,
        "samples.html",
        page="samples",
        asked=asked,
        searched=any(asked[name] for name in FIELDS),
        found=found[:most],
        most=most,
        more=len(found) > most,
        devices=[device.name for device in services(request).mirror.devices()],
    )


@require(Role.VIEW)
async def listed(request: Request) -> Response:
    """What the search finds, as CSV."""
    _, found = await run_in_threadpool(_found, request, MOST)
    return _file(csv_text(found).encode(), "text/csv; charset=utf-8", "samples.csv")


@require(Role.VIEW)
async def sample(request: Request) -> Response:
    """A sample."""
    mirror = services(request).mirror
    found = await run_in_threadpool(sample_of, request)
    device, name = found.device, found.id

    def ask() -> tuple[Sample, tuple[AuditEntry, ...], tuple[str, ...], Readers | None]:
        said = described(mirror, device, name)
        readings = mirror.readings_of(device, name)
        persons = readers_of(readings)
        pair = _pair(request.query_params, persons)
        both = None
        if pair is not None:
            read = [cell for each in readings if (cell := mirror.cell(device, each)) is not None]
            both = agree(read, readings, *pair)
        return said, done(mirror, device, said), persons, both

    said, audit, persons, both = await run_in_threadpool(ask)
    return render(
        request,
        "sample.html",
        strings=["review", "samples"],
        page="samples",
        sample=found,
        said=said,
        models=await run_in_threadpool(models_used, mirror, device, name),
        audit=[_done(entry) for entry in audit[: -MOST_SAID - 1 : -1]],
        audit_length=len(audit),
        persons=persons,
        both=both,
        note=await run_in_threadpool(lacking, mirror, device, name),
        formats=list(FORMATS),
        others=[each for each in mirror.search() if each.id != name or each.device != device],
        reader_value=_reader_value,
    )


@require(Role.VIEW)
async def report(request: Request) -> Response:
    """A sample's report as a file."""
    form = request.path_params["form"]
    if form not in FORMATS:
        raise HTTPException(404)
    mirror = services(request).mirror
    found = await run_in_threadpool(sample_of, request)

    def make() -> bytes:
        taken = gather(mirror, found.device, found.id, made_at=datetime.now(UTC))
        note = lacking(mirror, found.device, found.id)
        return rendered(taken, cast(Format, form), mirror, note)

    media_type, ending = FORMATS[cast(Format, form)]
    return _file(await run_in_threadpool(make), media_type, f"{found.id}.{ending}")


@require(Role.VIEW)
async def compared(request: Request) -> Response:
    """Two samples side by side: `a` and `b`, each a device and a sample with a slash between."""
    mirror, query = services(request).mirror, request.query_params

    def ask() -> tuple[tuple[SampleState, ...], list[SampleState | None]]:
        pair = [mirror.sample(*parts) for which in "ab" if (parts := _parts(query.get(which, "")))]
        return mirror.search(), [*pair, None, None][:2]

    offered, (one, other) = await run_in_threadpool(ask)
    differences, results = [], None
    if one is not None and other is not None:
        results = await asyncio.gather(
            *(run_in_threadpool(mirror.differential, each.device, each.id) for each in (one, other))
        )
        by_class = {each.cell_class: each for each in compare(*results)}
        differences = [by_class[name] for name in ordered(list(by_class))]
    return render(
        request,
        "compare.html",
        page="samples",
        offered=offered,
        one=one,
        other=other,
        results=results,
        differences=differences,
    )


def _found(request: Request, limit: int) -> tuple[dict[str, str], tuple[SampleState, ...]]:
    """What is asked for, and at most `limit` samples that answer to it.

    The days `since` and `until` are those of whoever asks, who is `zone` minutes ahead of UTC.
    """
    asked = {name: request.query_params.get(name, "").strip()[:128] for name in (*FIELDS, "zone")}
    wanted = {name: asked[name] for name in FIELDS}
    first, last = _instant(asked["since"], asked["zone"]), _instant(asked["until"], asked["zone"], days=1)
    if first is not None:
        wanted["since"] = utc_text(first)
    if last is not None:
        # The mirror knows the last day by its name only: what began later on that day is left out here.
        wanted["until"] = f"{last:%Y-%m-%d}"
    found = services(request).mirror.search(**wanted, limit=limit)
    return asked, tuple(each for each in found if last is None or each.started_at < last)


def _instant(day: str, zone: str, *, days: int = 0) -> datetime | None:
    """When a day begins somewhere, so many days later; None for what is no day."""
    try:
        minutes = int(zone or "0")
        begins = datetime.fromisoformat(day[:10]).replace(tzinfo=UTC)
        if abs(minutes) > FARTHEST_ZONE:
            minutes = 0
        return begins + timedelta(days=days, minutes=-minutes)
    except (ValueError, OverflowError):
        return None


def _done(entry: AuditEntry) -> Done:
    """An entry of the trail in the words of the page."""
    cell, what = "", ""
    match entry.action:
        case "sample/start":
            what = t("samples.did_start", detail=entry.detail)
        case "sample/target":
            what = t("samples.did_target")
        case "sample/finish":
            what = t("samples.did_finish")
        case "sample/sign":
            what = t("samples.did_sign", detail=entry.detail)
        case _:
            cell, _, said = entry.detail.removeprefix("cell ").partition(": ")
            known = table()["common"]
            taken_back = said == "review withdrawn"
            reading = known.get(said, said)
            what = t("samples.did_withdraw") if taken_back else t("samples.did_review", reading=reading)
    return Done(entry.at, entry.author, what, cell)


def _pair(query: Mapping[str, Any], persons: tuple[str, ...]) -> tuple[str | None, str | None] | None:
    """The two readers that a query names, else the first two persons, else the device and the one person."""
    known = {_reader_value(each): each for each in (None, *persons)}
    wanted = [query.get("one", ""), query.get("other", "")]
    if all(each in known for each in wanted) and wanted[0] != wanted[1]:
        return known[wanted[0]], known[wanted[1]]
    if not persons:
        return None
    return (persons[0], persons[1]) if len(persons) > 1 else (None, persons[0])


def _reader_value(name: str | None) -> str:
    return DEVICE if name is None else f"by:{name}"


def _parts(text: str) -> tuple[str, str] | None:
    device, slash, name = text.partition("/")
    return (device, name) if slash else None


def _file(data: bytes, media_type: str, name: str) -> Response:
    # Names of samples are letters, digits, dots and hyphens: nothing in them needs quoting.
    return Response(
        data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


routes = [
    Route("/samples", samples, name="samples"),
    Route("/samples.csv", listed, name="samples_csv"),
    Route("/compare", compared, name="compare"),
    Route("/samples/{device}/{sample}", sample, name="sample"),
    Route("/samples/{device}/{sample}/report/{form}", report, name="report"),
    *cells.routes,
]
