"""The networks, a file each. Every one maps raw R, G, B of 0 to 255 to class logits.

Each ends in a feature map named `features`, global average pooling named `embedding` and one linear layer
named `logits`: a class activation map is then the feature map times the head's weights, and what is
unfamiliar shows in the embedding. Scaling the pixels is the first layer, so that nobody can forget it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edge.errors import DataError

NAMES = ("cnn", "mobilenet_v2")


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training run.

    Attributes:
        name: shown while it runs.
        epochs: how long.
        rate: highest learning rate, reached after a short warm-up and falling to nothing along a cosine.
        trainable: names of the layers that learn, or None for all of them.
    """

    name: str
    epochs: int
    rate: float
    trainable: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network before training, and how it is usually trained.

    Attributes:
        model: a Keras model from size × size × 3 pixels, 0 to 255, to logits.
        stages: the usual training.
    """

    model: Any
    stages: tuple[Stage, ...]


def build(name: str, outputs: int, size: int, weights: str = "imagenet") -> Architecture:
    """Make an untrained network.

    Args:
        name: one of `NAMES`.
        outputs: how many logits.
        size: side of the input in pixels.
        weights: `imagenet` (downloaded on first use), `none`, or a file of them; ignored by networks without.

    Raises:
        DataError: there is no such architecture.
    """
    if name not in NAMES:
        raise DataError(f"no architecture {name!r}; there are: {', '.join(NAMES)}")
    architecture: Architecture = import_module(f"models.architectures.{name}").build(outputs, size, weights)
    return architecture
