"""The LeakyReLU network: four blocks of convolution, then layers of 512, 256 and 128 with falling dropout.

Leaky rectifiers (Maas et al. 2013, ICML) keep a slope where a rectifier has none. Most of its weights lie in
the first dense layer, so it is the largest file of the networks that start from chance.
"""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage

_FILTERS = (16, 32, 64, 64)
_DENSE = ((512, 0.5), (256, 0.4), (128, 0.3))
_SLOPE = 0.1


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The LeakyReLU network; `weights` does not apply, it starts from chance."""
    del weights
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(-1 / 80, offset=240 / 80, name="scale")(pixels)
    for block, filters in enumerate(_FILTERS, start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{block}")(x)
        x = keras.layers.BatchNormalization(momentum=0.98, name=f"norm{block}")(x)
        x = keras.layers.LeakyReLU(negative_slope=_SLOPE, name=f"leaky{block}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{block}")(x)
    x = keras.layers.Flatten(name="flat")(x)
    for number, (units, dropout) in enumerate(_DENSE, start=1):
        last = number == len(_DENSE)
        x = keras.layers.Dense(units, name=f"dense{number}")(x)
        x = keras.layers.LeakyReLU(
            negative_slope=_SLOPE, name="embedding" if last else f"leaky_dense{number}"
        )(x)
        x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    return Architecture(keras.Model(pixels, logits, name="leaky_cnn"), (Stage("all layers", 30, 1e-3),))
