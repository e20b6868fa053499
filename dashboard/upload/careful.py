"""Asking a reader that may die over what it is asked: the guilty picture is found, and no other is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from dashboard.upload.reader import Reader, ReaderDied
from edge.errors import InputError

MOST_DEATHS: Final = 5
"""Pictures over which the reader may die before it is not the pictures that are at fault."""

log = logging.getLogger(__name__)


class Careful:
    """Asks a reader on behalf of one job, whose pictures are read several at a time.

    Args:
        reader: what is asked.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._alone = asyncio.Lock()
        self._calm = asyncio.Event()
        self._calm.set()
        self._again = 0
        self._deaths = 0

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Have a picture read; once more by itself where the reader died while it read several.

        Raises:
            InputError: the picture cannot be read, or makes the reader die.
            ReaderDied: it has died too often.
        """
        await self._calm.wait()
        try:
            return await self._reader.ask(**request)
        except ReaderDied:
            return await self._ask_alone(request)

    async def _ask_alone(self, request: dict[str, Any]) -> dict[str, Any]:
        self._calm.clear()
        self._again += 1
        try:
            async with self._alone:
                return await self._reader.ask(**request)
        except ReaderDied as error:
            self._deaths += 1
            if self._deaths > MOST_DEATHS:
                raise ReaderDied(f"Reading was given up, as it failed again and again: {error}") from error
            log.warning("Reading an uploaded picture failed: %s", error)
            raise InputError(
                f"{request['name']} cannot be read: it makes the reading process fail"
            ) from error
        finally:
            self._again -= 1
            if not self._again:
                self._calm.set()
