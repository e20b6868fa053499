"""Bytes that come in, however they come → a job's pictures, within its limits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from dashboard.upload import addresses
from dashboard.upload.intake import Parcels, Slice, Spool, Unpacked
from dashboard.upload.limits import UploadLimits
from edge.errors import InputError, InputTooLarge
from edge.pictures.inputs import ZIP_MAGIC

_AT_ONCE: Final = 16  # pictures unpacked before the event loop hears of them


class Taker(Protocol):
    """Who gets the pictures."""

    def add(self, name: str, where: Slice) -> None:
        """A picture came."""

    def refuse(self, name: str, why: str) -> None:
        """One did not, and why."""

    @property
    def count(self) -> int:
        """How many came or did not."""

    @property
    def wanted(self) -> bool:
        """Whether more are wanted."""


class Taking:
    """Writes what comes to a folder, and tells of each picture. For one event loop.

    Args:
        folder: for the files.
        limits: what may come.
        taker: is told.

    Attributes:
        bytes: that came and are kept.
        skipped: files passed over in archives because their name is not a picture's.
    """

    def __init__(self, folder: Path, limits: UploadLimits, taker: Taker) -> None:
        self.bytes = 0
        self.skipped = 0
        self._limits = limits
        self._taker = taker
        self._files = (folder / f"{number:06d}" for number in itertools.count())
        self._taken: set[int] = set()

    async def request(self, stream: AsyncIterator[bytes]) -> int:
        """Take in what one request carries, see `intake`.

        Returns:
            How many files.

        Raises:
            InputError: the request is malformed, or a limit is reached; what came before it is kept.
        """
        count = 0
        parcels = Parcels(stream, self._limits.file_bytes)
        with contextlib.closing(Spool(next(self._files))) as spool:
            while parcel := await parcels.next():
                self._room(parcel.size)
                where, archive = await parcels.write(parcel, spool, self._files)
                self.bytes += where.size
                if parcel.index in self._taken:  # sent again, as the answer to the first time was lost
                    continue
                self._taken.add(parcel.index)
                await self._came(parcel.name, where, archive)
                count += 1
        return count

    async def address(self, address: str) -> None:
        """Take in what an address answers with; if that is nothing, it is a picture that could not be read.

        Raises:
            InputTooLarge: no more may come.
        """
        self._room(0)
        try:
            data = await asyncio.to_thread(
                addresses.fetched,
                address,
                largest=min(self._limits.file_bytes, self._limits.job_bytes - self.bytes),
                private=self._limits.private_addresses,
            )
        except InputError as error:
            self._taker.refuse(address, str(error))
            return
        with contextlib.closing(Spool(next(self._files))) as spool:
            where = spool.put(data)
        self.bytes += where.size
        await self._came(address, where, data.startswith(ZIP_MAGIC))

    def _room(self, size: int) -> None:
        if self._taker.count >= self._limits.files:
            raise InputTooLarge(
                f"{self._limits.files:,} pictures are the limit of one upload: begin another one for the rest"
            )
        if self.bytes + size > self._limits.job_bytes:
            raise InputTooLarge(
                f"{self._limits.job_bytes // 10**6:,} MB are the limit of one upload: begin another one for the rest"
            )

    async def _came(self, name: str, where: Slice, archive: bool) -> None:
        if archive:
            await self._unpack(where, name)
        else:
            self._taker.add(name, where)

    async def _unpack(self, where: Slice, name: str) -> None:
        """Tell of an archive's pictures while it is being unpacked."""
        left = self._limits.job_bytes - self.bytes
        try:
            with contextlib.closing(Spool(next(self._files))) as spool:
                archive = await asyncio.to_thread(
                    Unpacked, where.path, name, spool, largest=self._limits.file_bytes, expanded=left
                )
                self.skipped += archive.skipped
                inner = iter(archive)
                while self._taker.wanted and (
                    some := await asyncio.to_thread(lambda: list(itertools.islice(inner, _AT_ONCE)))
                ):
                    for inside, content in some:
                        self._room(0)
                        if isinstance(content, InputError):
                            self._taker.refuse(inside, str(content))
                        else:
                            self.bytes += content.size
                            self._taker.add(inside, content)
        except InputError as error:
            self._taker.refuse(name, str(error))
        finally:
            self.bytes -= where.size
            where.path.unlink(missing_ok=True)
