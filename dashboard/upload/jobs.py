"""All visitors' uploads: who has which, how many there may be, and when they are forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

from dashboard.upload.job import Job
from dashboard.upload.limits import UploadLimits
from dashboard.upload.models import Model, Shelf
from dashboard.upload.reader import Readers
from edge.errors import InputError, InputTooLarge, LeukoscopeError
from edge.inference.bundle import DEFAULT_MODEL
from edge.records import View

FETCHES: Final = 2
"""Addresses that are fetched at one time: each has a whole file in memory, and a thread that others want too."""
SWEEP_S: Final = 30.0
READER_S: Final = 600.0
"""A process that read nothing for so long is ended; the next visitor's starts anew."""

log = logging.getLogger(__name__)


class Uploads:
    """Everything about uploads that outlives a request. For one event loop.

    Args:
        folder: for files of jobs, emptied at the start; uploaded models stay in it.
        limits: what is allowed.

    Attributes:
        fetching: lets through so many fetches at one time.
    """

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self.limits = limits
        self.shelf = Shelf(folder / "models", limits.models)
        self.readers = Readers(limits.answer_s)
        self.fetching = asyncio.Semaphore(FETCHES)
        self._folder = folder / "jobs"
        self._jobs: dict[str, Job] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Clear away what an earlier run left, and begin to forget what is old."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)
        await asyncio.to_thread(self.shelf.open)
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End all jobs and processes, and remove what was uploaded but for models."""
        for task in (self._sweeping, self._warming):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for job in tuple(self._jobs.values()):
            await self._forget(job)
        await self.readers.close()

    def warm_soon(self) -> None:
        """Start the default model's process for a visitor who is about to need it."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self.warm())

    async def warm(self, key: str = DEFAULT_MODEL) -> None:
        """Start a model's process; what is wrong with it shows when it is used."""
        with contextlib.suppress(LeukoscopeError):
            async with self.readers.reader(self.shelf.get(key).directory) as reader:
                await reader.warm()

    async def create(self, owner: str, model: Model, *, view: View, um_per_pixel: float | None) -> Job:
        """Begin an upload.

        Raises:
            InputTooLarge: there are too many, or too much, already.
        """
        await self._make_room(owner)
        key = secrets.token_urlsafe(16)
        job = Job(
            key, owner, model, self._folder / key, self.limits, self, view=view, um_per_pixel=um_per_pixel
        )
        job.begin(self.readers)
        self._jobs[key] = job
        return job

    def get(self, key: str, owner: str) -> Job:
        """A user's upload; another's is as if there were none.

        Raises:
            InputError: there is none.
        """
        job = self._jobs.get(key)
        if job is None or job.owner != owner:
            raise InputError("This upload is not here any more: what is uploaded is kept for a while only")
        job.used_at = time.monotonic()
        return job

    def of(self, owner: str) -> tuple[Job, ...]:
        """A user's uploads, the latest first."""
        return tuple(job for job in reversed(self._jobs.values()) if job.owner == owner)

    async def remove(self, job: Job) -> None:
        """Forget an upload."""
        await self._forget(job)

    async def remove_model(self, key: str) -> None:
        """Take an uploaded model away, and what was read with it.

        Raises:
            BundleError: there is none of that key, or it is the zoo's.
        """
        directory = self.shelf.remove(key)
        for job in tuple(self._jobs.values()):
            if job.model.directory == directory:
                await self._forget(job)
        await self.readers.forget(directory)

    def room(self, size: int) -> None:
        """See whether so many bytes more may come.

        Raises:
            InputTooLarge: they may not.
        """
        if sum(job.bytes for job in self._jobs.values()) + size > self.limits.all_bytes:
            raise InputTooLarge("There is no room for more uploads now: remove one, or try again later")

    async def _make_room(self, owner: str) -> None:
        while len(own := self.of(owner)) >= self.limits.jobs_a_user:
            idle = [job for job in own if job.state not in ("open", "reading")]
            if not idle:
                raise InputTooLarge(
                    f"{len(own)} of your uploads are still being read: wait for one, or stop one"
                )
            await self._forget(min(idle, key=lambda job: job.used_at))
        self.room(0)
        if len(self._jobs) >= self.limits.jobs:
            raise InputTooLarge("Too many uploads are kept for others now: try again later")

    async def _forget(self, job: Job) -> None:
        self._jobs.pop(job.key, None)
        await job.remove()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.readers.rest(READER_S)
            oldest = time.monotonic() - 60 * self.limits.keep_minutes
            for job in tuple(self._jobs.values()):
                if job.used_at < oldest:
                    log.info("An upload that nobody looked at is forgotten")
                    await self._forget(job)
