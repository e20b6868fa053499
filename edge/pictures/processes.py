"""Work on items by several processes at once, answers in order, memory bounded.

Reading a picture is some hundred short calls of OpenCV and NumPy. Each lets go of Python's lock and takes it
again, and threads that wait for it at every call spend a third of their time on that. A copy of this process
(`fork`) has a lock of its own, starts within milliseconds and shares the memory of what was loaded before.

A process with several threads cannot safely be copied: what another thread has locked stays locked in the copy. Then,
and where there is no `fork`, threads do the work (`edge.pictures.parallel`).
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import logging
import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from edge.errors import LeukoscopeError
from edge.pictures import parallel
from edge.pictures.parallel import AHEAD

BATCH: Final = 4
"""Items that are handed over at once: the handing over costs as much as a third of a small picture."""
_PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h: the signal that this process gets when the one that made it ends, in whatever way."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Reply(NamedTuple):
    answer: Any
    error: Exception | None
    logged: list[logging.LogRecord]


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
    gc.freeze()  # else the first collection of a copy would touch, and so duplicate, all that is shared
    pool = ProcessPoolExecutor(
        min(processes, known), multiprocessing.get_context("fork"), _Worker.begin, (make_work,)
    )
    size = BATCH if known == ahead else 1  # few are spread evenly
    given: deque[Future[list[_Reply]]] = deque()
    try:
        while batch := list(itertools.islice(source, size)):
            given.append(pool.submit(_Worker.do, batch))
            if len(given) * size > ahead:
                yield from _answers(given.popleft())
        while given:
            yield from _answers(given.popleft())
    except BrokenProcessPool:
        raise LeukoscopeError(
            "a process that reads pictures was ended: mostly memory was short, name fewer or smaller ones"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()


def _may_fork() -> bool:
    """Whether this process has no thread but this one, those of libraries counted."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def _answers(done: Future[list[_Reply]]) -> Iterator[Any]:
    for reply in done.result():
        for record in reply.logged:
            logging.getLogger(record.name).handle(record)
        if reply.error is not None:
            raise reply.error
        yield reply.answer


def _portable(error: Exception) -> Exception:
    """An exception that survives pickling, with where it arose: one that does not would take the pool with it."""
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        if isinstance(pickle.loads(pickle.dumps(error)), type(error)):
            return error
    except Exception:  # noqa: BLE001 – the class's own code decides what happens here
        pass
    return RuntimeError("\n".join((repr(error), *error.__notes__)))


class _Notes(logging.Handler):
    """Keeps log records for the process whose handlers they are for."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one, its text made here: what it speaks of may not be picklable."""
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text, record.exc_info = logging.Formatter().formatException(record.exc_info), None
        self.records.append(record)


class _Worker:
    """The state of a process of the pool."""

    make: Callable[[], Callable[[Any], Any]]
    work: Callable[[Any], Any] | None = None
    notes = _Notes()

    @classmethod
    def begin(cls, make_work: Callable[[], Callable[[Any], Any]]) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's goes to all: who gave the items decides
        logging.getLogger().handlers[:] = [cls.notes]
        cls.make = make_work

    @classmethod
    def do(cls, items: list[Any]) -> list[_Reply]:
        return [cls._reply(item) for item in items]

    @classmethod
    def _reply(cls, item: Any) -> _Reply:
        answer = error = None
        try:
            cls.work = cls.work or cls.make()
            answer = cls.work(item)
        except Exception as raised:  # noqa: BLE001 – raised again where the answer is wanted
            error = _portable(raised)
        logged, cls.notes.records = cls.notes.records, []
        return _Reply(answer, error, logged)
