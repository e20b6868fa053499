"""The cells of a slide, each known by its place: views are merged, and each cell is decided once.

A cell that was cut off by the frame's edge waits until it is seen whole, or until the sample ends; one that
was seen whole is decided when it has left the field, or when the stage has rested. What was decided stays
known, so that it is not counted when it comes into view again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from edge.counting.slide import Link
from edge.records import Box, Cell, Counted, Decision, Place, Prediction

SAME: Final = 0.5
"""Two boxes are one cell when they share so much of the smaller: a part of a cell lies within its whole."""

_AS_SHARP: Final = 0.8  # of the best view's sharpness, from which a view has a say
_ENOUGH: Final = 12  # views of a whole cell after which it is decided, though it is still in view
_KEPT_CUT: Final = 64  # out of view and only ever seen in part; beyond it the oldest is decided


class Area(NamedTuple):
    """A rectangle on the slide, in pixels of the frame."""

    region: int
    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, place: Place, box: Box) -> Area:
        """A box of a frame whose left upper corner lies at a place."""
        left, top = place.x + box.left, place.y + box.top
        return cls(place.region, left, top, left + box.width, top + box.height)

    @classmethod
    def around(cls, middle: Place, box: Box) -> Area:
        """A box whose middle lies at a place, wherever it lies in its frame."""
        left, top = middle.x - box.width / 2, middle.y - box.height / 2
        return cls(middle.region, left, top, left + box.width, top + box.height)

    @property
    def middle(self) -> Place:
        """Its middle."""
        return Place(self.region, (self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def shared(self, other: Area) -> float:
        """What it has in common with another, as a share of the smaller of the two."""
        if self.region != other.region:
            return 0.0
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height / min(self.size, other.size) if width > 0 and height > 0 else 0.0

    @property
    def size(self) -> float:
        """In square pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def within(self, view: Area) -> Area:
        """The part of it that lies in a view; of no width or height where none does."""
        left, top = max(self.left, view.left), max(self.top, view.top)
        right, bottom = min(self.right, view.right), min(self.bottom, view.bottom)
        return Area(self.region, left, top, max(left, right), max(top, bottom))

    def moved(self, link: Link) -> Area:
        """Where it is after two regions were found to be one."""
        if self.region != link.region:
            return self
        return Area(
            link.into, self.left + link.x, self.top + link.y, self.right + link.x, self.bottom + link.y
        )


class Sight(NamedTuple):
    """Where a cell was seen.

    Attributes:
        area: its box.
        view: what the camera showed where its edge cut the cell off; None where the cell was whole.
    """

    area: Area
    view: Area | None

    def shared(self, other: Sight) -> float:
        """What two boxes have in common, as far as both could be seen, as a share of the smaller."""
        one = self.area if other.view is None else self.area.within(other.view)
        return one.shared(other.area if self.view is None else other.area.within(self.view))

    def moved(self, link: Link) -> Sight:
        """Where it was seen after two regions were found to be one."""
        return Sight(self.area.moved(link), None if self.view is None else self.view.moved(link))


@dataclass(slots=True, eq=False)
class _Track:
    """A cell that is not decided yet."""

    sight: Sight
    first_seen_at: datetime
    last_seen_at: datetime
    frames: int = 0
    views: tuple[Prediction, ...] = ()

    @property
    def whole(self) -> bool:
        return bool(self.views) and not self.views[0].cell.cut_off

    def add(self, sight: Sight, view: Prediction) -> None:
        """One more view. Those of the whole cell are kept, or, as long as there is none, the largest part."""
        self.last_seen_at = view.cell.field.frame.captured_at
        self.frames += 1
        cut = view.cell.cut_off
        if cut and self.whole:
            return
        if not cut and self.whole:
            self.views = (*self.views, view)
            if view is best(self.views):
                self.sight = sight
        elif not cut or not self.views or sight.area.size > self.sight.area.size:
            self.views, self.sight = (view,), sight


