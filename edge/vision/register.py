"""How far one picture of a slide lies from another: the stage's movement, read off the pictures.

Pictures are reduced to a few thousand pixels, of which only the band from red cells to groups of them is kept:
focus changes finer detail and lamps change coarser shading, and neither is left. Then the correlation
coefficient of what two pictures share is computed for all shifts at once, in the Fourier domain (after
Padfield 2012, IEEE TIP 21, 2706-2718, whose masks are rectangles here). Unlike the height of a phase
correlation's peak, it says by itself whether the pictures agree: 0.9 and more for overlaps of a fifth with
different focus, under 0.57 for pictures of different places. Where no shift agrees there is none.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST: Final = 80
"""The longest side of a reduced picture, in pixels."""

LEAST_OVERLAP: Final = 0.12
"""The least share of a picture that two must have in common; less could agree by chance."""

ALIKE: Final = 0.65
"""The least correlation coefficient at which two pictures show the same place."""

_FINE, _COARSE = 0.8, 3.0  # sigmas of the band, in reduced pixels
_TEXTURE = 0.5  # the least spread within the band, in grey levels: what a sensor's noise leaves is under it

Plane = NDArray[np.float32]


class Shift(NamedTuple):
    """Where one picture lies in relation to another.

    Attributes:
        x: pixels of the frame by which the second lies further to the right on the slide.
        y: likewise, further down.
        likeness: the correlation coefficient of what they share, at most 1.
        overlap: how large that is, as a share of a picture.
    """

    x: float
    y: float
    likeness: float
    overlap: float


def reduced(green: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a frame's green channel to at most `LONGEST` pixels a side, each the mean of a block.

    Returns:
        Height × width uint8, read-only; what is left over at the right and at the bottom is not in it.
    """
    block = factor(green.shape)
    height, width = max(1, green.shape[0] // block), max(1, green.shape[1] // block)
    small = cv2.resize(
        green[: height * block, : width * block], (width, height), interpolation=cv2.INTER_AREA
    )
    small.flags.writeable = False
    return np.asarray(small, np.uint8)


def factor(shape: tuple[int, ...]) -> int:
    """How many pixels of a frame, height × width, make the side of one of its `reduced` picture."""
    return -(-max(shape[:2]) // LONGEST)


class Print:
    """A reduced picture, made ready to be compared.

    Args:
        image: height × width uint8, as `reduced` makes it.
        factor: how many of the frame's pixels make the side of one of its.
    """

    def __init__(self, image: NDArray[np.uint8], factor: int) -> None:
        self.image = image
        self.factor = factor
        self.shape: tuple[int, int] = (image.shape[0], image.shape[1])
        grey = image.astype(np.float32)
        band = cv2.GaussianBlur(grey, (0, 0), _FINE) - cv2.GaussianBlur(grey, (0, 0), _COARSE)
        self._band: Plane = np.asarray(band - band.mean(), np.float32)

    @classmethod
    def of(cls, green: NDArray[np.uint8]) -> Print:
        """Reduce the green channel of a frame."""
        return cls(reduced(green), factor(green.shape))

    @property
    def width(self) -> int:
        """Of the frame, in its pixels, but for what `reduced` left over."""
        return self.shape[1] * self.factor

    @property
    def height(self) -> int:
        """Likewise."""
        return self.shape[0] * self.factor

    @cached_property
    def has_texture(self) -> bool:
        """Whether there is anything to compare: an empty field agrees with every other."""
        return bool(self._band.std() > _TEXTURE)

    @cached_property
    def spectrum(self) -> Plane:
        """The transform of the band, on a ground large enough that no shift wraps around."""
        height, width = _ground(self.shape)
        padded = np.zeros((height, width), np.float32)
        padded[: self.shape[0], : self.shape[1]] = self._band
        return np.asarray(cv2.dft(padded), np.float32)

    @cached_property
    def shared(self) -> Plane:
        """The sum of squares within what this picture shares with one that is shifted against it, for each shift."""
        height, width = self.shape
        table = cv2.integral(self._band * self._band, sdepth=cv2.CV_32F)
        y, x = np.arange(1 - height, height), np.arange(1 - width, width)
        rows = table[np.minimum(height + y, height)] - table[np.maximum(y, 0)]
        return np.asarray(rows[:, np.minimum(width + x, width)] - rows[:, np.maximum(x, 0)])


def shift(a: Print, b: Print) -> Shift | None:
    """Find where `b` lies in relation to `a`.

    Returns:
        None where no shift makes them agree, where they share less than `LEAST_OVERLAP`, where one of them
        is empty, or where they are not of one size.
    """
    if a.shape != b.shape or a.factor != b.factor or not (a.has_texture and b.has_texture):
        return None
    likeness = _likeness(a, b)
    row, column = np.unravel_index(int(likeness.argmax()), likeness.shape)
    best = float(likeness[row, column])
    if best < ALIKE:
        return None
    height, width = a.shape
    y = row + _peak(likeness[:, column], int(row)) - (height - 1)
    x = column + _peak(likeness[row], int(column)) - (width - 1)
    overlap = (1 - abs(x) / width) * (1 - abs(y) / height)
    return Shift(float(x) * a.factor, float(y) * a.factor, best, float(overlap))


def _likeness(a: Print, b: Print) -> Plane:
    """The correlation coefficient for each shift, from the negative ones on; 0 where too little is shared."""
    height, width = a.shape
    wrapped = cv2.idft(cv2.mulSpectrums(a.spectrum, b.spectrum, 0, conjB=True), flags=cv2.DFT_SCALE)
    product = np.empty((2 * height - 1, 2 * width - 1), np.float32)
    product[height - 1 :, width - 1 :] = wrapped[:height, :width]
    product[: height - 1, width - 1 :] = wrapped[1 - height :, :width]
    product[height - 1 :, : width - 1] = wrapped[:height, 1 - width :]
    product[: height - 1, : width - 1] = wrapped[1 - height :, 1 - width :]
    shared = a.shared * b.shared[::-1, ::-1]
    least = 1e-3 * LEAST_OVERLAP**2 * float(shared[height - 1, width - 1])  # hardly any texture in it
    product *= shared > least
    product /= np.sqrt(np.maximum(shared, least))
    return product * _enough(a.shape)


@lru_cache(maxsize=4)
def _enough(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which shifts leave enough in common."""
    height, width = shape
    down = 1 - np.abs(np.arange(1 - height, height)) / height
    across = 1 - np.abs(np.arange(1 - width, width)) / width
    return np.asarray(down[:, None] * across[None] >= LEAST_OVERLAP)


def _ground(shape: tuple[int, int]) -> tuple[int, int]:
    return cv2.getOptimalDFTSize(2 * shape[0] - 1), cv2.getOptimalDFTSize(2 * shape[1] - 1)


def _peak(values: NDArray[np.float32], at: int) -> float:
    """Where between its neighbours the top of a peak lies, -0.5 to 0.5: the parabola through the three."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, top, after = (float(value) for value in values[at - 1 : at + 2])
    bend = before - 2 * top + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
