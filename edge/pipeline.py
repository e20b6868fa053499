"""Frame → decisions, and frames → cells that are each counted once: the whole reading on one screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import cv2

from edge.counting.frames import FrameJudge, FrameLimits
from edge.counting.slide import SlideMap
from edge.counting.tracks import Area, Tracks
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint, decide
from edge.records import (
    Box,
    Cell,
    Counted,
    Decision,
    Field,
    Frame,
    Keyframe,
    Place,
    Prediction,
    SkipReason,
    View,
)
from edge.vision.crop import cells_of
from edge.vision.framequality import USUAL_UM_PER_PIXEL, FrameQuality, frame_quality
from edge.vision.locate import locate
from edge.vision.register import Print

READS: Final = 3
"""How often a place is read while the stage rests there: more views of it tell nothing new."""

_SHARPER: Final = 0.95  # softness relative to the sharpest so far at which one more reading is worth it
_ELSEWHERE: Final = (
    0.04  # of a frame's width: after so much way the edge shows what was cut off; vibration is less
)


class Reader:
    """Reads one frame after another with one model at one operating point.

    Not for use from two threads at once: make one reader a thread, they share the bundle's bytes.

    Args:
        classifier: an open classifier.
        point: threshold, margin and the other limits that make a decision.
        view: how a picture is to be taken, see `records.View`.
        um_per_pixel: the calibrated scale in micrometres per pixel, or None to read it off the red cells.
    """

    def __init__(
        self,
        classifier: Classifier,
        point: OperatingPoint,
        *,
        view: View = "auto",
        um_per_pixel: float | None = None,
    ) -> None:
        self.classifier = classifier
        self.point = point
        self.view: View = view
        self.um_per_pixel = um_per_pixel

    def read(self, frame: Frame) -> tuple[Decision, ...]:
        """Find, name and judge every white cell of a frame; empty where there is none."""
        return tuple(self.decide(self.predict(cell)) for cell in self.find(frame, self.view))

    def find(self, frame: Frame, view: View) -> tuple[Cell, ...]:
        """Find the white cells of a frame, and cut them out."""
        return self.cut(self.locate(frame, view), view)

    def locate(self, frame: Frame, view: View) -> Field:
        """Say where the white cells of a frame are."""
        return locate(frame, view=view, um_per_pixel=self.um_per_pixel)

    def cut(self, field: Field, view: View) -> tuple[Cell, ...]:
        """Cut the white cells out of a field."""
        return cells_of(
            field, view=view, size=self.classifier.input_size, match_stain=self.classifier.match_stain
        )

    def predict(self, cell: Cell) -> Prediction:
        """Name a cell."""
        return self.classifier.predict(cell)

    def decide(self, prediction: Prediction) -> Decision:
        """Judge a cell that was named."""
        return decide(prediction, self.point)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a frame.

    Attributes:
        counted: cells that are decided now; they may have been seen in earlier frames.
        skipped: why the frame was not read; None where it was.
        keyframes: to be kept with the sample, so that its slide is known after a restart.
    """

    counted: tuple[Counted, ...]
    skipped: SkipReason | None = None
    keyframes: tuple[Keyframe, ...] = ()


class FrameCounter(Protocol):
    """Takes a sample's frames one after another, and counts its cells."""

    def begin(self, keyframes: Iterable[Keyframe], counted: Iterable[tuple[Place, Box]]) -> None:
        """Start or resume a sample, with what was kept of it: pictures of its slide, middles and boxes of cells."""

    def read(self, frame: Frame) -> Reading:
        """Take the next frame."""

    def finish(self) -> tuple[Counted, ...]:
        """End the sample: decide what was seen and is not decided, and forget its slide."""


