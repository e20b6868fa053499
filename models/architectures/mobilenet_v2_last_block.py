"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), of which the last block and the head learn.

The usual second attempt at transfer learning: block 16 and the last 1 × 1 convolution are released.
"""

from __future__ import annotations

from models.architectures import Architecture, Stage
from models.architectures.mobilenet_v2 import HEAD, staged

_LAST = ("block_16_", "Conv_1", "logits")


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The network with all but its last block frozen: first the head learns, then the block with it."""
    return staged(
        "mobilenet_v2_last_block", outputs, size, weights, HEAD, Stage("last block", 12, 1e-3, _LAST)
    )
