"""The networks, a file each. Every one maps raw R, G, B of 0 to 255 to class logits.

Scaling the pixels is the first layer, so that nobody can forget it. The last is one linear layer named
`logits`; what goes into it is named `embedding`, and shows what is unfamiliar. Where that is the global average of a
feature map named `features`, a class activation map is the feature map times the head's weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edge.errors import DataError

NAMES = (
    "cnn",
    "strided_cnn",
    "enhanced_cnn",
    "leaky_cnn",
    "mobilenet_v2",
    "mobilenet_v2_head",
    "mobilenet_v2_last_block",
    "efficientnet_b0",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training run.

    Attributes:
        name: shown while it runs.
        epochs: how long.
        rate: highest learning rate, reached after a short warm-up and falling to nothing along a cosine.
        trainable: what the names of the layers that learn begin with, inside a backbone too; None for all.
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
        frozen: names of layers that never learn: the normalisations of a pretrained backbone.
    """

    model: Any
    stages: tuple[Stage, ...]
    frozen: frozenset[str] = frozenset()


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


def release(architecture: Architecture, stage: Stage) -> None:
    """Let the layers learn that a stage names, and no others."""
    for layer in leaves(architecture.model):
        named = stage.trainable is None or layer.name.startswith(stage.trainable)
        layer.trainable = named and layer.name not in architecture.frozen


def normalisations(backbone: Any) -> frozenset[str]:
    """The names of a backbone's batch normalisations."""
    return frozenset(layer.name for layer in leaves(backbone) if type(layer).__name__ == "BatchNormalization")


def leaves(model: Any) -> Iterator[Any]:
    """The layers of a network, those inside a backbone in its place."""
    for layer in model.layers:
        inner = getattr(layer, "layers", None)
        if inner:
            yield from leaves(layer)
        else:
            yield layer
