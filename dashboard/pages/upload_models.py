"""The models that a visitor may choose, and those that an administrator brings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.auth.users import Role
from dashboard.pages.base import require, services
from dashboard.strings import t
from edge.text import printable

LARGEST: Final = 300_000_000
"""Bytes of an uploaded model's file."""


@require(Role.VIEW)
async def models(request: Request) -> Response:
    """Every model that there is."""
    return JSONResponse({"models": [model.fields() for model in services(request).uploads.shelf.all()]})


@require(Role.ADMINISTER)
async def add(request: Request) -> Response:
    """A model's file as the body; the rest as `name`, `classes` and `scaling` of the address."""
    asked = request.query_params
    name = printable(Path(asked.get("name", "").replace("\\", "/")).name)[-200:] or "model"
    classes = tuple(part.strip() for part in asked.get("classes", "")[:2000].split(",") if part.strip())
    handle, path = tempfile.mkstemp(prefix="leukoscope-model-")
    try:
        with os.fdopen(handle, "wb") as file:
            size = 0
            async for part in request.stream():
                size += len(part)
                if size > LARGEST:
                    raise HTTPException(413, t("upload.model_too_large"))
                file.write(part)
        added = await services(request).uploads.shelf.add(Path(path), name, classes, asked.get("scaling", ""))
    finally:
        Path(path).unlink(missing_ok=True)
    return JSONResponse(added.fields())


@require(Role.ADMINISTER)
async def remove(request: Request) -> Response:
    """Take an uploaded model away."""
    await services(request).uploads.remove_model(request.path_params["key"])
    return JSONResponse({})


routes = [
    Route("/upload/models", models, methods=["GET"], name="upload_models_models"),
    Route("/upload/models", add, methods=["POST"], name="upload_models_add"),
    Route("/upload/models/{key}", remove, methods=["DELETE"], name="upload_models_remove"),
]
