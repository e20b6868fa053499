"""The enhanced network: blocks of convolution with weight decay, batch normalisation and pooling, dense 128.

What many notebooks on blood cells arrive at: VGG's blocks (Simonyan and Zisserman 2015, arXiv:1409.1556)
with L2 of 1e-4 on the kernels, batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167) and dropout
(Srivastava et al. 2014, JMLR 15, 1929-1958) before and after a hidden layer.
"""

from __future__ import annotations

import keras

from models.architectures import Architecture, Stage

_FILTERS = (32, 64, 128, 128)
_DENSE = 128
_L2 = 1e-4


def build(outputs: int, size: int, weights: str) -> Architecture:
    """The enhanced network; `weights` does not apply, it starts from chance."""
    del weights
    decay = keras.regularizers.L2(_L2)
    pixels = keras.Input((size, size, 3), name="pixels")
    x = keras.layers.Rescaling(-1 / 80, offset=240 / 80, name="scale")(pixels)
    for block, filters in enumerate(_FILTERS, start=1):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_regularizer=decay, name=f"conv{block}"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.98, name=f"norm{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{block}")(x)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dropout(0.25, name="dropout1")(x)
    x = keras.layers.Dense(_DENSE, activation="relu", kernel_regularizer=decay, name="embedding")(x)
    x = keras.layers.Dropout(0.5, name="dropout2")(x)
    logits = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    return Architecture(keras.Model(pixels, logits, name="enhanced_cnn"), (Stage("all layers", 30, 1e-3),))
