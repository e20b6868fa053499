"""What people do with samples and cells: each act is a command to the device, which decides and keeps it.

Whoever is signed in is who acts. An act bears an id of the browser's making, so that a browser that saw no answer
asks again and the device does it once.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard.agreement import stands
from dashboard.auth.users import Role
from dashboard.pages.base import json_body, operator, require, services
from dashboard.strings import t

LARGEST: Final = 4096
"""Bytes of an act; what a device takes."""

TRIES: Final = 10
PAUSE_S: Final = 0.1
"""One's own decision may have been answered, and its message still be on its way."""

_ID: Final = re.compile(r"[A-Za-z0-9-]{8,64}")


@require(Role.REVIEW)
async def decide(request: Request) -> Response:
    """Decide a cell, or take one's own last decision back: `cell`, `class` or `undo`, `request`, `operator`."""
    said = await json_body(request, LARGEST)
    device, cell = request.path_params["device"], text(said, "cell")
    command: dict[str, Any] = {"cell": cell, "operator": who(request, said)}
    if said.get("undo") is True:
        other = await _decided_after(request, device, cell, command["operator"])
        if other is not None:
            name = other or t("review.somebody")
            return JSONResponse({"ok": False, "message": t("review.not_yours", operator=name)})
        command["undo"] = True
    else:
        command["class"] = text(said, "class")
    return await give(request, "review", command, said)


@require(Role.REVIEW)
async def finish(request: Request) -> Response:
    """Finish the open sample."""
    said = await json_body(request, LARGEST)
    command = {"sample": request.path_params["sample"], "operator": who(request, said)}
    return await give(request, "sample/finish", command, said)


@require(Role.REVIEW)
async def sign(request: Request) -> Response:
    """Sign a finished sample, or with `undo` withdraw the signature."""
    said = await json_body(request, LARGEST)
    command: dict[str, Any] = {"sample": request.path_params["sample"], "operator": who(request, said)}
    if not command["operator"]:
        return JSONResponse({"ok": False, "message": t("review.name_wanted")})
    if said.get("undo") is True:
        command["undo"] = True
    return await give(request, "sample/sign", command, said)


async def give(request: Request, name: str, command: dict[str, Any], said: dict[str, Any]) -> Response:
    """Have the device do it, and tell the browser what it answered.

    Raises:
        CommandError: no answer came; the browser asks again under the same id.
    """
    asked = text(said, "request")
    if not _ID.fullmatch(asked):
        raise HTTPException(400, "request is 8 to 64 letters, digits and hyphens")
    answer = await services(request).link.command(request.path_params["device"], name, command, request=asked)
    if not answer.ok and answer.code == "too_frequent":
        raise HTTPException(503, answer.message)
    return JSONResponse({"ok": answer.ok, "message": answer.message})


def who(request: Request, said: dict[str, Any]) -> str:
    """The name that an act bears: of who is signed in; where no sign-in is asked for, as it was typed."""
    name = operator(request)
    typed = said.get("operator")
    return name or (typed.strip()[:64] if isinstance(typed, str) else "")


def text(said: dict[str, Any], name: str) -> str:
    """A field that must be there.

    Raises:
        HTTPException: it is not, or is no text.
    """
    found = said.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= 128:
        raise HTTPException(400, f"{name} is missing, or no text of at most 128 characters")
    return found


async def _decided_after(request: Request, device: str, cell: str, me: str) -> str | None:
    """Who decided the cell last, where that was another: the device would take theirs back."""
    mirror = services(request).mirror
    for _ in range(TRIES):
        said = await run_in_threadpool(mirror.readings, device, cell)
        standing = [each for each in said if stands(each)]
        if not standing or standing[-1].operator == me:
            return None
        await asyncio.sleep(PAUSE_S)
    return standing[-1].operator


routes = [
    Route("/act/{device}/decide", decide, methods=["POST"], name="decide"),
    Route("/act/{device}/sample/{sample}/finish", finish, methods=["POST"], name="finish"),
    Route("/act/{device}/sample/{sample}/sign", sign, methods=["POST"], name="sign"),
]
