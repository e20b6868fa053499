"""The strided network: five 3 × 3 convolutions with stride 2 and 4, 8, 16, 32, 64 filters, and a layer of 8.

Convolutions with stride in place of pooling (Springenberg et al. 2015, arXiv:1412.6806), each with batch
normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167): the smallest of the networks by far, for a board
that has nothing to spare.
"""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage

_FILTERS = (4, 8, 16, 32, 64)
_DENSE = 8


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The strided network; `weights` does not apply, it starts from chance."""
    del weights
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(-1 / 80, offset=240 / 80, name="scale")(pixels)
    for block, filters in enumerate(_FILTERS, start=1):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{block}")(x)
        x = keras.layers.BatchNormalization(momentum=0.98, name=f"norm{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(x)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(_DENSE, activation="relu", name="embedding")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    return Architecture(keras.Model(pixels, logits, name="strided_cnn"), (Stage("all layers", 40, 2e-3),))
