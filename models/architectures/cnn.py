"""The compact network: five blocks of 3 × 3 convolution, ReLU, max pooling and dropout.

VGG's idea (Simonyan and Zisserman 2015, arXiv:1409.1556) at a size that a small board runs in passing.
"""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage

_FILTERS = (24, 48, 96, 128, 192)
_DROPOUT = 0.3


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The compact network; `weights` does not apply, it starts from chance."""
    del weights
    pixels = keras.Input((size, size, 3), name="pixels")
    # Plasma, which is most of a crop, becomes 0, a nucleus about 2.7.
    x = keras.layers.Rescaling(-1 / 80, offset=240 / 80, name="scale")(pixels)
    for block, filters in enumerate(_FILTERS, start=1):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{block}"
        )(x)
        # Only training sees it: conversion folds it into the convolution before it.
        x = keras.layers.BatchNormalization(momentum=0.98, name=f"norm{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(x)
        last = block == len(_FILTERS)
        x = keras.layers.MaxPooling2D(name="features" if last else f"pool{block}")(x)
        x = keras.layers.Dropout(_DROPOUT, name=f"dropout{block}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    return Architecture(keras.Model(pixels, logits, name="cnn"), (Stage("all layers", 40, 1.5e-3),))
