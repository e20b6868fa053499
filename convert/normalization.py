"""How a training scaled its pixels: told by looking, or applied as the first step of the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, get_args

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Normalization = Literal["0-1", "-1-1", "imagenet", "imagenet-caffe", "per-image", "none"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)

Floats = NDArray[np.float32]

# Means and deviations of ImageNet's channels on the scale 0 to 1, as torchvision publishes them.
_IMAGENET_MEAN: Final = np.array([0.485, 0.456, 0.406])
_IMAGENET_DEVIATION: Final = np.array([0.229, 0.224, 0.225])
# Those of Caffe's networks: R, G, B on the scale 0 to 255, subtracted; the network gets B, G, R.
_CAFFE_MEAN: Final = np.array([123.68, 116.779, 103.939])
# Luma of ITU-R BT.601, by which OpenCV, Pillow and Keras make grey of colours.
_GREY: Final = np.array([0.299, 0.587, 0.114])

_BACKBONES: Final = {
    "imagenet-caffe": ("vgg", "resnet50", "resnet101", "resnet152"),
    "imagenet": ("densenet",),
    "-1-1": ("mobilenet", "inception", "xception", "nasnet", "resnetv2", "resnet50v2"),
}


def prepare(pixels: Any, how: Normalization, channels: int) -> Any:
    """Raw R, G, B of 0 to 255 as a model was trained to see them.

    All but `per-image` is one convolution of width one, which an integer graph does in a single rounding.

    Args:
        pixels: n × height × width × 3.
        how: what the training did.
        channels: 3, or 1 for a model of grey pictures.
    """
    mixed = _GREY[:, np.newaxis] if channels == 1 else np.eye(3)
    scale, offset = np.ones(channels), np.zeros(channels)
    if how == "0-1":
        scale = scale / 255
    elif how == "-1-1":
        scale, offset = scale / 127.5, offset - 1
    elif how == "imagenet":
        scale, offset = 1 / (255 * _IMAGENET_DEVIATION), -_IMAGENET_MEAN / _IMAGENET_DEVIATION
    elif how == "imagenet-caffe":
        mixed, offset = mixed[:, ::-1], -_CAFFE_MEAN[::-1]
    if channels == 1 or how not in ("per-image", "none"):
        kernel = tf.constant((mixed * scale)[np.newaxis, np.newaxis], tf.float32)
        pixels = tf.nn.conv2d(pixels, kernel, 1, "VALID")
        if offset.any():
            pixels = tf.nn.bias_add(pixels, tf.constant(offset, tf.float32))
    return _per_image(pixels) if how == "per-image" else pixels


def _per_image(pixels: Any) -> Any:
    """Each picture less its mean, over its deviation, all channels together."""
    centred = pixels - tf.reduce_mean(pixels, (1, 2, 3), keepdims=True)
    variance = tf.reduce_mean(centred * centred, (1, 2, 3), keepdims=True)
    return centred * tf.math.rsqrt(variance + 1e-6)


def scaled_already(seen: Floats) -> bool:
    """Whether what a network's first layer sees of raw pixels has been scaled: small numbers, or Caffe's centred ones.

    Args:
        seen: what it sees of a picture with values from 0 to 255, see `graph.first_seen`.
    """
    small = bool(np.abs(seen).max() <= 10)
    centred = bool(seen.min() >= -160 and seen.max() <= 160)
    return small or centred


def hint(names: Iterable[str]) -> str:
    """What the name of a well-known backbone among a model's layers says of its normalisation, or nothing."""
    for name in names:
        plain = name.lower().replace("_", "")
        for how, backbones in reversed(_BACKBONES.items()):
            known = next((backbone for backbone in backbones if backbone in plain), None)
            if known:
                return (
                    f" ({name}: if it was trained with keras.applications' preprocess_input, that is {how})"
                )
    return ""
