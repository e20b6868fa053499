"""Work on items by several processes at once, answers in order, memory bounded.

Reading a picture is some hundred short calls of OpenCV and NumPy. Each lets go of Python's lock and takes it
again, and threads that wait for it at every call spend a third of their time on that. A copy of this process
(`fork`) has a lock of its own, starts within milliseconds and shares the memory of what was loaded before.

A process with several threads cannot safely be copied: what another thread has locked stays locked in the copy. Then,
and where there is no `fork`, threads do the work (`edge.pictures.parallel`).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import pickle
import select
import signal
import struct
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from edge.errors import LeukoscopeError
from edge.pictures import parallel
from edge.pictures.parallel import AHEAD

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_DEEP: Final = 2
"""Items that lie ready for a process: one to work on, one that spares it waiting for the next."""

_PIPE_BYTES: Final = 2**15
"""What a pipe takes at once though nobody reads it, well within Linux's 64 KiB."""

_LENGTH: Final = struct.Struct("=Q")


def in_order(
    items: Iterable[Item], make_work: Callable[[], Callable[[Item], Answer]], processes: int
) -> Iterator[Answer]:
    """Give the answer for each item, in the items' order.

    Items and answers are pickled, and so is what is raised; what is logged reaches this process's handlers. The
    items are taken by the caller's thread, at most `AHEAD` for each process before their turn.

    Args:
        items: the source.
        make_work: called once in each process, for work that owns a tool.
        processes: how many to use; no more are started than there are items, and none for one item.

    Raises:
        LeukoscopeError: a process was ended from outside.
        Exception: whatever the work or its making raised, in its item's place.
    """
    source = iter(items)
    ahead = AHEAD * processes
    first = list(itertools.islice(source, ahead))
    known = len(first)
    source = itertools.chain(first, source)
    del first  # items may be large, and are let go as they are sent
    if processes < 2 or known < 2 or not _may_fork():
        yield from parallel.in_order(source, make_work, processes)
        return
    with contextlib.closing(_Team(make_work, min(processes, known))) as team:
        given = 0
        for item in source:
            team.take(item)
            if team.taken - given > ahead:
                yield team.answer(given)
                given += 1
        while given < team.taken:
            yield team.answer(given)
            given += 1


