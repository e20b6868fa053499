"""What tests of uploads share: requests as the page sends them, and uploads that end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from helpers import WAIT_S

import edge
from dashboard.upload.job import Job
from dashboard.upload.jobs import Uploads
from dashboard.upload.limits import UploadLimits
from edge.records import View

SAMPLES = Path(edge.__file__).parent / "samples"
CELLS = sorted((SAMPLES / "acevedo").glob("*.jpg"))


def framed(files: Iterable[tuple[str, bytes]], first: int = 0) -> bytes:
    """A request's body, as `static/upload/send.js` makes it."""
    parts = []
    for index, (name, data) in enumerate(files, first):
        head = json.dumps({"name": name, "size": len(data), "index": index}).encode()
        parts.append(len(head).to_bytes(4) + head + data)
    return b"".join(parts)


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@asynccontextmanager
async def running(folder: Path, **limits: object) -> AsyncIterator[Uploads]:
    uploads = Uploads(folder / "uploads", UploadLimits.model_validate(limits))
    await uploads.open()
    try:
        yield uploads
    finally:
        await uploads.close()


async def begun(uploads: Uploads, owner: str = "", model: str = "cnn-int8", view: View = "cell") -> Job:
    return await uploads.create(owner, uploads.shelf.get(model), view=view, um_per_pixel=None)


async def over(job: Job) -> None:
    """Wait until an upload is over; what never ends ends with the test's own limit."""
    async with asyncio.timeout(4 * WAIT_S):
        while job.state in ("open", "reading"):
            await job.over(1)


async def read(uploads: Uploads, files: Iterable[tuple[str, bytes]]) -> Job:
    """Upload files, and wait until they are read."""
    job = await begun(uploads)
    await job.take(pieces(framed(files)))
    job.end()
    await over(job)
    return job
