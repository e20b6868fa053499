"""Pictures that a visitor drops in: the page, and how they get to the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import edge
from dashboard.auth.users import Role
from dashboard.pages import upload_models, upload_read
from dashboard.pages.base import json_body, operator, render, require, services
from dashboard.pages.upload_read import AT, job_of
from dashboard.strings import t
from dashboard.upload.job import Job
from dashboard.upload.rows import DEFAULT_THRESHOLD, THRESHOLDS
from edge.errors import InputError

SAMPLES: Final = {"cells": "acevedo", "fields": "bccd", "others": "acevedo_other"}
"""Pictures that come with the program, by what the page calls them."""

LONGEST_BODY: Final = 16_384
"""Bytes of a request that is no file."""

_VIEWS: Final = ("auto", "cell", "field")


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
    uploads, said = services(request).uploads, await json_body(request, LONGEST_BODY)
    view, scale = said.get("view", "auto"), said.get("um_per_pixel")
    if view not in _VIEWS:
        raise HTTPException(400, t("common.malformed"))
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
    return JSONResponse(_described(job_of(request)))


@require(Role.VIEW)
async def files(request: Request) -> Response:
    """Files, as `dashboard.upload.intake` takes them apart."""
    job = job_of(request)
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
    job, said = job_of(request), await json_body(request, LONGEST_BODY)
    address = said.get("address")
    if not isinstance(address, str) or not 8 <= len(address) <= 2000 or not address.isprintable():
        raise HTTPException(400, t("upload.no_address"))
    await job.fetch(address.strip())
    return JSONResponse({})


@require(Role.VIEW)
async def samples(request: Request) -> Response:
    """Pictures that come with the program."""
    job, said = job_of(request), await json_body(request, LONGEST_BODY)
    folder = SAMPLES.get(str(said.get("set")))
    if folder is None:
        raise HTTPException(400, t("common.malformed"))
    job.add_own(Path(edge.__file__).parent / "samples" / folder)
    return JSONResponse({})


@require(Role.VIEW)
async def end(request: Request) -> Response:
    """Nothing more comes."""
    job_of(request).end()
    return JSONResponse({})


@require(Role.VIEW)
async def stop(request: Request) -> Response:
    """Read no more."""
    await job_of(request).stop()
    return JSONResponse({})


@require(Role.VIEW)
async def remove(request: Request) -> Response:
    """Forget the upload and its files."""
    await services(request).uploads.remove(job_of(request))
    return JSONResponse({})


def _described(job: Job) -> dict[str, Any]:
    return {"key": job.key, "model": job.model.fields(), "view": job.view, **job.progress()}


routes = [
    Route("/upload", page, name="upload"),
    Route("/upload/of/{key}", page, name="upload_of"),
    Route("/upload/jobs", create, methods=["POST"], name="upload_create"),
    Route("/upload/jobs", mine, methods=["GET"], name="upload_mine"),
    Route(AT, describe, methods=["GET"], name="upload_describe"),
    Route(AT, remove, methods=["DELETE"], name="upload_remove"),
    Route(f"{AT}/files", files, methods=["POST"], name="upload_files"),
    Route(f"{AT}/address", fetch, methods=["POST"], name="upload_fetch"),
    Route(f"{AT}/samples", samples, methods=["POST"], name="upload_samples"),
    Route(f"{AT}/end", end, methods=["POST"], name="upload_end"),
    Route(f"{AT}/stop", stop, methods=["POST"], name="upload_stop"),
    *upload_read.routes,
    *upload_models.routes,
]
