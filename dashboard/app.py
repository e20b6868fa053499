"""The application: services put together, routes gathered, and what happens at its start and end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dashboard.auth import users
from dashboard.auth.guard import Guard
from dashboard.auth.limit import Attempts
from dashboard.auth.sessions import Sessions
from dashboard.auth.users import Users
from dashboard.fields import Fields
from dashboard.gaps import Gaps
from dashboard.hub import Hub
from dashboard.likeness import Likeness
from dashboard.link import CommandError, Link
from dashboard.mirror import Mirror
from dashboard.pages import account, device, live, review, samples, upload
from dashboard.pages.base import refuse
from dashboard.services import Services
from dashboard.settings import Settings, check
from dashboard.strings import t
from dashboard.upload.jobs import Uploads
from edge.errors import LeukoscopeError, StoreError

MIRROR = "mirror.sqlite"


def create_app(settings: Settings) -> Starlette:
    """The dashboard as an ASGI application.

    Raises:
        ConfigError: the settings do not go together, or a certificate or password cannot be read.
        StoreError: the folder for its data cannot be written.
    """
    check(settings)
    services = make_services(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with services.mirror:
            services.hub.open()
            services.link.open()
            asking = asyncio.create_task(Gaps(services.mirror, services.link).run())
            await services.uploads.open()
            try:
                yield
            finally:
                asking.cancel()
                services.hub.close()
                services.link.close()
                await services.uploads.close()

    application = Starlette(
        routes=[
            *live.routes,
            *device.routes,
            *review.routes,
            *samples.routes,
            *upload.routes,
            *account.routes,
            Mount("/static", _Static(directory=Path(__file__).parent / "static"), name="static"),
        ],
        middleware=[Middleware(Guard, sessions=services.sessions)],
        exception_handlers={
            HTTPException: _http_error,
            LeukoscopeError: _own_error,
            CommandError: _own_error,
        },
        lifespan=lifespan,
    )
    application.state.services = services
    return application


def make_services(settings: Settings) -> Services:
    """What the pages work with; nothing is open yet."""
    folder = settings.data.folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"[data] folder {folder}: {error.strerror or error}") from error
    hub = Hub()
    mirror = Mirror(
        folder / MIRROR, prefix=settings.mqtt.prefix, pictures_kept=settings.data.pictures_mb * 10**6
    )
    with mirror:  # what is wrong with it is said here, and not by a server that has begun
        pass
    sessions = Sessions(
        folder / users.FILE,
        idle_s=60 * settings.sign_in.idle_minutes,
        longest_s=3600 * settings.sign_in.hours,
    )
    link = Link(settings.mqtt, sink=mirror, hub=hub, folder=folder)
    return Services(
        settings=settings,
        mirror=mirror,
        link=link,
        fields=Fields(link),
        hub=hub,
        users=Users(folder / users.FILE),
        sessions=sessions if settings.sign_in.required else None,
        attempts=Attempts(),
        uploads=Uploads(folder / "uploads", settings.upload),
        likeness=Likeness(mirror),
    )


class _Static(StaticFiles):
    """Files of the program: asked for again each time, but not sent again while they are as they were."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """A file."""
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refuse(
        request, error.status_code, t("common.not_found") if error.status_code == 404 else error.detail
    )


async def _own_error(request: Request, error: Exception) -> Response:
    return refuse(request, 504 if isinstance(error, CommandError) else 409, str(error))
