"""EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946): swish, squeeze and excitation, from ImageNet weights."""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage, normalisations


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The network with its pretrained backbone and a new head, or from chance where `weights` is `none`.

    The backbone scales its pixels itself. Pretrained, its normalisations stay as they are, as in
    `mobilenet_v2`; from chance they must learn.
    """
    pretrained = weights != "none"
    backbone = keras.applications.EfficientNetB0(
        weights="imagenet" if weights == "imagenet" else None, include_top=False, input_shape=(size, size, 3)
    )
    if weights not in ("imagenet", "none"):
        backbone.load_weights(weights)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Activation("linear", name="features")(backbone(pixels))
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    model = keras.Model(pixels, logits, name="efficientnet_b0")
    if not pretrained:
        return Architecture(model, (Stage("all layers", 40, 2e-3),))
    stages = (Stage("head", 1, 3e-3, ("logits",)), Stage("all layers", 20, 4e-4))
    return Architecture(model, stages, normalisations(backbone))