class Pictures:
    """Counts the cells of pictures that have nothing to do with each other: each is read, and decided at once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def begin(self, keyframes: Iterable[Keyframe], counted: Iterable[tuple[Place, Box]]) -> None:
        """There is nothing to remember."""

    def read(self, frame: Frame) -> Reading:
        """Read a picture."""
        at = frame.captured_at
        return Reading(tuple(Counted(decision, None, 1, at, at) for decision in self._reader.read(frame)))

    def finish(self) -> tuple[Counted, ...]:
        """There is nothing undecided."""
        return ()


class Scan:
    """Counts the cells of a slide that moves under a camera, each once, from its good views.

    Args:
        reader: reads the frames that are worth it.
        limits: what a good frame is.
        rest: after so much time without movement the cells in view are decided.
    """

    def __init__(self, reader: Reader, limits: FrameLimits, *, rest: timedelta) -> None:
        self._reader = reader
        self._rest = rest
        self._judge = FrameJudge(limits)
        self._map = SlideMap()
        self._tracks = Tracks(reader.decide)
        self.begin((), ())

    def begin(self, keyframes: Iterable[Keyframe], counted: Iterable[tuple[Place, Box]]) -> None:
        """Start or resume a sample, see `FrameCounter`."""
        self._um_per_pixel = self._reader.um_per_pixel
        self._judge.begin()
        counted = tuple(counted)
        links = self._map.begin(keyframes, [place.region for place, _ in counted])
        self._tracks.begin(counted, links)
        self._stand: _Stand | None = None
        self._unseen = _Passed(self._rest / 2)

    def read(self, frame: Frame) -> Reading:
        """Take the next frame: judge it, find its place, and read it where it can show something new."""
        green = cv2.extractChannel(frame.image, 1)
        picture = Print.of(green)
        step = self._map.follow(picture)
        quality = frame_quality(frame.image, green, um_per_pixel=self._um_per_pixel or USUAL_UM_PER_PIXEL)
        still = step is not None and max(abs(step.x), abs(step.y)) < _ELSEWHERE * picture.width
        skipped = self._judge.judge(quality, moving=not still)
        if not picture.has_texture:
            skipped = SkipReason.EMPTY
        if skipped is not None:
            # Nobody knows for how long: what was seen does not wait for the next good frame.
            unseen = self._unseen.until(frame.captured_at)
            return Reading(self._tracks.rested() if unseen >= self._rest else (), skipped)
        self._unseen.begin(frame.captured_at)
        place, keyframes, link = self._map.fix(picture)
        if link is not None:
            self._tracks.link(link)
            self._stand = None
        height, width = frame.image.shape[:2]
        view = Area.of(place, Box(0, 0, width, height))
        counted = self._tracks.left(view)
        if self._stand is None or not self._stand.holds(place, width):
            self._stand = _Stand(place, frame.captured_at, self._rest / 2)
        rested = self._stand.rested(frame.captured_at)
        if not self._stand.wants(quality):
            if rested >= self._rest:
                counted += self._tracks.rested()
            return Reading(counted, SkipReason.KNOWN, keyframes)
        field = self._reader.locate(frame, "field")
        self._learn_scale(field)
        self._tracks.see(view, self._reader.cut(field, "field"), self._reader.predict)
        return Reading(counted, None, keyframes)

    def _learn_scale(self, field: Field) -> None:
        """Take the scale from the first field that tells it, so that focus is measured in micrometres."""
        if self._um_per_pixel is None and field.scale is not None:
            self._um_per_pixel = field.scale.um_per_pixel
            self._judge.begin()  # what it learnt was in another measure

    def finish(self) -> tuple[Counted, ...]:
        """End the sample, see `FrameCounter`."""
        counted = self._tracks.finish()
        self.begin((), ())
        return counted


class _Passed:
    """How much time has passed, by the dates of frames.

    Args:
        longest: from one frame to the next no more time than this is taken to have passed: a clock that is
            set by years is no rest.
    """

    def __init__(self, longest: timedelta) -> None:
        self._longest = longest
        self._at: datetime | None = None
        self._passed = timedelta(0)

    def begin(self, at: datetime) -> None:
        """Count from this frame on."""
        self._at, self._passed = at, timedelta(0)

    def until(self, at: datetime) -> timedelta:
        """The time up to this frame, which is the next one."""
        step, self._at = at - (self._at or at), at
        self._passed += min(max(step, timedelta(0)), self._longest)
        return self._passed


class _Stand:
    """A place at which the stage rests, or that it passes, and how often it was read there.

    Args:
        place: the place.
        at: when it was seen first.
        longest: see `_Passed`.
    """

    def __init__(self, place: Place, at: datetime, longest: timedelta) -> None:
        self._place = place
        self._here = _Passed(longest)
        self._here.begin(at)
        self._reads = 0
        self._sharpest = 0.0

    def holds(self, place: Place, width: int) -> bool:
        """Whether a place is still this one."""
        away = max(abs(place.x - self._place.x), abs(place.y - self._place.y))
        return place.region == self._place.region and away < _ELSEWHERE * width

    def rested(self, at: datetime) -> timedelta:
        """For how long the stage has been here, when it is seen here again."""
        return self._here.until(at)

    def wants(self, quality: FrameQuality) -> bool:
        """Whether one more reading is worth it; if so, it is noted as done."""
        if self._reads >= READS and quality.softness >= _SHARPER * self._sharpest:
            return False
        self._sharpest = quality.softness if not self._reads else min(self._sharpest, quality.softness)
        self._reads += 1
        return True
