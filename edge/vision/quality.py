"""How well a cell can be seen: focus and exposure, measured on its crop."""

from __future__ import annotations

import cv2
import numpy as np

from edge.records import Background, Image, Quality
from edge.vision.density import levels


def quality(crop: Image, plasma: Background) -> Quality:
    """Measure focus and exposure of one crop.

    Sharpness is the spread of the Laplacian over the spread of the picture itself, so that it does not
    depend on stain strength (variance of Laplacian: Pech-Pacheco et al. 2000, ICPR 3, 314-317; divided by
    the picture's variance). All crops of one model have one physical scale and one white.

    Args:
        crop: size × size × 3 uint8, as `vision.crop.square` makes it.
        plasma: the field's background before the crop was balanced.
    """
    green = cv2.extractChannel(crop, 1)
    _, spread = cv2.meanStdDev(green)
    _, detail = cv2.meanStdDev(cv2.Laplacian(green, cv2.CV_16S))
    sample = np.ascontiguousarray(green[::4, ::4])
    dark, light = levels(sample, sample.size // 20, sample.size * 9 // 10)
    return Quality(
        sharpness=float(detail[0, 0] / max(spread[0, 0], 1.0)),
        contrast=float(np.log((light + 1) / (dark + 1))),
        brightness=float(sum(plasma) / 3),
    )
