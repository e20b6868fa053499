"""Bytes that come in, however they come → a job's pictures, within its limits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, Protocol

from dashboard.upload import addresses
from dashboard.upload.intake import Parcels, Slice, Spool, Unpacked
from dashboard.upload.limits import UploadLimits
from edge.errors import InputError, InputTooLarge
from edge.pictures.inputs import ZIP_MAGIC

_AT_ONCE: Final = 16  # pictures unpacked before the event loop hears of them
_BYTES_AT_ONCE: Final = 16 * 10**6  # after which it hears of fewer


class House(Protocol):
    """What all uploads share."""

    @property
    def fetching(self) -> asyncio.Semaphore:
        """Let through so many fetches at one time: each has a whole file in memory."""

    def room(self, size: int) -> None:
        """See whether so many bytes more may come.

        Raises:
            InputTooLarge: they may not.
        """


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
        house: what all uploads share.

    Attributes:
        bytes: that came and are kept, with those that are on their way.
        skipped: files passed over in archives because their name is not a picture's.
    """

    def __init__(self, folder: Path, limits: UploadLimits, taker: Taker, house: House) -> None:
        self.bytes = 0
        self.skipped = 0
        self._limits = limits
        self._taker = taker
        self._house = house
        self._fetching, self._unpacking = asyncio.Lock(), asyncio.Lock()
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
                self._claim(parcel.size)
                try:
                    where, archive = await parcels.write(parcel, spool, self._files)
                except BaseException:
                    self.bytes -= parcel.size
                    raise
                if parcel.index in self._taken:  # sent again, as the answer to the first time was lost
                    self._drop(where, None if archive else spool)
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
        async with self._fetching, self._house.fetching:
            self._claim(0)
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
            self._claim(len(data))
            with contextlib.closing(Spool(next(self._files))) as spool:
                where = spool.put(data)
        await self._came(address, where, data.startswith(ZIP_MAGIC))

    def _claim(self, size: int) -> None:
        """Count bytes before they come: requests side by side share one limit.

        Raises:
            InputTooLarge: there is no room for them.
        """
        if self._taker.count >= self._limits.files:
            raise InputTooLarge(
                f"{self._limits.files:,} pictures are the limit of one upload: begin another one for the rest"
            )
        if self.bytes + size > self._limits.job_bytes:
            raise InputTooLarge(
                f"{self._limits.job_bytes // 10**6:,} MB are the limit of one upload: begin another one for the rest"
            )
        self._house.room(size)
        self.bytes += size

    def _drop(self, where: Slice, spool: Spool | None) -> None:
        """Give a file's room back: the last of a spool, or one by itself."""
        self.bytes -= where.size
        if spool is None:
            where.path.unlink(missing_ok=True)
        else:
            spool.drop()

    async def _came(self, name: str, where: Slice, archive: bool) -> None:
        if archive:
            await self._unpack(where, name)
        else:
            self._taker.add(name, where)

    async def _unpack(self, where: Slice, name: str) -> None:
        """Tell of an archive's pictures while it is being unpacked."""
        try:
            # One at a time: each may take all the room that is left.
            async with self._unpacking:
                left = self._limits.job_bytes - self.bytes
                with contextlib.closing(Spool(next(self._files))) as spool:
                    archive = await asyncio.to_thread(
                        Unpacked, where.path, name, spool, largest=self._limits.file_bytes, expanded=left
                    )
                    self.skipped += archive.skipped
                    inner = iter(archive)
                    while self._taker.wanted and (some := await asyncio.to_thread(_some, inner)):
                        for inside, content in some:
                            if isinstance(content, InputError):
                                self._claim(0)
                                self._taker.refuse(inside, str(content))
                            else:
                                self._claim(content.size)
                                self._taker.add(inside, content)
        except InputError as error:
            self._taker.refuse(name, str(error))
        finally:
            self._drop(where, None)


def _some(inner: Iterator[tuple[str, Slice | InputError]]) -> list[tuple[str, Slice | InputError]]:
    """The next pictures of an archive; none after the last."""
    some: list[tuple[str, Slice | InputError]] = []
    size = 0
    for name, content in inner:
        some.append((name, content))
        size += content.size if isinstance(content, Slice) else 0
        if len(some) == _AT_ONCE or size >= _BYTES_AT_ONCE:
            break
    return some
