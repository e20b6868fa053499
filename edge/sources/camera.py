"""A camera behind a thread of its own, so that one that hangs holds nobody up.

Vendors' libraries block: in opening, in waiting for a picture, even in closing, and some never come back. `Feed`
gives each of these calls to a thread, keeps the newest picture only, and can walk away from it.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np

from edge.errors import SourceError
from edge.records import Image

_QUICKEST_S: Final = 1 / 250
"""Least time from one picture to the next: an unplugged camera may repeat its last one without a pause."""

_BLACK, _WHITE = 16, 253  # grey levels; 16 is black in video's narrow range
_NEARLY_ALL: Final = 0.99  # of the pixels; a few may be hot or dead
_STRIDE: Final = 8  # one pixel in so many each way is looked at


class Shot(NamedTuple):
    """One picture of a camera.

    Attributes:
        image: height × width × 3 of uint8, R, G, B.
        captured_at: when the light fell on the sensor, as well as the camera tells it; UTC.
    """

    image: Image
    captured_at: datetime


class NoPicture(SourceError):
    """A camera gave no picture in time."""


class Camera(Protocol):
    """A device, opened once and used from one thread. Each of its methods may take for ever."""

    def open(self) -> None:
        """Acquire it, and make it ready.

        Raises:
            SourceUnusable: it cannot work by trying again.
            SourceError: it is not there, or does not answer.
        """

    def shoot(self) -> Shot:
        """Wait for the next picture.

        Raises:
            NoPicture: there is none in time.
            SourceError: there is none any more.
        """

    def close(self) -> None:
        """Give it back, whatever state it is in."""


class Feed:
    """A camera that runs, of which the newest picture can be taken.

    Attributes:
        lost: pictures that were replaced by newer ones before anybody took them.
        opened_at: when the camera had been opened (`time.monotonic`); None before.
    """

    def __init__(self, camera: Camera) -> None:
        self.lost = 0
        self.opened_at: float | None = None
        self._camera = camera
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._failure: Exception | None = None
        self._abandoned = False
        # A thread that hangs in a driver must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the camera was given back."""
        return not self._thread.is_alive()

    def wait_until_open(self, timeout_s: float) -> None:
        """Wait until the camera is open, for so many seconds at most.

        Raises:
            SourceError: it could not be opened.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.opened_at is not None or self._failure is not None, timeout_s)
            if self._failure is not None:
                raise self._failure

    def take(self, timeout_s: float) -> Shot | None:
        """The newest picture that was not taken yet, or None where there is none within `timeout_s` seconds.

        Raises:
            SourceError: the camera failed, and its last picture was taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._shot is not None or self._failure is not None, timeout_s)
            shot, self._shot = self._shot, None
            if shot is None and self._failure is not None:
                raise self._failure
            return shot

    def abandon(self, timeout_s: float = 0) -> bool:
        """Let the camera be closed as soon as it answers, and wait for that at most so many seconds.

        Returns:
            Whether it is closed.
        """
        with self._changed:
            self._abandoned, self._shot = True, None
        self._thread.join(timeout_s)
        return self.ended

    def _run(self) -> None:
        try:
            try:
                self._camera.open()
                with self._changed:
                    self.opened_at = time.monotonic()
                    self._changed.notify_all()
                while not self._abandoned:
                    begun_at = time.monotonic()
                    self._put(self._camera.shoot())
                    time.sleep(max(0.0, begun_at + _QUICKEST_S - time.monotonic()))
            finally:
                self._camera.close()
        except Exception as error:  # noqa: BLE001 - raised by `take` in the thread that reads
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _put(self, shot: Shot) -> None:
        with self._changed:
            if self._abandoned:
                return
            self.lost += self._shot is not None
            self._shot = shot
            self._changed.notify_all()


def blank(image: Image) -> Literal["black", "white"] | None:
    """Whether a picture shows nothing at all, for want of light or for too much of it."""
    pixels = image[::_STRIDE, ::_STRIDE]
    if float(np.mean(pixels.max(axis=2) <= _BLACK)) >= _NEARLY_ALL:
        return "black"
    if float(np.mean(pixels.min(axis=2) >= _WHITE)) >= _NEARLY_ALL:
        return "white"
    return None
