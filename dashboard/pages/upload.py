"""Pictures that a visitor drops in: the page, and what its script asks for."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import edge
from dashboard.auth.users import Role
from dashboard.hub import Hub
from dashboard.pages import upload_models
from dashboard.pages.base import operator, render, require, services
from dashboard.strings import t
from dashboard.upload import export
from dashboard.upload.job import Job
from dashboard.upload.jobs import Uploads
from dashboard.upload.rows import DEFAULT_THRESHOLD, THRESHOLDS, Row
from dashboard.upload.summary import summary
from edge.datasets.labels import Labels
from edge.errors import InputError

SAMPLES: Final = {"cells": "acevedo", "fields": "bccd", "others": "acevedo_other"}
"""Pictures that come with the program, by what the page calls them."""

PACE_S: Final = 0.2
PING_S: Final = 15.0
AT_ONCE: Final = 250
"""Pictures that one event tells of."""

LONGEST_BODY: Final = 16_384
LARGEST_LABELS: Final = 8_000_000

_VIEWS: Final = ("auto", "cell", "field")
_OVER: Final = ("done", "stopped", "failed")


@require(Role.VIEW)
async def page(request: Request) -> Response:
    """The page: to begin an upload, or with one that is there."""
    uploads = services(request).uploads
    key = request.path_params.get("key", "")
    uploads.warm_soon()
    facts = {
        "job": key,
        "files": uploads.limits.files,
        "fileBytes": uploads.limits.file_bytes,
        "lowest": THRESHOLDS[0],
        "highest": THRESHOLDS[1],
        "threshold": DEFAULT_THRESHOLD,
    }
    return render(request, "upload.html", strings=["upload"], page="upload", facts=json.dumps(facts))


@require(Role.VIEW)
async def create(request: Request) -> Response:
    """Begin an upload."""
    uploads, said = services(request).uploads, await _body(request)
    view, scale = said.get("view", "auto"), said.get("um_per_pixel")
    if view not in _VIEWS:
        raise HTTPException(400, t("upload.malformed"))
    if scale is not None and not (isinstance(scale, int | float) and 0.005 <= scale <= 5):
        raise HTTPException(400, t("upload.scale_range"))
    job = await uploads.create(
        operator(request), uploads.shelf.get(str(said.get("model", ""))), view=view, um_per_pixel=scale
    )
    return JSONResponse(_described(job))


@require(Role.VIEW)
async def mine(request: Request) -> Response:
    """The user's uploads that are still there."""
    found = services(request).uploads.of(operator(request))
    return JSONResponse(
        {"jobs": [{"key": job.key, "model": job.model.name, **job.progress()} for job in found]}
    )


@require(Role.VIEW)
async def describe(request: Request) -> Response:
    """What an upload is read with, and how far it is."""
    return JSONResponse(_described(_job(request)))


@require(Role.VIEW)
async def files(request: Request) -> Response:
    """Files, as `dashboard.upload.intake` takes them apart."""
    job = _job(request)
    length = request.headers.get("content-length", "")
    services(request).uploads.room(int(length) if length.isdecimal() else 0)
    stream = request.stream()
    try:
        return JSONResponse({"files": await job.take(stream)})
    except InputError as error:
        if length.isdecimal() and int(length) <= job.bytes + 64_000_000:
            # A browser that is still sending would see a broken connection, not the reason.
            async for _ in stream:
                pass
        return JSONResponse({"error": str(error)}, 413)


@require(Role.VIEW)
async def fetch(request: Request) -> Response:
    """A picture or ZIP at an address."""
    job, said = _job(request), await _body(request)
    address = said.get("address")
    if not isinstance(address, str) or not 8 <= len(address) <= 2000 or not address.isprintable():
        raise HTTPException(400, t("upload.no_address"))
    await job.fetch(address.strip())
    return JSONResponse({})


@require(Role.VIEW)
async def samples(request: Request) -> Response:
    """Pictures that come with the program."""
    job, said = _job(request), await _body(request)
    folder = SAMPLES.get(str(said.get("set")))
    if folder is None:
        raise HTTPException(400, t("upload.malformed"))
    job.add_own(Path(edge.__file__).parent / "samples" / folder)
    return JSONResponse({})


@require(Role.VIEW)
async def end(request: Request) -> Response:
    """Nothing more comes."""
    _job(request).end()
    return JSONResponse({})


@require(Role.VIEW)
async def stop(request: Request) -> Response:
    """Read no more."""
    await _job(request).stop()
    return JSONResponse({})


@require(Role.VIEW)
async def remove(request: Request) -> Response:
    """Forget the upload and its files."""
    await services(request).uploads.remove(_job(request))
    return JSONResponse({})


@require(Role.VIEW)
async def labels(request: Request) -> Response:
    """A CSV of file names and classes."""
    job = _job(request)
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LARGEST_LABELS:
            raise HTTPException(413, t("upload.labels_too_large"))
    job.label(await run_in_threadpool(_read_labels, bytes(data)))
    return JSONResponse({"labels": {str(p.number): job.label_of(p.number) for p in job.pictures}})


@require(Role.VIEW)
async def events(request: Request) -> Response:
    """How far it is and what was read, as Server-Sent Events, from where the browser has it."""
    job = _job(request)
    known = request.headers.get("last-event-id", "")
    stream = _events(job, services(request).hub, int(known) if known.isdecimal() else 0)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@require(Role.VIEW)
async def figures(request: Request) -> Response:
    """Tallies with limits, and the comparison with labels, at a threshold."""
    job, threshold = _job(request), _threshold(request)
    return JSONResponse(await run_in_threadpool(summary, job.found(), threshold))


