"""The queue between source and reader: what it loses, and what it never loses."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest
from helpers import MORNING, WAIT_S

from edge.errors import SourceError
from edge.records import Frame
from edge.sources.base import SourceEnded
from edge.sources.framequeue import FrameQueue


def frame(number: int) -> Frame:
    return Frame.of(np.zeros((8, 8, 3), np.uint8), number, MORNING)


def test_a_lossless_queue_waits_for_room() -> None:
    queue = FrameQueue(2, live=False)

    def fill() -> None:
        for number in range(50):
            queue.put(frame(number))
        queue.close()

    thread = threading.Thread(target=fill)
    thread.start()
    taken = []
    with suppress(SourceEnded):
        while True:
            got = queue.get(WAIT_S)
            assert got is not None
            assert len(queue) <= 2
            taken.append(got.number)
    thread.join()
    assert taken == list(range(50))
    assert queue.dropped == 0


def test_a_live_queue_keeps_the_newest_and_counts_the_others() -> None:
    queue = FrameQueue(2, live=True)
    assert all(queue.put(frame(number)) for number in range(5))
    newest = [queue.get(1), queue.get(1)]
    assert [each.number for each in newest if each] == [3, 4]
    assert queue.dropped == 3
    assert queue.get(0) is None


def test_a_queue_closed_with_a_failure_gives_its_frames_and_then_the_failure() -> None:
    queue = FrameQueue(2, live=False)
    queue.put(frame(0))
    queue.close(SourceError("the camera is gone"))
    assert not queue.put(frame(1))
    first = queue.get(1)
    assert first is not None and first.number == 0
    with pytest.raises(SourceError, match="camera is gone"):
        queue.get(1)


def test_a_closed_queue_lets_a_waiting_source_go() -> None:
    queue = FrameQueue(1, live=False)
    queue.put(frame(0))
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(queue.put(frame(1))))
    thread.start()
    queue.close()
    thread.join()
    assert answers == [False]