class Tracks:
    """The cells of one sample.

    Args:
        decide: what is said of a cell after its views were merged.
    """

    def __init__(self, decide: Callable[[Prediction], Decision]) -> None:
        self._decide = decide
        self.begin((), ())

    def begin(self, counted: Iterable[tuple[Place, Box]], links: Sequence[Link]) -> None:
        """Start with the cells that were counted before: their middles and boxes, understood by way of `links`."""
        self._open: list[_Track] = []
        self._counted = [Sight(Area.around(place, box), None) for place, box in counted]
        for link in links:
            self.link(link)

    def link(self, link: Link) -> None:
        """Two regions were found to be one."""
        self._counted = [sight.moved(link) for sight in self._counted]
        for track in self._open:
            track.sight = track.sight.moved(link)

    def see(self, view: Area, cells: Iterable[Cell], predict: Callable[[Cell], Prediction]) -> None:
        """Take the cells that were found in a frame. Those already counted are not even classified.

        Args:
            view: what the frame shows of the slide.
            cells: found in it, each with a box.
            predict: names a cell.
        """
        corner = Place(view.region, view.left, view.top)
        known = [sight for sight in self._counted if sight.area.region == view.region]
        fresh = []
        for cell in cells:
            assert cell.box is not None, "a cell of a field has a box"
            sight = Sight(Area.of(corner, cell.box), view if cell.cut_off else None)
            if not any(sight.shared(other) >= SAME for other in known):
                fresh.append((sight, cell))
        pairs = sorted(
            (
                (-sight.shared(track.sight), number, i)
                for i, track in enumerate(self._open)
                for number, (sight, _) in enumerate(fresh)
                if sight.shared(track.sight) >= SAME
            ),
        )
        taken: dict[int, _Track] = {}
        for _, number, i in pairs:
            if number not in taken and self._open[i] not in taken.values():
                taken[number] = self._open[i]
        for number, (sight, cell) in enumerate(fresh):
            at = cell.field.frame.captured_at
            track = taken.get(number)
            if track is None:
                track = _Track(sight, at, at)
                self._open.append(track)
            track.add(sight, _light(predict(cell)))

    def left(self, view: Area) -> tuple[Counted, ...]:
        """Decide the cells that were seen whole and are no longer in view, or were seen often enough.

        Args:
            view: what the camera shows.
        """
        counted = self._settle(
            lambda track: track.whole and (not track.sight.area.shared(view) or len(track.views) >= _ENOUGH)
        )
        waiting = [track for track in self._open if not track.whole and not track.sight.area.shared(view)]
        late = waiting[: max(0, len(waiting) - _KEPT_CUT)]
        return counted + self._settle(lambda track: track in late)

    def rested(self) -> tuple[Counted, ...]:
        """Decide the cells that were seen whole: the stage rests, and more views would show the same."""
        return self._settle(lambda track: track.whole)

    def finish(self) -> tuple[Counted, ...]:
        """Decide every cell, also those that were only ever seen in part, and forget all of them."""
        counted = self._settle(lambda track: track.whole) + self._settle(lambda _: True)
        self.begin((), ())
        return counted

    def _settle(self, which: Callable[[_Track], bool]) -> tuple[Counted, ...]:
        chosen = [track for track in self._open if which(track)]
        self._open = [track for track in self._open if track not in chosen]
        counted = []
        for track in chosen:
            # Two regions may have been linked, or two parts of one cell tracked, since it was first seen.
            if any(track.sight.shared(sight) >= SAME for sight in self._counted):
                continue
            self._counted.append(track.sight)
            counted.append(self._count(track))
        return tuple(counted)

    def _count(self, track: _Track) -> Counted:
        return Counted(
            self._decide(merged(track.views)),
            track.sight.area.middle,
            track.frames,
            track.first_seen_at,
            track.last_seen_at,
        )


def best(views: Sequence[Prediction]) -> Prediction:
    """The view that shows a cell best: the sharpest."""
    return max(views, key=lambda view: view.cell.quality.sharpness)


def merged(views: Sequence[Prediction]) -> Prediction:
    """What all views of a cell say together, with the best of them as its picture.

    Probabilities and unfamiliarity are the means over the views that are nearly as sharp as the best: each is a
    look at the same cell with other noise and another place on the sensor's grid.
    """
    shown = best(views)
    least = _AS_SHARP * shown.cell.quality.sharpness
    heard = [view for view in views if view.cell.quality.sharpness >= least]
    return replace(
        shown,
        probabilities={
            name: sum(view.probabilities[name] for view in heard) / len(heard) for name in shown.probabilities
        },
        unfamiliarity=sum(view.unfamiliarity for view in heard) / len(heard),
    )


def _light(prediction: Prediction) -> Prediction:
    """The same, without the pixels of the whole frame, so that a waiting cell does not hold them in memory."""
    cell = prediction.cell
    field = replace(cell.field, frame=cell.field.frame.without_pixels())
    return replace(prediction, cell=replace(cell, field=field))
