"""What all pages have in common: templates, who may see them, and how they refuse."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboard.auth.guard import EVERYBODY
from dashboard.auth.users import Role, User
from dashboard.services import Services
from dashboard.strings import LANGUAGE, strings_of, t

Endpoint = Callable[[Request], Awaitable[Response]]

NAVIGATION = ("live", "review", "samples", "upload")
THEMES = ("auto", "light", "dark")
SIZES = ("normal", "large", "larger")
VIEW_COOKIE = "leukoscope-view"
"""`theme.size`, written by the page itself: the server shows the page right at once."""

_FOLDER = Path(__file__).parents[1]

_templates = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


class DataResponse(Response):
    """Records as JSON, for a page's script."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Write them."""
        return to_json(content)


def services(request: Request) -> Services:
    """What the pages work with."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


def user(request: Request) -> User | None:
    """Who asks; None where nobody is signed in."""
    found = request.state.user
    assert found is None or isinstance(found, User)
    return found


def operator(request: Request) -> str:
    """The name that reviews and signatures bear; empty where no sign-in is asked for."""
    somebody = user(request)
    return "" if somebody is None else somebody.name


def may(request: Request, role: Role) -> bool:
    """Whether the one who asks has that role."""
    somebody = user(request)
    return somebody is not None and somebody.role >= role


def require(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Only those with that role get to an endpoint; others are asked to sign in, or refused."""

    def wrap(endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            if may(request, role):
                return await endpoint(request)
            if user(request) is not None:
                return refuse(request, 403, t("common.not_allowed", role=t(f"common.role_{role.word}")))
            if wants_page(request):
                return RedirectResponse(sign_in_address(request), 303)
            return refuse(request, 401, t("common.session_ended"))

        return guarded

    return wrap


def wants_page(request: Request) -> bool:
    """A person opens an address, rather than a page asking for data."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def sign_in_address(request: Request) -> str:
    """Where to sign in, and come back from."""
    asked = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if request.url.query:
        asked += f"?{request.url.query}"
    return f"{request.url_for('sign_in').path}?next={quote(asked, safe='')}"


def refuse(request: Request, status: int, sentence: str) -> Response:
    """Say why something is not done: a page for a person, `{"error": …}` for a page's script."""
    if wants_page(request):
        response = render(request, "message.html", title=_title(status), sentence=sentence)
        response.status_code = status
        return response
    return JSONResponse({"error": sentence}, status)


def _title(status: int) -> str:
    """What happened, in two words."""
    named = {403: "not_allowed_title", 404: "not_found_title", 410: "gone_title", 413: "too_large_title"}
    return t(f"common.{named.get(status, 'refused')}")


def render(
    request: Request, template: str, *, strings: Iterable[str] = (), heard: str = "", **context: Any
) -> Response:
    """A page.

    Args:
        request: who asks.
        template: its file in `templates`.
        strings: whose strings the page's script needs, besides `common`.
        heard: `Hub.now` from before the context was made; without it, of now.
        context: what the template names.
    """
    theme, size = _view(request)
    somebody = user(request)
    text = _templates.get_template(template).render(
        request=request,
        t=t,
        language=LANGUAGE,
        user=somebody,
        anonymous=somebody is EVERYBODY,
        may_review=may(request, Role.REVIEW),
        may_administer=may(request, Role.ADMINISTER),
        theme=theme,
        size=size,
        themes=THEMES,
        sizes=SIZES,
        pages=[name for name in NAVIGATION if any(route.name == name for route in _named(request))],
        path_for=functools.partial(path_for, request),
        static=lambda name: path_for(request, "static", path=name),
        island=island(
            {
                "root": request.scope.get("root_path", ""),
                "strings": strings_of(["common", *strings]),
                "review": may(request, Role.REVIEW),
                "heard": heard or (services(request).hub.now if somebody else ""),
                "link": services(request).link.state._asdict() if somebody else None,
            }
        ),
        **context,
    )
    return HTMLResponse(text)


async def received(request: Request, most: int, problem: str) -> bytes:
    """A request's body, which is read no further than it may be long.

    Args:
        request: what brings it.
        most: bytes.
        problem: what is said of a longer one.

    Raises:
        HTTPException: it is longer.
    """
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise HTTPException(413, problem)
    return bytes(data)


async def json_body(request: Request, most: int) -> dict[str, Any]:
    """The JSON object that a request brings, of at most so many bytes.

    Raises:
        HTTPException: it brings something else, or more.
    """
    data = await received(request, most, t("common.body_too_large", most=most))
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, t("common.malformed")) from error
    if not isinstance(said, dict):
        raise HTTPException(400, t("common.malformed"))
    return said


def path_for(request: Request, name: str, **parts: Any) -> str:
    """The address of a route, without scheme and host, whatever a proxy shows."""
    return request.url_for(name, **parts).path


def _named(request: Request) -> list[Route]:
    return [route for route in request.app.routes if isinstance(route, Route)]


def island(value: Any) -> Markup:
    """JSON within a page, which no markup in it can end."""
    text = json.dumps(value, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _view(request: Request) -> tuple[str, str]:
    theme, _, size = request.cookies.get(VIEW_COOKIE, "").partition(".")
    return theme if theme in THEMES else THEMES[0], size if size in SIZES else SIZES[0]
