"""The map of a slide: where each frame lies, from how the pictures follow one another and from keyframes.

A frame is followed from the one before. A good frame is then set right by the keyframes around it, small
pictures kept every half field, so that errors do not add up along the way. A frame that neither follows nor
shows a known place opens a region of its own, whose coordinates have nothing to do with those of the others,
until a keyframe in it turns out to show what one of another region shows: then the two are one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from edge.records import Keyframe, Place
from edge.vision.register import Print, Shift, shift

_NEAR: Final = 0.3  # share of a frame in common from which a keyframe can set another right …
_ANCHORS: Final = 2  # … as so many do, those with the most in common
_DENSE: Final = 0.5  # a frame that has less than this in common with each keyframe becomes one
_ASTRAY: Final = 0.2  # of a frame's width: when keyframes disagree so much with the way, the way is wrong
_KNOWN, _KNOWN_OVERLAP = (
    0.75,
    0.15,
)  # among many keyframes chance has more opportunity than between two frames
_SURE, _SURE_OVERLAP = 0.9, 0.3  # a keyframe so much alike need not be compared with others

KEYFRAMES_KEPT = 1_000
"""About 15 MB in the database; a smear of 400 white cells takes some 300 fields. Beyond it the oldest are forgotten: a
frame that follows from nothing is compared with all of them, which takes the device seconds."""


class Link(NamedTuple):
    """Two regions are one: a place of `region` is that of `into` with x and y added."""

    region: int
    into: int
    x: float
    y: float

    def __call__(self, place: Place) -> Place:
        """Where a place is now; one of another region is where it was."""
        if place.region != self.region:
            return place
        return Place(self.into, place.x + self.x, place.y + self.y)


class Fix(NamedTuple):
    """Where a good frame lies.

    Attributes:
        place: of its left upper corner.
        keyframes: to be kept, so that the place is known after a restart.
        link: what was found out about two regions, if anything.
    """

    place: Place
    keyframes: tuple[Keyframe, ...]
    link: Link | None


class SlideMap:
    """One sample's slide under the camera."""

    def __init__(self) -> None:
        self.begin((), ())

    def begin(self, keyframes: Iterable[Keyframe], regions: Iterable[int]) -> tuple[Link, ...]:
        """Start with what is known of the slide; nothing of it is a new slide.

        Args:
            keyframes: what was kept of its looks, in the order in which it was kept.
            regions: in which cells were counted, of which there may be no keyframe any more.

        Returns:
            How the regions of earlier places have to be understood, to be applied in turn.
        """
        self._before: Print | None = None
        self._place: Place | None = None
        self._keyframes: list[Keyframe] = []
        self._regions = max(regions, default=-1) + 1
        links: list[Link] = []
        seen: dict[bytes, Place] = {}
        for keyframe in sorted(keyframes, key=lambda keyframe: keyframe.region):
            self._regions = max(self._regions, keyframe.region + 1)
            here = _through(links, Place(keyframe.region, keyframe.x, keyframe.y))
            there = _through(links, seen.setdefault(keyframe.image.tobytes(), here))
            if there.region != here.region:  # a picture that two regions share: see `_linked`
                link = _link(here, there)
                links.append(link)
                self._keyframes = [_moved(known, link) for known in self._keyframes]
            elif there == here:
                self._keyframes.append(Keyframe(*here, keyframe.image))
        return tuple(links)

    def follow(self, picture: Print) -> Shift | None:
        """Take the next frame, good or not; tells how far it lies from the one before, None where that is unknown."""
        step = None if self._before is None else shift(self._before, picture)
        self._before = picture
        if step is None or self._place is None:
            self._place = None
        else:
            region, x, y = self._place
            self._place = Place(region, x + step.x, y + step.y)
        return step

    def fix(self, picture: Print) -> Fix:
        """Find the place of the frame that was followed last, which must be a good one."""
        place = self._set_right(picture) or self._recognised(picture, self._keyframes)
        if place is None:
            place = Place(self._regions, 0.0, 0.0)
            self._regions += 1
        self._place = place
        mine = [keyframe for keyframe in self._keyframes if keyframe.region == place.region]
        if any(_common(keyframe, place, picture) >= _DENSE for keyframe in mine):
            return Fix(place, (), None)
        keyframe = Keyframe(*place, picture.image)
        self._keyframes.append(keyframe)
        del self._keyframes[:-KEYFRAMES_KEPT]
        return self._linked(picture, keyframe)

    def _set_right(self, picture: Print) -> Place | None:
        """The followed place, as the nearest keyframes see it; None where they do not agree with it."""
        place = self._place
        if place is None:
            return None
        near = [
            k for k in self._keyframes if k.region == place.region and _common(k, place, picture) >= _NEAR
        ]
        if not near:
            return place
        near = sorted(near, key=lambda keyframe: -_common(keyframe, place, picture))[:_ANCHORS]
        seen = [found for keyframe in near if (found := _seen_from(keyframe, picture)) is not None]
        if not seen:
            return None
        total = sum(weight for _, weight in seen)
        x = sum(found.x * weight for found, weight in seen) / total
        y = sum(found.y * weight for found, weight in seen) / total
        limit = _ASTRAY * picture.width
        return Place(place.region, x, y) if abs(x - place.x) < limit and abs(y - place.y) < limit else None

    def _recognised(self, picture: Print, among: Iterable[Keyframe]) -> Place | None:
        """Where a frame lies that follows from nothing, if a keyframe shows it; the latest are looked at first."""
        best: tuple[float, Place] | None = None
        for keyframe in reversed(list(among)):
            step = shift(_print(keyframe, picture.factor), picture)
            if step is None or step.likeness < _KNOWN or step.overlap < _KNOWN_OVERLAP:
                continue
            place = Place(keyframe.region, keyframe.x + step.x, keyframe.y + step.y)
            if step.likeness >= _SURE and step.overlap >= _SURE_OVERLAP:
                return place
            if best is None or step.likeness > best[0]:
                best = step.likeness, place
        return best[1] if best else None

    def _linked(self, picture: Print, keyframe: Keyframe) -> Fix:
        """Look whether a new keyframe shows what another region knows, and make the two regions one."""
        here = Place(keyframe.region, keyframe.x, keyframe.y)
        others = (known for known in self._keyframes if known.region != keyframe.region)
        there = self._recognised(picture, others)
        if there is None:
            return Fix(here, (keyframe,), None)
        link = _link(here, there)
        self._keyframes = [_moved(known, link) for known in self._keyframes]
        self._place = link(here)
        # The same picture at both places tells the next start of the program that they are one.
        return Fix(self._place, (keyframe, Keyframe(*there, keyframe.image)), link)


