"""Cells between two classes, which are neither: so that a model learns where its classes end.

What no training picture shows often lies between what they do: an immature granulocyte has something of a monocyte
and of a neutrophil. Two augmented cells of different classes are laid over each other in optical density, and the
result is a cell of another kind. (Mixed pictures as outliers, in the spirit of outlier exposure, Hendrycks et al. 2019,
arXiv:1812.04606, and of mixup, Zhang et al. 2018, arXiv:1710.09412, which would call them half of each.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_LEAST = 0.35  # of the weaker of the two; below, a person would still name the stronger
_WEIGHT = 0.5  # of a made-up cell beside a real one


def between(
    crops: Any,
    targets: NDArray[np.int64],
    weights: NDArray[np.float32],
    classes: int,
    share: float,
    draw: np.random.Generator,
) -> tuple[Any, NDArray[np.int64], NDArray[np.float32]]:
    """Replace some of a batch by cells between two classes.

    Args:
        crops: n × size × size × 3 float32, 0 to 255, plasma near white.
        targets: n, the right output of each; from `classes` on they are other kinds, which are left alone.
        weights: n, of each in the loss.
        classes: how many outputs are classes; the next one is for other kinds.
        share: of the pictures, 0 to 1, that are replaced where their partner in the batch is of another class.
        draw: decides which and how much.

    Returns:
        Crops, targets and weights of the same shapes.
    """
    partner = draw.permutation(len(targets))
    chosen = draw.random(len(targets)) < share
    chosen &= (targets != targets[partner]) & (targets < classes) & (targets[partner] < classes)
    part = np.where(chosen, draw.uniform(_LEAST, 0.5, len(targets)), 0.0)
    part = part.astype(np.float32)[:, None, None, None]
    density = tf.math.log(crops + 1.0)
    mixed = tf.exp((1 - part) * density + part * tf.gather(density, partner)) - 1.0
    return mixed, np.where(chosen, classes, targets), np.where(chosen, _WEIGHT * weights, weights)
