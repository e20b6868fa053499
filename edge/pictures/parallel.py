"""Work on items by several threads at once, answers in order, memory bounded."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 4
"""Items taken from the source before their turn, for each thread."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    items: Iterable[Item], make_work: Callable[[], Callable[[Item], Answer]], threads: int
) -> Iterator[Answer]:
    """Give the answer for each item, in the items' order.

    Decoding and the model leave Python's lock to the others; for work of many short calls see
    `edge.pictures.processes`. The items are taken by the caller's thread, at most `AHEAD` for each thread before
    their turn.

    Args:
        items: the source.
        make_work: called once in each thread that is needed, one at a time, for work that owns a tool.
        threads: how many to use; no more are started than there are items.

    Raises:
        Exception: whatever the work or its making raised, in its item's place.
    """
    own = threading.local()
    making = threading.Lock()

    def work(item: Item) -> Answer:
        if not hasattr(own, "work"):
            with making:
                own.work = make_work()
        answer: Answer = own.work(item)
        return answer

    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[Answer]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
