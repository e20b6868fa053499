"""Serves the application: with uvicorn, which also does TLS."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO

import uvicorn
from starlette.applications import Starlette

from dashboard.app import create_app
from dashboard.services import Services
from dashboard.settings import Settings
from edge.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

GRACE_S = 5
"""Requests that are being answered get so long when the server ends."""


def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: what the dashboard is told.
        announce: gets the address that browsers open, once it is served.

    Raises:
        ConfigError: the address cannot be listened on, or the settings do not go together.
        StoreError: the folder for its data cannot be used.
    """
    server = Server(settings, announce=announce)
    server.bind()
    server.run_bound()


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """The dashboard, served by a thread while the `with` block runs.

    Raises:
        ConfigError: as `serve`.
        StoreError: as `serve`.
    """
    server = Server(settings)
    server.bind()
    thread = threading.Thread(target=server.run_bound, name="dashboard")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield server
    finally:
        server.stop()
        thread.join()


class Server(uvicorn.Server):
    """The application on a socket; may run in a thread of its own.

    Args:
        settings: what the dashboard is told.
        announce: gets the address that browsers open, once it is served and signals end it cleanly.
    """

    def __init__(self, settings: Settings, *, announce: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self._announce = announce
        self.application: Starlette = create_app(settings)
        services = self.application.state.services
        assert isinstance(services, Services)
        self.services = services
        where = settings.server
        super().__init__(
            uvicorn.Config(
                self.application,
                host=where.host,
                port=where.port,
                root_path=where.root_path,
                ssl_certfile=where.certificate,
                ssl_keyfile=where.key,
                proxy_headers=bool(where.trusted_proxies),
                forwarded_allow_ips=list(where.trusted_proxies),
                server_header=False,
                access_log=False,
                log_config=None,
                lifespan="on",
                ws="none",
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._socket: socket.socket | None = None
        self._claim: IO[str] | None = None

    def bind(self) -> None:
        """Take the address, and the folder for the data.

        Raises:
            ConfigError: another program has the address, this machine has none such, or another dashboard has the
                folder.
        """
        folder = self.settings.data.folder
        try:
            self._claim = (folder / "lock").open("w")
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            assert self._claim is not None
            self._claim.close()
            raise ConfigError(
                f"[data] folder {folder}: another dashboard uses it; name one for each"
            ) from error
        except OSError as error:
            raise StoreError(f"[data] folder {folder}: {error.strerror or error}") from error
        host, port = self.settings.server.host.strip("[]"), self.settings.server.port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            self._claim.close()  # whoever tries another address claims the folder anew
            raise ConfigError(f"[server] {host}:{port}: {error.strerror or error}") from error

    @property
    def address(self) -> str:
        """What a browser on this machine opens."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if self.settings.server.certificate else "http"
        return f"{scheme}://{shown}:{port}{self.settings.server.root_path}/"

    def run_bound(self) -> None:
        """Serve, until told to stop."""
        assert self._socket is not None
        assert self._claim is not None
        with self._claim, self._socket:
            asyncio.run(self.serve(sockets=[self._socket]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say where."""
        await super().startup(sockets)
        if self.started:
            self._announce(self.address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the streams too, which would otherwise go on."""
        self.services.hub.close()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """End it, from another thread."""
        self.services.hub.close()
        self.should_exit = True
