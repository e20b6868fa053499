"""A whole stand for tests of the dashboard: a real broker, a real device on a virtual slide, the real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from helpers import WAIT_S, until

from dashboard import settings as told
from dashboard.auth.users import FILE, Role, Users
from dashboard.server import Server, running
from edge import config
from edge.assembly import make_reader
from edge.daemon import Daemon
from edge.inference.bundle import Bundle
from edge.mqtt.broker import PrivateBroker
from edge.records import Frame
from edge.sources.base import SourceEnded
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide
from edge.store import Store
from edge.witness import Unending

PASSWORD = "correct horse battery"
PEOPLE = {"Vera": Role.VIEW, "Rita": Role.REVIEW, "Ada": Role.ADMINISTER}
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)


class Slide(VirtualSlide):
    """A slide that notes when it has been shown wholly, and can be made to wait.

    Attributes:
        goes_on: while it is not set, no field is shown.
        shown: how many fields were.
        ended: there are no more.
    """

    def __init__(self, settings: SlideSettings) -> None:
        super().__init__(settings)
        self.goes_on, self.ended = threading.Event(), threading.Event()
        self.goes_on.set()
        self.shown = 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next field."""
        if not self.goes_on.wait(timeout_s):
            return None
        try:
            frame = super().read(timeout_s)
        except SourceEnded:
            self.ended.set()
            raise
        self.shown += frame is not None
        return frame


@dataclass
class Stand:
    """What runs.

    Attributes:
        broker: Mosquitto, for itself.
        server: the dashboard.
        folder: for all of it; the device's database is `device.sqlite`.
        device: the device's name.
        daemon: the device; None where there is none.
        slide: what the device looks at; None where it is none.
    """

    broker: PrivateBroker
    server: Server
    folder: Path
    device: str
    daemon: Daemon | None = None
    slide: Slide | None = None

    @property
    def address(self) -> str:
        """Of the dashboard, with a slash at its end."""
        return self.server.address


@contextmanager
def running_server(settings: told.Settings, *, people: bool = True) -> Iterator[Server]:
    """The dashboard on a free port, with users, in a thread."""
    with running(settings) as server:
        if people:
            users = Users(settings.data.folder / FILE, QUICK_HASHER)
            known = {user.name for user in users.all()}
            for name, role in PEOPLE.items():
                if name not in known:
                    users.add(name, role, PASSWORD)
        yield server


@contextmanager
def running_device(
    broker: PrivateBroker,
    folder: Path,
    *,
    name: str = "bench-1",
    cells: int = 40,
    interval_s: float = 0.1,
    waits: bool = False,
) -> Iterator[tuple[Daemon, Slide]]:
    """A daemon on a virtual slide, in a thread; it stays on the broker when the slide is read.

    `waits`: no field is shown before the test lets the slide go on.
    """
    settings = config.Settings(
        source=config.VirtualSlideSettings(kind="virtual_slide", cells=cells, interval_s=interval_s),
        device=config.Device(name=name),
        mqtt=config.Mqtt(host=broker.host, port=broker.port),
        store=config.Store(path=folder / "device.sqlite"),
    )
    bundle = Bundle.load(settings.model.name)
    slide = Slide(SlideSettings(seed=1, cells=cells, interval_s=interval_s))
    if waits:
        slide.goes_on.clear()
    daemon = Daemon(
        settings,
        store=Store(settings.store.path),
        source=Unending(slide),
        reader=make_reader(settings, bundle),
        bundle=bundle,
    )
    thread = threading.Thread(target=daemon.run, name="device")
    thread.start()
    try:
        yield daemon, slide
    finally:
        slide.goes_on.set()
        daemon.stop()
        thread.join(WAIT_S)


def dashboard_settings(broker: PrivateBroker, folder: Path, *, sign_in: bool = False) -> told.Settings:
    """Of a dashboard on a free port, with its data in `folder`; without sign-in unless asked for."""
    return told.Settings(
        server=told.Server(port=0),
        sign_in=told.SignIn(required=sign_in),
        data=told.Data(folder=folder / "dashboard"),
        mqtt=config.Mqtt(host=broker.host, port=broker.port),
    )


@contextmanager
def running_stand(
    folder: Path,
    *,
    sign_in: bool = False,
    people: bool = True,
    device: bool = True,
    cells: int = 40,
    interval_s: float = 0.1,
    waits: bool = False,
) -> Iterator[Stand]:
    """Broker, dashboard and, if wanted, a device, all of them real."""
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker())
        settings = dashboard_settings(broker, folder, sign_in=sign_in)
        server = stack.enter_context(running_server(settings, people=people))
        until(lambda: server.services.link.state.connected, "the dashboard is connected to the broker")
        stand = Stand(broker, server, folder, "bench-1")
        if device:
            stand.daemon, stand.slide = stack.enter_context(
                running_device(broker, folder, cells=cells, interval_s=interval_s, waits=waits)
            )
        yield stand
