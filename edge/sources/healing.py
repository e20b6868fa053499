"""A live source that heals: it notices that its camera stopped, opens it anew, and gives up after a time.

What a camera does wrong is of three kinds. It gives no picture: it stalls, was unplugged, cannot be opened. It
gives one picture again and again, as some drivers do whose camera is gone; a sensor's noise lets no two pictures
be equal. Either way it is closed and opened again, after longer and longer pauses, until `give_up_s` have passed,
or until it hangs so that it cannot be closed; the error that then ends the daemon lets systemd start it anew. Or it
shows nothing but black or white: then the lamp may be off for the night, so the source goes on, says so, and opens
the camera again from time to time, in case it is the camera's fault. No picture of these kinds is passed on, so
nothing is counted from one.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

import cv2

from edge.errors import SourceError, SourceUnusable
from edge.health.problems import Health
from edge.records import Frame, Image
from edge.sources.camera import Camera, Feed, NoPicture, Shot, blank

OPEN_S: Final = 20.0
"""How long opening a camera may take: a network address is looked up, a sensor's exposure settles."""

CLOSE_S: Final = 3.0
"""How long the end of the daemon waits for a camera."""

HANG_S: Final = 20.0
"""How long a camera may take to be closed before the source gives up: a driver that hangs is only got rid of with the
process."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # before opening it again
_LONGEST_BLANK_S: Final = 300.0
_STABLE_S: Final = 1.0  # pictures for so long, and the camera is well again
_TICK_S: Final = 0.05

_ADVICE: Final = {
    "black": "is the lamp on, and the light path to the camera open?",
    "white": "is the lamp too bright for the exposure time?",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HealingLimits:
    """When a camera is not well. The configuration has the defaults.

    Attributes:
        stall_s: without a new picture for so long, it is opened anew.
        give_up_s: the first failure after so long without a new picture is the source's; 0: every failure.
    """

    stall_s: float
    give_up_s: float


class CameraFigures(NamedTuple):
    """What a camera did since the program began.

    Attributes:
        restarts: how many times it was opened again.
        timeouts: how many times no new picture came in time.
        lost: pictures that nobody took before a newer one came.
        repeated: pictures that were the one before once more.
        blank: pictures that showed nothing but black or white.
    """

    restarts: int
    timeouts: int
    lost: int
    repeated: int
    blank: int


class HealingSource:
    """The frames of a camera, as long as it can be made to give any.

    Args:
        name: what the camera is called in messages; must not hold a secret.
        make: makes the camera, not yet open; called anew for each attempt.
        limits: when it is not well.
        health: is told, under the codes `camera` and `camera_blank`.
    """

    def __init__(
        self, name: str, make: Callable[[], Camera], *, limits: HealingLimits, health: Health
    ) -> None:
        self.live = self.continuous = True
        self._name = name
        self._make = make
        self._limits = limits
        self._health = health
        self._restarts = self._timeouts = self._lost = self._repeated = self._blank = 0
        self._feed: Feed | None = None
        self._former: Feed | None = None  # given up, and perhaps not closed yet
        self._failure: SourceError | None = SourceError(f"{name} is not open")
        self._forget()

    def _forget(self) -> None:
        now = time.monotonic()
        self._number = 0
        self._last: Image | None = None
        self._alive_at = now  # when a new picture came last, be it blank
        self._due_at = now  # when the next step of the camera must have been done
        self._dropped_at = now
        self._pause_s = _FIRST_PAUSE_S
        self._retry_at = now
        self._ill_since: float | None = None
        self._better_since: float | None = None  # pictures come again
        self._blank_since: float | None = None
        self._blank_pause_s = self._limits.stall_s

    @property
    def figures(self) -> CameraFigures:
        """What the camera did so far."""
        feed = self._feed  # another thread asks than the one that gives it up
        lost = self._lost + (0 if feed is None else feed.lost)
        return CameraFigures(self._restarts, self._timeouts, lost, self._repeated, self._blank)

    def open(self) -> None:
        """Begin with the camera. One that is not there is waited for in `read`.

        Raises:
            SourceUnusable: waiting will not help.
            SourceError: it cannot be opened, and `give_up_s` is 0.
        """
        self.close()
        self._forget()
        self._failure = None
        try:
            try:
                self._start().wait_until_open(min(self._limits.stall_s, OPEN_S))
            except SourceUnusable:
                raise
            except SourceError as error:
                self._fail(str(error))
        except SourceError:
            self.close()
            raise

    def close(self) -> None:
        """Give the camera back; one that hangs is left behind with its thread."""
        if self._feed is not None:
            self._drop()
        if self._former is not None and not self._former.abandon(CLOSE_S):
            log.warning("%s hangs, and was left behind", self._name)
        self._former = None
        self._failure = SourceError(f"{self._name} is not open")

    def read(self, timeout_s: float) -> Frame | None:
        """The newest picture if it is a good one; None where there is none in time, whatever the camera does.

        Raises:
            SourceError: the camera could not be made to work again.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._failure is not None:
                raise self._failure
            wait_s = max(0.0, deadline - time.monotonic())
            if self._feed is None:
                self._try_again(wait_s)
            elif (frame := self._take(self._feed, wait_s)) is not None:
                return frame
            if time.monotonic() >= deadline:
                return None

    def _take(self, feed: Feed, wait_s: float) -> Frame | None:
        """The frame that the camera gives, if it gives one and is well."""
        try:
            shot = feed.take(wait_s)
        except SourceUnusable as error:
            self._give_up(str(error))
        except SourceError as error:
            self._timeouts += isinstance(error, NoPicture)
            self._fail(str(error))
            return None
        now = time.monotonic()
        if shot is not None and (frame := self._judge(shot, now)) is not None:
            return frame
        if feed.opened_at is not None:
            self._due_at = max(feed.opened_at, self._alive_at) + self._limits.stall_s
        if now > self._due_at and feed is self._feed:
            self._timeouts += 1
            limit = f"{OPEN_S:g} s to be opened" if feed.opened_at is None else f"{self._limits.stall_s:g} s"
            self._fail(f"{self._name} gives no new picture within {limit}")
        return None

    def _judge(self, shot: Shot, now: float) -> Frame | None:
        """Make a frame of a picture, unless there is nothing new in it."""
        image = shot.image
        nothing = blank(image)
        if nothing is None:
            if self._last is not None and self._last.shape != image.shape:
                height, width = image.shape[:2]
                self._give_up(f"{self._name} suddenly gives pictures of {width} × {height} pixels")
            if self._last is not None and cv2.norm(self._last, image, cv2.NORM_INF) == 0:
                self._repeated += 1
                return None
        self._alive_at = now
        self._recover(now)
        if nothing is not None:
            self._blank += 1
            self._bear(nothing, now)
            return None
        self._blank_since, self._blank_pause_s = None, self._limits.stall_s
        self._health.clear("camera_blank")
        frame = Frame.of(image, self._number, shot.captured_at)
        self._last = image
        self._number += 1
        return frame

    def _recover(self, now: float) -> None:
        """A picture came; the camera is well when they have been coming for a while."""
        if self._ill_since is None:
            return
        if self._better_since is None:
            self._better_since = now
        if now - self._better_since >= _STABLE_S:
            log.info("%s gives pictures again, after %.0f s", self._name, now - self._ill_since)
            self._ill_since, self._pause_s = None, _FIRST_PAUSE_S
            self._health.clear("camera")

    def _bear(self, colour: str, now: float) -> None:
        """A blank picture came: after a while of them say so, and try whether another opening helps."""
        if self._blank_since is None:
            self._blank_since = now
        elif now - self._blank_since >= self._blank_pause_s:
            self._health.report("camera_blank", f"{self._name} shows nothing but {colour}: {_ADVICE[colour]}")
            log.info("%s is opened again, in case that it is at fault", self._name)
            self._blank_since, self._blank_pause_s = None, min(2 * self._blank_pause_s, _LONGEST_BLANK_S)
            self._drop()
            self._retry_at = now

    def _fail(self, text: str) -> None:
        """The camera is not well: close it, and open it again after a pause, unless it was ill for too long."""
        self._drop()
        now = time.monotonic()
        self._better_since = None
        if self._ill_since is None:
            self._ill_since = self._alive_at
        if now - self._alive_at >= self._limits.give_up_s:
            self._give_up(text)
        pause_s = self._pause_s * random.uniform(
            0.5, 1.0
        )  # devices that lost one server come back one by one
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._retry_at = now + pause_s
        self._health.report("camera", f"{text}; it is being opened again")
        log.info("%s; it is opened again in %.1f s", text, pause_s)

    def _give_up(self, text: str) -> NoReturn:
        """End for good.

        Raises:
            SourceError: always.
        """
        tried_s = time.monotonic() - self._alive_at
        self._failure = SourceError(f"{text}; given up after {tried_s:.0f} s" if tried_s >= 1 else text)
        raise self._failure

    def _try_again(self, wait_s: float) -> None:
        """Open the camera when it is time for it, and when what went before is closed: there is but one device."""
        now = time.monotonic()
        closed = self._former is None or self._former.ended
        if closed and now >= self._retry_at:
            self._restarts += 1
            self._start()
            return
        if not closed and (
            now - self._dropped_at >= HANG_S or now - self._alive_at >= self._limits.give_up_s
        ):
            self._give_up(f"{self._name} hangs and cannot be closed")
        time.sleep(min(wait_s, _TICK_S))

    def _start(self) -> Feed:
        self._due_at = time.monotonic() + OPEN_S
        self._feed = Feed(self._make())
        return self._feed

    def _drop(self) -> None:
        """Walk away from the camera, which closes when it answers."""
        if self._feed is not None:
            self._feed.abandon()
            self._lost += self._feed.lost
            self._former, self._feed = self._feed, None
            self._dropped_at = time.monotonic()
