"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) as a fixed reader of features: only the head learns.

The usual first attempt at transfer learning. What ImageNet knows of cells is all that it can know.
"""

from __future__ import annotations

from models.architectures import Architecture, Stage
from models.architectures.mobilenet_v2 import staged


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The network with a frozen backbone."""
    return staged("mobilenet_v2_head", outputs, size, weights, Stage("head", 10, 3e-3, ("logits",)))
