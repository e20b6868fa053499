"""One visit's pictures: taken in, read as they come, kept for a while."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, Literal

from dashboard.upload.careful import Careful
from dashboard.upload.found import Found, label_of
from dashboard.upload.intake import Slice
from dashboard.upload.limits import UploadLimits
from dashboard.upload.models import Model
from dashboard.upload.reader import AT_ONCE, ReaderDied, Readers
from dashboard.upload.rows import Picture, Row
from dashboard.upload.taking import House, Taking
from edge.datasets.labels import Labels
from edge.errors import BundleError, InputError
from edge.records import View

State = Literal["open", "reading", "done", "stopped", "failed"]
"""open: more may come; reading: all came; the rest is over."""

MOST_VIEWS: Final = 200
"""Whole pictures that are kept as JPEGs to look at; those looked at longest ago make room."""


class Job:
    """What one visitor brought at one time, and what was read of it. For one event loop.

    Args:
        key: names it in addresses; not to be guessed.
        owner: who may see it.
        model: reads it.
        folder: for its files; removed with it.
        limits: what it may hold.
        house: what it shares with all others.
        view: how pictures are to be taken.
        um_per_pixel: the calibrated scale, or None to read it off the red cells.

    Attributes:
        pictures: by number.
        rows: the cells of each picture that was read, by its number.
        finished: numbers of the pictures that were read or refused, in that order.
        labels: what a person said of the pictures; None where nobody did.
        labels_version: counts how often labels came.
        state: see `State`.
        problem: why it failed, as a sentence.
        seconds: from its first picture to its last answer.
    """

    def __init__(
        self,
        key: str,
        owner: str,
        model: Model,
        folder: Path,
        limits: UploadLimits,
        house: House,
        *,
        view: View = "auto",
        um_per_pixel: float | None = None,
    ) -> None:
        self.key, self.owner, self.model = key, owner, model
        self.view, self.um_per_pixel = view, um_per_pixel
        self.pictures: list[Picture] = []
        self.rows: dict[int, tuple[Row, ...]] = {}
        self.finished: list[int] = []
        self.labels: Labels | None = None
        self.labels_version = 0
        self.state: State = "open"
        self.problem = ""
        self.seconds = 0.0
        self.used_at = time.monotonic()
        self._limits = limits
        self._folder = folder
        self._taking = Taking(folder / "in", limits, self, house)
        self._queue: asyncio.Queue[Picture] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._taking_in = 0
        self._began = 0.0
        self._cells = 0
        self._views: dict[int, Path] = {}
        self._changed = asyncio.Event()

    # -- taking in ---------------------------------------------------------------------------------------

    def begin(self, readers: Readers) -> None:
        """Make its folders, and read what comes."""
        for name in ("in", "cells", "views"):
            (self._folder / name).mkdir(parents=True, mode=0o700)
        self._reading = asyncio.create_task(self._read_all(readers))

    async def take(self, stream: AsyncIterator[bytes]) -> int:
        """Take in what one request carries, see `Taking.request`."""
        with self._intake():
            return await self._taking.request(stream)

    async def fetch(self, address: str) -> None:
        """Take in what an address answers with, see `Taking.address`."""
        with self._intake():
            await self._taking.address(address)

    def add_own(self, folder: Path) -> None:
        """Take in pictures that came with the program, with their labels where there are some."""
        with self._intake():
            for path in sorted(folder.glob("*.jpg")):
                self.add(path.name, Slice.whole(path))
            if (folder / "labels.csv").is_file():
                self.label(Labels.read(folder / "labels.csv"))

    def add(self, name: str, where: Slice) -> None:
        """A picture came."""
        picture = Picture(len(self.pictures), name, where)
        self.pictures.append(picture)
        self._queue.put_nowait(picture)

    def refuse(self, name: str, why: str) -> None:
        """Note a picture that never came to be read, with the reason."""
        picture = Picture(len(self.pictures), name, None, error=why)
        self.pictures.append(picture)
        self._finish(picture)

    @property
    def count(self) -> int:
        """Pictures that came, or that never came to be read."""
        return len(self.pictures)

    @property
    def bytes(self) -> int:
        """Of its pictures."""
        return self._taking.bytes

    @property
    def wanted(self) -> bool:
        """Whether more may come."""
        return self.state == "open"

    def end(self) -> None:
        """Nothing more comes."""
        if self.state == "open":
            self.state = "reading"
            self._changed.set()

    def label(self, labels: Labels) -> None:
        """Set pictures beside what a person said of them."""
        self.labels = labels
        self.labels_version += 1

    @contextlib.contextmanager
    def _intake(self) -> Iterator[None]:
        if self.state != "open":
            raise InputError("This upload is closed: begin a new one")
        self._taking_in += 1
        self._began = self._began or time.monotonic()
        try:
            yield
        finally:
            self._taking_in -= 1
            self.used_at = time.monotonic()
            self._changed.set()

    # -- reading -----------------------------------------------------------------------------------------

    async def _read_all(self, readers: Readers) -> None:
        try:
            async with readers.reader(self.model.directory) as reader, asyncio.TaskGroup() as group:
                await reader.warm()
                careful = Careful(reader)
                hands = [group.create_task(self._hand(careful)) for _ in range(AT_ONCE)]
                while self.state == "open" or self._taking_in:
                    await self._changed.wait()
                    self._changed.clear()
                await self._queue.join()
                for hand in hands:
                    hand.cancel()
            self._over("done")
        except* (BundleError, ReaderDied) as errors:
            first = errors.exceptions[0]
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self.problem = str(first)
        finally:
            self._over("failed")

    async def _hand(self, reader: Careful) -> None:
        """Have one picture after another read."""
        while True:
            picture = await self._queue.get()
            await self._read(reader, picture)
            self._queue.task_done()

    async def _read(self, reader: Careful, picture: Picture) -> None:
        if self._cells >= self._limits.cells:
            picture.error = f"{self._limits.cells:,} cells are the limit of one upload, and are reached"
            self._finish(picture)
            return
        into = self._folder / "cells"
        try:
            said = await reader.ask(do="read", into=str(into), **self._what(picture))
        except InputError as error:
            picture.error = str(error)
        else:
            rows = tuple(Row.of(picture.number, cell, into) for cell in said["cells"])
            self.rows[picture.number] = rows
            self._cells += len(rows)
            picture.size, picture.ms, picture.cells = tuple(said["size"]), said["ms"], len(rows)
        self._finish(picture)

    def _what(self, picture: Picture) -> dict[str, object]:
        return {
            "bytes": [str(part) if isinstance(part, Path) else part for part in picture.bytes or ()],
            "name": picture.name,
            "number": picture.number,
            "view": self.view,
            "um_per_pixel": self.um_per_pixel,
        }

    def _finish(self, picture: Picture) -> None:
        self.finished.append(picture.number)
        self.seconds = time.monotonic() - self._began
        self.used_at = time.monotonic()

    def _over(self, state: State) -> None:
        if self.state in ("open", "reading"):
            self.state = state

    # -- looking -----------------------------------------------------------------------------------------

    def progress(self) -> dict[str, object]:
        """How far it is."""
        return {
            "state": self.state,
            "received": len(self.pictures),
            "read": len(self.finished),
            "cells": self._cells,
            "skipped": self._taking.skipped,
            "seconds": round(self.seconds, 2),
            "labels": self.labels_version,
            "problem": self.problem,
        }

    def since(self, index: int, most: int) -> list[dict[str, object]]:
        """What the browser is told of the pictures that were finished from `index` on, `most` at once."""
        return [
            {
                **self.pictures[number].fields(),
                "label": self.label_of(number),
                "rows": [row.fields() for row in self.rows.get(number, ())],
            }
            for number in self.finished[index : index + most]
        ]

    def label_of(self, number: int) -> str | None:
        """What a person said of a picture, see `found.label_of`."""
        return label_of(self.labels, self.pictures[number].name, self.model.classes)

    def found(self) -> Found:
        """What was read until now."""
        over = self.state not in ("open", "reading")
        return Found(self.model, tuple(self.pictures), dict(self.rows), self.labels, over)

    def row(self, number: int, cell: int) -> Row | None:
        """A cell; None where there is none."""
        rows = self.rows.get(number, ())
        return rows[cell] if 0 <= cell < len(rows) else None

    async def saliency(self, readers: Readers, row: Row) -> dict[str, Any]:
        """Where the model looked: `rows`, `columns`, and `values` from 0 to 255, row by row.

        Raises:
            InputError: the picture cannot be read any more.
        """
        async with readers.reader(self.model.directory) as reader:
            asked = self._what(self.pictures[row.picture])
            reply: dict[str, Any] = await reader.ask(do="explain", cell=row.cell, **asked)
            return reply

    async def view_of(self, readers: Readers, number: int) -> Path:
        """A picture as a JPEG of our own making, whatever bytes came.

        Raises:
            InputError: it cannot be read.
        """
        picture = self.pictures[number]
        path = self._folder / "views" / f"{number}.jpg"
        if picture.size is None:
            raise InputError(f"{picture.name} was not read")
        if number not in self._views:
            async with readers.reader(self.model.directory) as reader:
                await reader.ask(do="view", into=str(path), **self._what(picture))
        self._views[number] = self._views.pop(number, path)
        while len(self._views) > MOST_VIEWS:  # they are not counted as the visitor's bytes, and made again
            self._views.pop(next(iter(self._views))).unlink(missing_ok=True)
        return path

    async def over(self, wait_s: float) -> None:
        """Wait until it is over, but not longer than so many seconds."""
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=wait_s)

    # -- ending ------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Read no more; what was read stays."""
        if self._reading is not None and not self._reading.done():
            self.state = "stopped"
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def remove(self) -> None:
        """Forget everything."""
        await self.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
