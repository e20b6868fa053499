"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), width 1.0, from ImageNet weights."""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The network with its pretrained backbone and a new head: first the head learns, then all of it."""
    backbone = keras.applications.MobileNetV2(
        weights="imagenet" if weights == "imagenet" else None, include_top=False, input_shape=(size, size, 3)
    )
    if weights not in ("imagenet", "none"):
        backbone.load_weights(weights)
    # Batch statistics of mixed stains fit no single site (Tsutsui et al. 2023, arXiv:2303.01777): the
    # normalisations keep those of ImageNet and are constants, in training as on the device.
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(pixels)
    x = backbone(x)
    x = keras.layers.Activation("linear", name="features")(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    stages = (Stage("head", 1, 3e-3, ("logits",)), Stage("all layers", 20, 4e-4))
    return Architecture(keras.Model(pixels, logits, name="mobilenet_v2"), stages)
