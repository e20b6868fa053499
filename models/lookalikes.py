"""Pictures that show the same: saved again, resized, a little shifted, or the next shot of the same cell.

Each picture gets a perceptual hash: which of the 80 slowest cosine waves over its brightness (32 × 32, DCT) are
above their median (after Zauner 2010, "Implementation and benchmarking of perceptual image hash functions").
Hashes that differ in few bits name candidates, and the correlation of their fine detail, within a small shift,
decides: the outline of one lymphocyte is much like another's, the chromatin in it is not.

Measured (`bench/lookalikes.py`): pictures saved again at JPEG quality 20 or reduced to a third differ in at most 4
bits and correlate by 0.99. Of 9,510 cells of five sets the ten pairs above 0.93 show the same cell, by eye; the next
is at 0.86, from where on like cells mix with the same cell at another focus, which is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.pictures.images import load
from edge.pictures.parallel import in_order
from edge.records import Image

BITS: Final = 80
"""Of a perceptual hash."""

NEAR: Final = 14
"""Bits that may differ between candidates."""

_ALIKE: Final = 0.90  # correlation of fine detail
_SIDE: Final = 64  # of the picture that fine detail is taken from
_SHIFT: Final = 5  # of `_SIDE`, each way
_FLAT: Final = 2.0  # standard deviation of brightness below which a picture shows nothing
_BLOCK: Final = 256  # rows of the table of distances that are in memory at a time


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is kept of one picture.

    Attributes:
        height: in pixels.
        width: in pixels.
        bits: the perceptual hash, 80 booleans.
        small: `_SIDE` × `_SIDE` uint8, its brightness.
    """

    height: int
    width: int
    bits: NDArray[np.bool_]
    small: NDArray[np.uint8]

    @classmethod
    def of(cls, image: Image) -> Look:
        """Look at a picture."""
        grey = cv2.cvtColor(
            cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        waves = cv2.dct(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))[
            :9, :9
        ].ravel()
        height, width = image.shape[:2]
        return cls(height, width, waves[1:] > np.median(waves[1:]), np.asarray(grey, np.uint8))

    @property
    def detail(self) -> NDArray[np.float32]:
        """Its brightness without the slow and the very fast."""
        grey = self.small.astype(np.float32)
        return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1) - cv2.GaussianBlur(grey, (0, 0), 4), np.float32)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two look-alikes, by their numbers, and the correlation of their fine detail."""

    first: int
    second: int
    correlation: float


def look_at(paths: Iterable[Path], threads: int) -> Iterator[Look | InputError]:
    """Look at pictures, in order; an error stands in the place of one that cannot be read."""
    cv2.setNumThreads(1)

    def look(path: Path) -> Look | InputError:
        try:
            return Look.of(load(path))
        except InputError as error:
            return error

    return in_order(paths, lambda: look, threads)


def alike(
    looks: Sequence[Look], step: Callable[[], None] | None = None
) -> tuple[list[list[int]], list[Pair]]:
    """Find what looks alike.

    Args:
        looks: of all pictures.
        step: called for each picture.

    Returns:
        Groups of look-alikes, each in rising order, by number in `looks`; and the pairs that connect them (in
        a group of n there are n − 1, not all).
    """
    joined = Joined(len(looks))
    pairs: list[Pair] = []
    seen = np.array([look.small.std() > _FLAT for look in looks], bool)
    signs = np.array([look.bits for look in looks], np.float32).reshape(len(looks), BITS) * 2 - 1
    near = BITS - 2 * NEAR  # the product of two rows of signs is the bits that agree less those that differ
    for start in range(0, len(looks), _BLOCK):
        rows = signs[start : start + _BLOCK]
        for row, agreement in enumerate(rows @ signs[start:].T, start):
            if step:
                step()
            if not seen[row]:
                continue
            detail = None
            for other in (np.flatnonzero(agreement[row - start + 1 :] >= near) + row + 1).tolist():
                if not seen[other] or joined.root(row) == joined.root(other):
                    continue
                detail = looks[row].detail if detail is None else detail
                correlation = correlation_of(detail, looks[other].detail)
                if correlation >= _ALIKE:
                    joined.join(row, other)
                    pairs.append(Pair(row, other, correlation))
    return joined.groups(), pairs


def correlation_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How alike the fine detail of two pictures is within a small shift, −1 to 1."""
    middle = one[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    return float(cv2.matchTemplate(other, middle, cv2.TM_CCOEFF_NORMED).max())


class Joined:
    """Things that are joined two by two, and what hangs together then.

    Args:
        count: of the things, which are numbered from 0.
    """

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def root(self, thing: int) -> int:
        """The least number of what hangs together with a thing."""
        while self._above[thing] != thing:
            self._above[thing] = self._above[self._above[thing]]
            thing = self._above[thing]
        return thing

    def join(self, one: int, other: int) -> None:
        """Join two things."""
        least, more = sorted((self.root(one), self.root(other)))
        self._above[more] = least

    def groups(self) -> list[list[int]]:
        """What hangs together, of two things at least, in order."""
        found: dict[int, list[int]] = {}
        for thing in range(len(self._above)):
            found.setdefault(self.root(thing), []).append(thing)
        return [group for group in found.values() if len(group) > 1]
