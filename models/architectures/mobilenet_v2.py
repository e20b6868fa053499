"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), width 1.0, from ImageNet weights; all of it learns."""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage, normalisations

HEAD = Stage("head", 1, 3e-3, ("logits",))
"""First the new head learns alone, lest its first guesses spoil the backbone."""


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The network with its pretrained backbone and a new head: first the head learns, then all of it."""
    return staged("mobilenet_v2", outputs, size, weights, HEAD, Stage("all layers", 20, 4e-4))


def staged(name: str, outputs: int, size: int, weights: str, *stages: Stage) -> Architecture:
    """The network with a training of one's own.

    Batch statistics of mixed stains fit no single site (Tsutsui et al. 2023, arXiv:2303.01777): the
    normalisations keep those of ImageNet and are constants, in training as on the device.
    """
    backbone = keras.applications.MobileNetV2(
        weights="imagenet" if weights == "imagenet" else None, include_top=False, input_shape=(size, size, 3)
    )
    if weights not in ("imagenet", "none"):
        backbone.load_weights(weights)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
    x = backbone(x)
    x = keras.layers.Activation("linear", name="features")(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    model = keras.Model(pixels, logits, name=name)
    return Architecture(model, stages, normalisations(backbone))