def _link(one: Place, other: Place) -> Link:
    """Make the regions of two names of one place the older of the two."""
    old, new = sorted((one, other))
    return Link(new.region, old.region, old.x - new.x, old.y - new.y)


def _through(links: Iterable[Link], place: Place) -> Place:
    for link in links:
        place = link(place)
    return place


def _moved(keyframe: Keyframe, link: Link) -> Keyframe:
    if keyframe.region != link.region:
        return keyframe
    return Keyframe(*link(Place(keyframe.region, keyframe.x, keyframe.y)), keyframe.image)


def _common(keyframe: Keyframe, place: Place, picture: Print) -> float:
    """The share of a frame that a keyframe of the same region has in common with one at a place."""
    across = 1 - abs(keyframe.x - place.x) / picture.width
    down = 1 - abs(keyframe.y - place.y) / picture.height
    return max(0.0, across) * max(0.0, down)


def _seen_from(keyframe: Keyframe, picture: Print) -> tuple[Place, float] | None:
    """Where a keyframe sees a picture, and how much that is to be trusted."""
    step = shift(_print(keyframe, picture.factor), picture)
    if step is None:
        return None
    return Place(keyframe.region, keyframe.x + step.x, keyframe.y + step.y), step.overlap * step.likeness


@lru_cache(maxsize=8)
def _print(keyframe: Keyframe, factor: int) -> Print:
    """A keyframe made ready to be compared; those around the stage are wanted again and again."""
    return Print(keyframe.image, factor)
