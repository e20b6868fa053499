"""What is asked of an upload: what was read of it so far, its figures, one cell, and all of them as a file."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dashboard.auth.users import Role
from dashboard.hub import Hub
from dashboard.pages.base import operator, received, require, services
from dashboard.strings import t
from dashboard.upload import export
from dashboard.upload.job import Job
from dashboard.upload.jobs import Uploads
from dashboard.upload.rows import DEFAULT_THRESHOLD, THRESHOLDS, Row
from dashboard.upload.summary import summary
from edge.datasets.labels import Labels
from edge.errors import DataError, InputError
from edge.text import printable

AT: Final = "/upload/jobs/{key}"
"""An upload's address."""

PACE_S: Final = 0.2
PING_S: Final = 15.0
AT_ONCE: Final = 250
"""Pictures that one event tells of."""

LARGEST_LABELS: Final = 8_000_000
"""Bytes of a list of labels."""

_OVER: Final = ("done", "stopped", "failed")


@require(Role.VIEW)
async def labels(request: Request) -> Response:
    """A CSV of file names and classes as the body; its name as `name` of the address, for what is said of it."""
    job = job_of(request)
    data = await received(request, LARGEST_LABELS, t("upload.labels_too_large"))
    name = printable(Path(request.query_params.get("name", "")).name)[:200] or "labels.csv"
    job.label(await run_in_threadpool(_read_labels, data, name))
    return JSONResponse({"labels": {str(p.number): job.label_of(p.number) for p in job.pictures}})


@require(Role.VIEW)
async def events(request: Request) -> Response:
    """How far it is and what was read, as Server-Sent Events, from where the browser has it."""
    job = job_of(request)
    known = request.headers.get("last-event-id", "")
    stream = _events(job, services(request).hub, int(known) if known.isdecimal() else 0)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@require(Role.VIEW)
async def figures(request: Request) -> Response:
    """Tallies with limits, and the comparison with labels, at a threshold."""
    job, threshold = job_of(request), _threshold(request)
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
    job, number = job_of(request), request.path_params["number"]
    if number >= len(job.pictures):
        raise HTTPException(404)
    path = await job.view_of(services(request).uploads.readers, number)
    return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@require(Role.VIEW)
async def download(request: Request) -> Response:
    """The cells as a file."""
    found, threshold = job_of(request).found(), _threshold(request)
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


def job_of(request: Request) -> Job:
    """The upload that an address names.

    Raises:
        HTTPException: it is gone, or another user's.
    """
    uploads: Uploads = services(request).uploads
    try:
        return uploads.get(request.path_params["key"], operator(request))
    except InputError as error:
        raise HTTPException(410, str(error)) from error


def _cell(request: Request) -> tuple[Job, Row]:
    job = job_of(request)
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


def _read_labels(data: bytes, name: str) -> Labels:
    """The labels of a CSV.

    Raises:
        DataError: it is none; the sentence calls it as whoever chose it does.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes(data)
        try:
            return Labels.read(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), name)) from error


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


routes = [
    Route(f"{AT}/labels", labels, methods=["POST"], name="upload_labels"),
    Route(f"{AT}/events", events, name="upload_events"),
    Route(f"{AT}/figures", figures, name="upload_figures"),
    Route(f"{AT}/cells/{{number:int}}/{{cell:int}}.jpg", thumbnail, name="upload_thumbnail"),
    Route(f"{AT}/cells/{{number:int}}/{{cell:int}}/saliency", saliency, name="upload_saliency"),
    Route(f"{AT}/pictures/{{number:int}}.jpg", picture, name="upload_picture"),
    Route(f"{AT}/download.{{kind}}", download, name="upload_download"),
]
