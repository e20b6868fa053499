"""Sign in, sign out, and the first user."""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.auth.guard import cookie_name
from dashboard.auth.users import LONGEST_NAME, SHORTEST, Role, User, UserError, as_kept
from dashboard.pages.base import path_for, received, render, services, user
from dashboard.settings import is_loopback
from dashboard.strings import t

log = logging.getLogger(__name__)

LARGEST_FORM = 8192
"""Bytes."""


async def sign_in(request: Request) -> Response:
    """The form, and what it sends."""
    here = services(request)
    if here.sessions is None or user(request) is not None:
        return _onward(request)
    if not await run_in_threadpool(here.users.all):
        if _may_set_up(request):
            return RedirectResponse(path_for(request, "set_up"), 303)
        return _form(request, t("account.no_users"), 503)
    if request.method == "GET":
        return _form(request)
    form = await _fields(request)
    name, password = form.get("name", ""), form.get("password", "")
    address = request.client.host if request.client else ""
    keys = f"name {as_kept(name)[:LONGEST_NAME]}", f"address {address}"
    wait_s = here.attempts.begin(*keys)
    if wait_s > 0:
        return _form(request, t("account.too_many", seconds=int(wait_s) + 1), 429, name=name)
    somebody = await run_in_threadpool(here.users.check, name, password)
    if somebody is None:
        log.warning("a wrong password for %s from %s", name[:LONGEST_NAME], address)
        return _form(request, t("account.wrong"), 401, name=name)
    here.attempts.succeeded(*keys)
    log.info("%s signed in from %s", somebody.name, address)
    return await _signed_in(request, somebody)


async def sign_out(request: Request) -> Response:
    """End the sign-in of this browser."""
    here = services(request)
    response = RedirectResponse(path_for(request, "sign_in"), 303)
    token = request.cookies.get(cookie_name(request))
    if here.sessions is not None and token:
        await run_in_threadpool(here.sessions.end, token)
    response.delete_cookie(cookie_name(request), secure=request.url.scheme == "https", httponly=True)
    return response


async def set_up(request: Request) -> Response:
    """The first user, made at this machine."""
    here = services(request)
    somebody_there = bool(await run_in_threadpool(here.users.all))
    if here.sessions is None or somebody_there or not _may_set_up(request):
        return RedirectResponse(path_for(request, "sign_in"), 303)
    problem = ""
    if request.method == "POST":
        form = await _fields(request)
        try:
            if form.get("password") != form.get("again"):
                raise UserError(t("account.not_the_same"))
            somebody = await run_in_threadpool(
                here.users.add, form.get("name", ""), Role.ADMINISTER, form.get("password", "")
            )
            return await _signed_in(request, somebody)
        except UserError as error:
            problem = str(error)
    return render(request, "set_up.html", problem=problem, shortest=SHORTEST)


def _may_set_up(request: Request) -> bool:
    """Somebody at this machine asks, not through a proxy."""
    server = services(request).settings.server
    direct = not server.trusted_proxies and not server.root_path and "x-forwarded-for" not in request.headers
    return server.loopback and direct and is_loopback(request.url.hostname or "")


async def _signed_in(request: Request, somebody: User) -> Response:
    sessions = services(request).sessions
    assert sessions is not None
    token = await run_in_threadpool(sessions.begin, somebody)
    response = _onward(request)
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=int(sessions.longest_s),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def _onward(request: Request) -> Response:
    """To the page that was asked for, as far as it is one of ours."""
    wanted = request.query_params.get("next", "/")
    # A second slash or a backslash would lead to another host.
    own = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return RedirectResponse(request.scope.get("root_path", "") + (wanted if own else "/"), 303)


async def _fields(request: Request) -> dict[str, str]:
    """A form's fields; whoever sends them need not have signed in, so it is read no further than a form goes.

    Raises:
        HTTPException: it is longer.
    """
    text = await received(request, LARGEST_FORM, t("account.too_much"))
    return dict(parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True, encoding="utf-8"))


def _form(request: Request, problem: str = "", status: int = 200, *, name: str = "") -> Response:
    response = render(request, "sign_in.html", problem=problem, name=name)
    response.status_code = status
    return response


routes = [
    Route("/sign-in", sign_in, methods=["GET", "POST"], name="sign_in"),
    Route("/sign-out", sign_out, methods=["POST"], name="sign_out"),
    Route("/set-up", set_up, methods=["GET", "POST"], name="set_up"),
]
