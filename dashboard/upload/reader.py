"""The server's end of a process that reads pictures: ask it, and outlive it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from pathlib import Path
from typing import Any, Final

from dashboard.upload import sandbox
from edge.errors import BundleError, InputError, LeukoscopeError
from edge.pictures.parallel import cores

START_S: Final = 60.0
"""How long a process may take until its model is loaded, on a busy small board too."""

AT_ONCE: Final = 8 * cores()
"""Requests given to a process at one time: it never waits, and what it has not begun does not count as its time."""

_LINE: Final = 16 * 2**20  # bytes of an answer: a picture with thousands of cells has a few

log = logging.getLogger(__name__)


class ReaderDied(LeukoscopeError):
    """The process ended, or had to be ended, before it answered."""


class Reader:
    """One process with one model; it starts when it is first asked, and again after its death.

    Args:
        directory: the model's folder.
        answer_s: an answer that takes longer ends the process.
    """

    def __init__(self, directory: Path, answer_s: float) -> None:
        self._directory = directory
        self._answer_s = answer_s
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()
        self._starting = asyncio.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.used_at = 0.0

    async def warm(self) -> None:
        """Start the process, so that the first picture need not wait for it.

        Raises:
            BundleError: the model cannot be used.
            ReaderDied: the process did not start.
        """
        self.used_at = asyncio.get_running_loop().time()
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await self._start()

    async def ask(self, **request: object) -> dict[str, Any]:
        """Have something done, in turn with all who ask.

        Raises:
            InputError: the picture cannot be read; the text says why.
            ReaderDied: the process died over this request or another one of the same moment.
        """
        async with self._turns:
            return await self._ask(request)

    async def _ask(self, request: dict[str, object]) -> dict[str, Any]:
        await self.warm()
        process, waiting = self._process, self._waiting
        assert process is not None and process.stdin is not None
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        waiting[number] = answer
        try:
            process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
            await process.stdin.drain()
            # Not `wait_for`, which before Python 3.12 forgets that it was cancelled where the answer just came.
            async with asyncio.timeout(self._answer_s):
                reply = await answer
        except TimeoutError as error:
            self._kill(process)
            if self._process is process:
                self._process = None  # it may take a moment to be gone, and must not be asked meanwhile
            raise ReaderDied(f"no answer within {self._answer_s:.0f} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ReaderDied("the reading process ended") from error
        finally:
            waiting.pop(number, None)
        if "error" in reply:
            raise InputError(reply["error"])
        return reply

    async def close(self) -> None:
        """End the process."""
        if (process := self._process) is not None:
            assert process.stdin is not None
            self._kill(process)
            await process.wait()
            process.stdin.close()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.wait_closed()
        if self._listening is not None:
            await self._listening

    async def _start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *sandbox.command("dashboard.upload.worker", str(self._directory)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=sandbox.environment(),
            limit=_LINE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                first = await process.stdout.readline()
        except BaseException as error:
            self._kill(process)
            await process.communicate()  # nobody listens to it: its pipes are closed here
            if isinstance(error, TimeoutError):
                raise ReaderDied(f"the reading process did not start within {START_S:.0f} s") from error
            raise
        if not first:
            await process.wait()
            raise ReaderDied(f"the reading process ended at once, with status {process.returncode}")
        said = json.loads(first)
        if "fatal" in said:
            await process.wait()
            raise BundleError(said["fatal"])
        self._process, self._waiting = process, {}
        self._listening = asyncio.create_task(self._listen(process, self._waiting))

    async def _listen(
        self, process: asyncio.subprocess.Process, waiting: dict[int, asyncio.Future[dict[str, Any]]]
    ) -> None:
        """Hand answers to those who wait for them; at the end of the process, the news of it."""
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                reply = json.loads(line)
                answer = waiting.get(reply.pop("id"))
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        except ValueError as error:  # a line that is none, or longer than any answer
            log.warning("The reading process answered with something else than an answer: %s", error)
            self._kill(process)
        await process.wait()
        if self._process is process:
            self._process = None
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(ReaderDied(f"the reading process ended, status {process.returncode}"))

    @staticmethod
    def _kill(process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


class Readers:
    """A reader for each model in use, the longest unused of too many ended.

    Args:
        answer_s: see `Reader`.
        most: processes at one time, unless more are in use at once.
    """

    def __init__(self, answer_s: float, most: int = 2) -> None:
        self._answer_s = answer_s
        self._most = most
        self._readers: dict[Path, Reader] = {}
        self._users: dict[Path, int] = {}

    @contextlib.asynccontextmanager
    async def reader(self, directory: Path) -> Any:
        """A model's reader, which stays as long as the block runs."""
        if directory not in self._readers:
            await self._make_room()
        # Another may have come for the same model meanwhile: a second process would be nobody's to end.
        reader = self._readers.setdefault(directory, Reader(directory, self._answer_s))
        self._users[directory] = self._users.get(directory, 0) + 1
        try:
            yield reader
        finally:
            self._users[directory] -= 1
            if not self._users[directory]:
                del self._users[directory]

    async def forget(self, directory: Path) -> None:
        """End a model's process, because the model goes."""
        reader = self._readers.pop(directory, None)
        if reader is not None:
            await reader.close()

    async def rest(self, unused_s: float) -> None:
        """End processes that nobody needed for so long: each holds a model and its libraries in memory."""
        now = asyncio.get_running_loop().time()
        for path, reader in tuple(self._readers.items()):
            if not self._users.get(path) and now - reader.used_at > unused_s:
                await self.forget(path)

    async def close(self) -> None:
        """End all processes."""
        for directory in tuple(self._readers):
            await self.forget(directory)

    async def _make_room(self) -> None:
        idle = sorted(
            (path for path in self._readers if not self._users.get(path)),
            key=lambda path: self._readers[path].used_at,
        )
        while len(self._readers) >= self._most and idle:
            await self.forget(idle.pop(0))