@require(Role.VIEW)
async def thumbnail(request: Request) -> Response:
    """A cell as a JPEG."""
    _, row = _cell(request)
    # What stands at this address never changes; only this browser may keep it.
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(row.portrait.read(), media_type="image/jpeg", headers=headers)


@require(Role.VIEW)
async def saliency(request: Request) -> Response:
    """Where the model looked."""
    job, row = _cell(request)
    return JSONResponse(await job.saliency(services(request).uploads.readers, row))


@require(Role.VIEW)
async def picture(request: Request) -> Response:
    """A whole picture as a JPEG of our own making."""
    job, number = _job(request), request.path_params["number"]
    if number >= len(job.pictures):
        raise HTTPException(404)
    path = await job.view_of(services(request).uploads.readers, number)
    return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@require(Role.VIEW)
async def download(request: Request) -> Response:
    """The cells as a file."""
    found, threshold = _job(request).found(), _threshold(request)
    kind = request.path_params["kind"]
    content: str | bytes
    if kind == "csv":
        content, media = await run_in_threadpool(export.as_csv, found, threshold), "text/csv; charset=utf-8"
    elif kind == "json":
        content, media = await run_in_threadpool(export.as_json, found, threshold), "application/json"
    elif kind == "pdf":
        now = datetime.now(UTC)
        content, media = await run_in_threadpool(export.as_pdf, found, threshold, now), "application/pdf"
    else:
        raise HTTPException(404)
    name = f"leukoscope-upload-{datetime.now(UTC):%Y%m%d-%H%M%S}.{kind}"
    return Response(
        content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _described(job: Job) -> dict[str, Any]:
    return {"key": job.key, "model": job.model.fields(), "view": job.view, **job.progress()}


def _job(request: Request) -> Job:
    uploads: Uploads = services(request).uploads
    try:
        return uploads.get(request.path_params["key"], operator(request))
    except InputError as error:
        raise HTTPException(410, str(error)) from error


def _cell(request: Request) -> tuple[Job, Row]:
    job = _job(request)
    row = job.row(request.path_params["number"], request.path_params["cell"])
    if row is None:
        raise HTTPException(404)
    return job, row


def _threshold(request: Request) -> float:
    try:
        value = float(request.query_params.get("threshold", DEFAULT_THRESHOLD))
    except ValueError:
        value = math.nan
    if not THRESHOLDS[0] <= value <= THRESHOLDS[1]:
        raise HTTPException(400, t("upload.threshold_range"))
    return value


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LONGEST_BODY:
            raise HTTPException(413, t("upload.malformed"))
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, t("upload.malformed")) from error
    if not isinstance(said, dict):
        raise HTTPException(400, t("upload.malformed"))
    return said


def _read_labels(data: bytes) -> Labels:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes(data)
        return Labels.read(path)


async def _events(job: Job, hub: Hub, index: int) -> AsyncIterator[str]:
    """A job's news, until it is over and all was told, or the server ends."""
    listener = hub.listen()
    told: dict[str, object] | None = None
    quiet_s = 0.0
    try:
        yield "retry: 1000\n\n"
        while not listener.closed:
            news, progress = job.since(index, AT_ONCE), job.progress()
            if news or progress != told:
                index, told, quiet_s = index + len(news), progress, 0.0
                data = json.dumps({"progress": progress, "pictures": news})
                yield f"id: {index}\nevent: step\ndata: {data}\n\n"
                if progress["state"] in _OVER:
                    continue
            elif progress["state"] in _OVER:
                yield "event: over\ndata: {}\n\n"
                return
            elif quiet_s >= PING_S:
                quiet_s = 0.0
                yield ": still here\n\n"
            if len(news) < AT_ONCE:
                quiet_s += PACE_S
                await job.over(PACE_S)
    except ClientDisconnect:
        return
    finally:
        hub.leave(listener)


_AT = "/upload/jobs/{key}"

routes = [
    Route("/upload", page, name="upload"),
    Route("/upload/of/{key}", page, name="upload_of"),
    Route("/upload/jobs", create, methods=["POST"], name="upload_create"),
    Route("/upload/jobs", mine, methods=["GET"], name="upload_mine"),
    Route(_AT, describe, methods=["GET"], name="upload_describe"),
    Route(_AT, remove, methods=["DELETE"], name="upload_remove"),
    Route(f"{_AT}/files", files, methods=["POST"], name="upload_files"),
    Route(f"{_AT}/address", fetch, methods=["POST"], name="upload_fetch"),
    Route(f"{_AT}/samples", samples, methods=["POST"], name="upload_samples"),
    Route(f"{_AT}/end", end, methods=["POST"], name="upload_end"),
    Route(f"{_AT}/stop", stop, methods=["POST"], name="upload_stop"),
    Route(f"{_AT}/labels", labels, methods=["POST"], name="upload_labels"),
    Route(f"{_AT}/events", events, name="upload_events"),
    Route(f"{_AT}/figures", figures, name="upload_figures"),
    Route(f"{_AT}/cells/{{number:int}}/{{cell:int}}.jpg", thumbnail, name="upload_thumbnail"),
    Route(f"{_AT}/cells/{{number:int}}/{{cell:int}}/saliency", saliency, name="upload_saliency"),
    Route(f"{_AT}/pictures/{{number:int}}.jpg", picture, name="upload_picture"),
    Route(f"{_AT}/download.{{kind}}", download, name="upload_download"),
    *upload_models.routes,
]
