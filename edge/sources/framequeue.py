"""Between the thread that takes pictures and the one that reads them."""

from __future__ import annotations

import threading
from collections import deque

from edge.records import Frame
from edge.sources.base import SourceEnded


class FrameQueue:
    """A bounded queue of frames that loses none of a lossless source, and the oldest of a live one.

    Args:
        size: frames at most.
        live: a frame that finds the queue full takes the oldest one's place, which is counted as dropped.
            False: it waits for room.
    """

    def __init__(self, size: int, *, live: bool) -> None:
        self.dropped = 0
        self._size = size
        self._live = live
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> bool:
        """Add a frame; False where the queue was closed instead."""
        with self._changed:
            if self._live and len(self._frames) == self._size:
                self._frames.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: self._closed or len(self._frames) < self._size)
            if not self._closed:
                self._frames.append(frame)
                self._changed.notify_all()
            return not self._closed

    def get(self, timeout_s: float) -> Frame | None:
        """Take the oldest frame, or None where there is none within `timeout_s` seconds.

        Raises:
            SourceEnded: the queue was closed and is empty.
            BaseException: the failure that it was closed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frames, timeout_s)
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise SourceEnded
            return None

    def close(self, failure: BaseException | None = None) -> None:
        """No more frames. What is in the queue can still be taken; then `get` raises."""
        with self._changed:
            self._closed, self._failure = True, failure
            self._changed.notify_all()
