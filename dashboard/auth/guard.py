"""What every request passes: who it is, whether another site sent it, and what browsers are told to refuse."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.auth.sessions import Sessions
from dashboard.auth.users import Role, User
from dashboard.settings import is_loopback

EVERYBODY = User("", Role.ADMINISTER)
"""Whoever sits at this machine, where no sign-in is asked for."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
BY_ITSELF = "x-leukoscope-refresh"
"""A header on what a page asks for without anybody having done something."""


def cookie_name(request: Request) -> str:
    """With HTTPS a name that browsers take from this host and over HTTPS only."""
    return "__Host-leukoscope" if request.url.scheme == "https" else "leukoscope"


class Guard:
    """Wraps the whole application.

    `request.state.user` is who asks, or None.

    Args:
        app: the application.
        sessions: the sign-ins; None: no sign-in is asked for, and only names of this machine are answered to.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions | None) -> None:
        self._app, self._sessions = app, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            # There are no web sockets here, and what concerns nobody's request passes.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await PlainTextResponse(refusal, 403)(scope, receive, send_guarded)
            return
        scope.setdefault("state", {})["user"] = await self._user(request)
        await self._app(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> str | None:
        """Why a request is not listened to at all; None where it is."""
        host = request.headers.get("host", "")
        if self._sessions is None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            # A name of another's that was made to point here would let their pages in.
            return "Without sign-in this is answered under the names of this machine alone: 127.0.0.1, localhost."
        if request.method in SAFE:
            return None
        site = request.headers.get("sec-fetch-site")
        own = f"{request.url.scheme}://{host}".lower()
        # Which browsers do not say over plain HTTP; the origin they do.
        same = request.headers.get("origin", "").lower() == own if site is None else site == "same-origin"
        return None if same else "This was not sent by a page of this dashboard."

    async def _user(self, request: Request) -> User | None:
        if self._sessions is None:
            return EVERYBODY
        token = request.cookies.get(cookie_name(request))
        own = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if not token or own.startswith("/static/"):
            return None
        active = BY_ITSELF not in request.headers and not request.url.path.endswith("/events")
        return await run_in_threadpool(self._sessions.user, token, active=active)
