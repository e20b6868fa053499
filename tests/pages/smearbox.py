"""A device that reads pictures of real cells from a folder, with as many flagged ones as a review needs."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import WAIT_S, until
from PIL import Image
from stand import Stand

import edge
from dashboard.mirror import Mirror
from edge import config
from edge.assembly import make_reader, make_source
from edge.daemon import Daemon
from edge.inference.bundle import Bundle
from edge.store import Store

SAMPLES = Path(edge.__file__).parent / "samples"
TURNS = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180)


@dataclass
class Box:
    """What runs besides the stand.

    Attributes:
        daemon: the device.
        folder: where it looks for pictures.
        database: of the device.
    """

    daemon: Daemon
    folder: Path
    database: Path
    name: str

    def sampled(self, stand: Stand, sample: str, *, turns: int = 2, kinds: str = "*") -> Mirror:
        """Have a sample started, and all pictures read for it; returns the mirror, which has all of it."""
        mirror = stand.server.services.mirror
        tell(stand, self.name, "sample/start", sample=sample, operator="Rita")
        pictures = sorted(SAMPLES.glob(f"acevedo{kinds}/*.jpg"))
        before = {path.name for path in self.folder.iterdir()}
        for turn, path in itertools.product(TURNS[:turns], pictures):
            name = f"{sample}-{TURNS.index(turn)}-{path.name}"
            if name not in before:
                picture = Image.open(path)
                scratch = self.folder.parent / name
                (picture if turn is None else picture.transpose(turn)).save(scratch, quality=95)
                scratch.rename(self.folder / name)
        wanted = turns * len(pictures)
        while (here := mirror.count(self.name, sample)) < wanted:
            until(lambda here=here: mirror.count(self.name, sample) > here, f"another than {here} was read")  # type: ignore[misc]
        until(lambda: not mirror.missing(self.name), "all of it arrived")
        return mirror

    def standing(self, cell: str) -> str | None:
        """What the device itself has as a person's reading of a cell."""
        with Store(self.database, shared=True) as store:
            found = store.cell(cell)
            assert found is not None
            return found.reviewed

    def said(self, sample: str) -> list[tuple[str, str | None, str]]:
        """The reviews as the device has them: cell, reading, operator."""
        with Store(self.database, shared=True) as store:
            return [(each.cell, each.reading, each.operator) for each in store.reviews(sample)]


def tell(stand: Stand, device: str, command: str, **payload: object) -> None:
    """Have the device do something, through the dashboard's link, and see that it does."""
    link = stand.server.services.link
    answer = in_loop(stand, link.command(device, command, payload, timeout_s=WAIT_S))
    assert answer.ok, answer


def in_loop(stand: Stand, work: Coroutine[Any, Any, Any]) -> Any:
    """Wait for something in the dashboard's event loop."""
    loop = stand.server.services.link._loop
    assert loop is not None
    return asyncio.run_coroutine_threadsafe(work, loop).result(2 * WAIT_S)


@contextmanager
def running_box(stand: Stand, name: str = "bench-1") -> Iterator[Box]:
    """A daemon on an empty folder, in a thread."""
    folder = stand.folder / name / "pictures"
    folder.mkdir(parents=True)
    settings = config.Settings(
        source=config.FolderSettings(kind="folder", path=folder),
        device=config.Device(name=name),
        mqtt=config.Mqtt(host=stand.broker.host, port=stand.broker.port),
        store=config.Store(path=stand.folder / name / "device.sqlite"),
    )
    bundle = Bundle.load(settings.model.name)
    store = Store(settings.store.path)
    daemon = Daemon(
        settings,
        store=store,
        source=make_source(settings.source, store),
        reader=make_reader(settings, bundle),
        bundle=bundle,
    )
    thread = threading.Thread(target=daemon.run, name=f"device {name}")
    thread.start()
    try:
        mirror = stand.server.services.mirror

        def state() -> str:
            found = mirror.device(name)
            return found.status.state if found and found.status else ""

        until(lambda: state() == "online", "the device is online, and listens to commands")
        yield Box(daemon, folder, settings.store.path, name)
    finally:
        daemon.stop()
        thread.join(WAIT_S)
