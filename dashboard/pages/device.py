"""What is asked of a device from the live page: start a sample, and what its camera sees."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.auth.users import Role
from dashboard.pages.acts import LARGEST, give, text, who
from dashboard.pages.base import DataResponse, json_body, require, services


@require(Role.REVIEW)
async def start(request: Request) -> Response:
    """Begin a sample: `sample`, `target`, `request`, `operator`."""
    said = await json_body(request, LARGEST)
    await _known(request)
    command: dict[str, Any] = {"sample": text(said, "sample"), "operator": who(request, said)}
    if said.get("target") is not None:
        command["target"] = said["target"]
    return await give(request, "sample/start", command, said)


@require(Role.VIEW)
async def field(request: Request) -> Response:
    """What the camera sees now, with the cells found in it: `view`, or `problem` where there is none."""
    device = await _known(request)
    found = await services(request).fields.now(device)
    return DataResponse({"problem": found} if isinstance(found, str) else {"view": found})


async def _known(request: Request) -> str:
    """The device that the address names.

    Raises:
        HTTPException: there is none of that name; a topic must not be made of whatever an address holds.
    """
    device = await run_in_threadpool(services(request).mirror.device, request.path_params["device"])
    if device is None:
        raise HTTPException(404)
    return device.name


routes = [
    Route("/act/{device}/start", start, methods=["POST"], name="start_sample"),
    Route("/data/devices/{device}/field", field, name="field"),
]