def _may_fork() -> bool:
    """Whether this process has no thread but this one, those of libraries counted."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


class _Member:
    """A process at work, seen from the one that gives it its items.

    Attributes:
        replies: where its answers are read.
        under_way: sizes in bytes of what it was sent and has not answered.
    """

    def __init__(self, make_work: Callable[[], Callable[[Any], Any]], others: Iterable[_Member]) -> None:
        its_requests, self._requests = os.pipe()
        self.replies, its_replies = os.pipe()
        self.under_way: deque[int] = deque()
        self._pid = os.fork()
        if not self._pid:
            # A pipe ends when all have closed it: nobody but the one who writes may hold that end open.
            held = [self._requests, self.replies]
            for other in others:
                held += other._requests, other.replies
            _serve(make_work, its_requests, its_replies, held)
        os.close(its_requests)
        os.close(its_replies)

    def takes(self, size: int) -> bool:
        """Whether so many bytes can be sent without waiting for an answer, which would wait for us."""
        return not self.under_way or (
            len(self.under_way) < _DEEP and sum(self.under_way) + size <= _PIPE_BYTES
        )

    def send(self, request: bytes) -> None:
        """Give it an item."""
        self.under_way.append(len(request))
        try:
            _write(self._requests, request)
        except BrokenPipeError:
            raise self._ended() from None

    def reply(self) -> tuple[int | None, bool, Any]:
        """What it says next, see `_serve`; waits for it."""
        data = _read(self.replies)
        if data is None:
            raise self._ended()
        number, well, said = pickle.loads(data)
        if number is not None:
            self.under_way.popleft()
        return number, well, said

    def _ended(self) -> LeukoscopeError:
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return LeukoscopeError(
            f"a process that reads pictures was ended {how}: mostly memory was short, name fewer or smaller ones"
        )

    def close(self) -> None:
        """Let it finish the item that it works on, and wait for its end."""
        os.close(self._requests)
        os.close(self.replies)
        if self._pid:
            os.waitpid(self._pid, 0)


class _Team:
    """Processes that share the items, and the answers that came before their turn.

    Attributes:
        taken: items so far.
    """

    def __init__(self, make_work: Callable[[], Callable[[Any], Any]], size: int) -> None:
        self.taken = 0
        self._waiting: deque[bytes] = deque()
        self._answers: dict[int, tuple[bool, Any]] = {}
        self._members: dict[int, _Member] = {}
        self._poll = select.poll()
        for _ in range(size):
            try:
                member = _Member(make_work, self._members.values())
            except OSError:  # the system has no room for one more
                if not self._members:
                    raise
                break
            self._members[member.replies] = member
            self._poll.register(member.replies, select.POLLIN)

    def take(self, item: object) -> None:
        """Take an item, and hand on what the processes have place for."""
        self._waiting.append(pickle.dumps((self.taken, item), pickle.HIGHEST_PROTOCOL))
        self.taken += 1
        self._hand_out()

    def answer(self, number: int) -> Any:
        """The answer to an item by its number, from 0; waits for it."""
        while number not in self._answers:
            for fd, _ in self._poll.poll():
                answered, well, said = self._members[fd].reply()
                if answered is None:
                    logging.getLogger(said.name).handle(said)
                else:
                    self._answers[answered] = well, said
            self._hand_out()
        well, said = self._answers.pop(number)
        if not well:
            raise said
        return said

    def _hand_out(self) -> None:
        while self._waiting:
            freest = min(self._members.values(), key=lambda member: len(member.under_way))
            if not freest.takes(len(self._waiting[0])):
                return
            freest.send(self._waiting.popleft())

    def close(self) -> None:
        """End all processes."""
        for member in self._members.values():
            member.close()


class _Forward(logging.Handler):
    """Sends log records to the process whose handlers they are for."""

    def __init__(self, replies: int) -> None:
        super().__init__()
        self._replies = replies

    def emit(self, record: logging.LogRecord) -> None:
        """Send one, its text made here: what it speaks of may not be picklable."""
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text, record.exc_info = logging.Formatter().formatException(record.exc_info), None
        _write(self._replies, pickle.dumps((None, True, record), pickle.HIGHEST_PROTOCOL))


def _serve(
    make_work: Callable[[], Callable[[Any], Any]], requests: int, replies: int, held: Iterable[int]
) -> NoReturn:
    """Be a process of the team until there are no more items: never returns.

    A request is (number, item). Replies are (number, True, answer), (number, False, what was raised) and, at
    any time, (None, True, log record).

    Args:
        make_work: see `in_order`.
        requests: where to read.
        replies: where to write.
        held: ends of pipes that are the other process's alone.
    """
    status = 1
    try:
        for fd in held:
            os.close(fd)
        gc.freeze()  # else the first collection would touch, and so copy, all that is shared
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's goes to all: who gave the items decides
        logging.getLogger().handlers[:] = [_Forward(replies)]
        work: Callable[[Any], Any] | None = None
        while (data := _read(requests)) is not None:
            number, item = pickle.loads(data)
            try:
                work = work or make_work()
                reply = pickle.dumps((number, True, work(item)), pickle.HIGHEST_PROTOCOL)
            except Exception as error:  # noqa: BLE001 – raised again where the answer is wanted
                reply = pickle.dumps((number, False, _portable(error)), pickle.HIGHEST_PROTOCOL)
            _write(replies, reply)
        status = 0
    except BrokenPipeError:  # no more answers are wanted
        status = 0
    finally:
        os._exit(status)  # what was open or to be done at the end is the other process's


def _portable(error: Exception) -> Exception:
    """An exception that survives pickling, with where it arose as a note."""
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        if isinstance(pickle.loads(pickle.dumps(error)), type(error)):
            return error
    except Exception:  # noqa: BLE001 – the class's own code decides what happens here
        pass
    return RuntimeError("\n".join((repr(error), *error.__notes__)))


def _write(fd: int, data: bytes) -> None:
    """Write a message whole."""
    parts = [memoryview(_LENGTH.pack(len(data))), memoryview(data)]
    while parts:
        written = os.writev(fd, parts)
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][written:]


def _read(fd: int) -> bytearray | None:
    """Read a message; None where the other end was closed."""
    header = _exactly(fd, _LENGTH.size)
    return None if header is None else _exactly(fd, _LENGTH.unpack(header)[0])


def _exactly(fd: int, size: int) -> bytearray | None:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = os.readv(fd, [rest])
        if not count:
            return None
        rest = rest[count:]
    return data
