"""How good a whole frame is: focus, exposure, evenness of the light, colour. What of it is good enough, the
running sample tells (`edge.counting.frames`).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Background, Image
from edge.vision.density import background

DETAIL_UM: Final = 0.3
"""The largest pixels at which focus is judged, in micrometres; at larger ones it depends on what is in view."""

USUAL_UM_PER_PIXEL: Final = 0.1
"""The scale that is taken for a camera's as long as nothing tells it: that of an immersion objective."""

_FINE, _COARSE = 0.7, 2.0  # sigmas of the two looks, in those pixels
_EDGES = 0.5  # edges are steeper than this share of the steepest hundredth
_BURNT = 253  # grey levels from which a channel tells nothing
_STAINED = 0.16  # density of green from which a pixel is not plasma
_PARTS = 4  # the frame is looked at in so many parts each way for its evenness


class FrameQuality(NamedTuple):
    """What is measured on a frame.

    Attributes:
        softness: the width of edges, as the sigma of the blur that would make them of steps, across the
            direction in which they are softer; in micrometres. Edges of cells are soft by themselves, by
            some 0.5 µm; focus that is lost adds to it as squares do. Infinite where there are no edges.
        brightness: of the plasma, 0 to 255, the mean of its channels.
        burnt: the share of pixels whose three channels are all at the sensor's end, 0 to 1.
        evenness: brightness of the dimmest part's plasma relative to the brightest part's, 0 to 1.
        stained: the share of pixels that are more than plasma, 0 to 1.
        white: the plasma's colour: logarithms of red and of blue over green.
        stain: the stained pixels' mean densities in red, green and blue; zeros where there are none.
    """

    softness: float
    brightness: float
    burnt: float
    evenness: float
    stained: float
    white: tuple[float, float]
    stain: tuple[float, float, float]


def frame_quality(
    image: Image, green: NDArray[np.uint8], *, um_per_pixel: float = USUAL_UM_PER_PIXEL
) -> FrameQuality:
    """Measure a frame.

    Args:
        image: height × width × 3 uint8, R, G, B.
        green: its second channel, contiguous.
        um_per_pixel: the scale in micrometres per pixel, so that focus means the same on every camera.
    """
    plasma = background(image)
    stride = max(1, int(np.sqrt(green.size / 4096)))
    sample = image[::stride, ::stride]
    density = np.log(np.array(plasma, np.float32) + 1) - np.log(sample.reshape(-1, 3).astype(np.float32) + 1)
    stained = density[:, 1] > _STAINED
    stain = density[stained].mean(axis=0).tolist() if stained.any() else [0.0, 0.0, 0.0]
    red, middle, blue = (float(np.log(level)) for level in plasma)
    return FrameQuality(
        softness=softness(green, um_per_pixel),
        brightness=float(sum(plasma) / 3),
        burnt=float((sample.min(axis=2) >= _BURNT).mean()),
        evenness=_evenness(sample[..., 1], plasma),
        stained=float(stained.mean()),
        white=(red - middle, blue - middle),
        stain=(stain[0], stain[1], stain[2]),
    )


def softness(green: NDArray[np.uint8], um_per_pixel: float) -> float:
    """The width of edges in micrometres, see `FrameQuality`.

    Two known blurs lower an edge's steepness in a ratio that depends on the edge's own blur alone, and not
    on its height (Zhuo and Sim 2011, Pattern Recognition 44, 1852-1858).
    """
    factor = max(1, int(DETAIL_UM / um_per_pixel))
    height, width = green.shape[0] // factor, green.shape[1] // factor
    if min(height, width) < 16:
        return math.inf
    # The middle tells as much as the whole at half the cost, unless nothing lies there.
    top, left = height // 6, width // 6
    ratio = _ratio(
        green[top * factor : (height - top) * factor, left * factor : (width - left) * factor], factor
    )
    if ratio <= 1:
        ratio = _ratio(green[: height * factor, : width * factor], factor)
    if ratio <= 1:
        return math.inf
    blur = math.sqrt(max(0.0, (_COARSE**2 - (ratio * _FINE) ** 2) / (ratio**2 - 1)))
    return blur * factor * um_per_pixel


def _ratio(green: NDArray[np.uint8], factor: int) -> float:
    """How much steeper edges are at the fine look than at the coarse one, in the softer direction."""
    size = green.shape[1] // factor, green.shape[0] // factor
    small = green if factor == 1 else cv2.resize(green, size, interpolation=cv2.INTER_AREA)
    fine, coarse = (cv2.GaussianBlur(small, (0, 0), sigma) for sigma in (_FINE, _COARSE))
    return min(_steepness(fine, coarse, 1, 0), _steepness(fine, coarse, 0, 1))


def _steepness(fine: NDArray[np.uint8], coarse: NDArray[np.uint8], dx: int, dy: int) -> float:
    """The gradient of `fine` over that of `coarse`, where the latter is steepest; 0 where there is none."""
    slope = cv2.convertScaleAbs(cv2.Sobel(coarse, cv2.CV_16S, dx, dy))
    counts = np.cumsum(cv2.calcHist([slope], [0], None, [256], [0, 256]).ravel())
    steepest = int(np.searchsorted(counts, 0.99 * counts[-1]))
    edges = cv2.compare(slope, max(1.0, _EDGES * steepest), cv2.CMP_GT)
    across = cv2.mean(slope, edges)[0]
    if across == 0:
        return 0.0
    return float(cv2.mean(cv2.convertScaleAbs(cv2.Sobel(fine, cv2.CV_16S, dx, dy)), edges)[0] / across)


def _evenness(green: NDArray[np.uint8], plasma: Background) -> float:
    """The dimmest part's brightest tenth relative to the brightest part's; parts without plasma do not count."""
    levels = [
        float(np.partition(part.ravel(), part.size * 9 // 10)[part.size * 9 // 10])
        for rows in np.array_split(green, _PARTS)
        for part in np.array_split(rows, _PARTS, axis=1)
        if part.size
    ]
    return min(levels) / max(max(levels), plasma.green, 1.0) if levels else 1.0
