"""What other microscopes do to a cell: turn, zoom, stain, light, focus; drawn anew for every picture.

Colour is varied in optical density, where stains mix linearly (Tellez et al. 2019, Medical Image Analysis
58, 101544, found stain augmentation to matter most for other sites): each channel's density takes a part
of the others' and a gain of its own.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.windows import MARGIN

WHOLE_ZOOM = 1.5
"""A portrait taken whole shows about this much more than a located crop."""

_WHITE = 240.0


def augment(windows: Any, size: int, whole_share: float, strength: float = 1.0) -> Any:
    """A batch of training crops.

    Args:
        windows: n × side × side × 3 uint8, side = `MARGIN` × size.
        size: side of the crops in pixels.
        whole_share: share of crops, 0 to 1, zoomed out as far as a portrait that is taken whole.
        strength: of the changes to stain and focus, 0 to 1; a small network cannot learn as many as a large one.

    Returns:
        n × size × size × 3 float32, 0 to 255, as the model takes them.
    """
    count = tf.shape(windows)[0]
    pictures = _place(tf.cast(windows, tf.float32), count, size, whole_share)
    pictures = _stain(pictures, count, strength)
    pictures = _focus(pictures, count, 0.5 * strength)
    pictures += tf.random.normal(tf.shape(pictures), stddev=1.0) * _uniform(count, 0.0, 4.0)
    return tf.clip_by_value(pictures, 0.0, 255.0)


def _uniform(count: Any, low: float, high: float) -> Any:
    return tf.random.uniform([count, 1, 1, 1], low, high)


def _sometimes(count: Any, share: float) -> Any:
    return tf.cast(tf.random.uniform([count, 1, 1, 1]) < share, tf.float32)


def _place(windows: Any, count: Any, size: int, whole_share: float) -> Any:
    """Turn by any angle, flip, zoom by a seventh or so, shift by up to a twelfth.

    The zoom covers what the ruler gets wrong, and that a cell spreads wider on one site's smears.
    """
    angle = tf.random.uniform([count], 0.0, 6.2831853)
    zoom = tf.exp(tf.random.normal([count], stddev=0.14))
    zoom *= tf.where(tf.random.uniform([count]) < whole_share, WHOLE_ZOOM, 1.0)
    flip = tf.where(tf.random.uniform([count]) < 0.5, -1.0, 1.0)
    cosine, sine = tf.cos(angle) * zoom, tf.sin(angle) * zoom
    middle_in, middle_out = (MARGIN * size - 1) / 2, (size - 1) / 2
    shift = tf.random.uniform([2, count], -size / 12, size / 12)
    zero = tf.zeros([count])
    matrix = tf.stack(
        [
            cosine * flip,
            -sine,
            middle_in + shift[0] - cosine * flip * middle_out + sine * middle_out,
            sine * flip,
            cosine,
            middle_in + shift[1] - sine * flip * middle_out - cosine * middle_out,
            zero,
            zero,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=windows,
        transforms=matrix,
        output_shape=[size, size],
        fill_value=_WHITE,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _stain(pictures: Any, count: Any, most: float) -> Any:
    """Another dye, another staining time, another lamp. A third of the pictures stay nearly as they are.

    The ranges cover what sites differ by: nuclei of BCCD are half as dense as Acevedo's, Raabin's a third
    denser.
    """
    strength = most * (0.15 + 0.85 * _sometimes(count, 0.67))
    mixing = tf.random.normal([count, 3, 3], stddev=0.13) * strength[:, 0]
    gain = _uniform(count, -0.9, 0.4) + tf.random.normal([count, 1, 1, 3], stddev=0.13)
    density = tf.math.log(_WHITE + 1.0) - tf.math.log(pictures + 1.0)
    flat = tf.reshape(density, [count, -1, 3])
    density += tf.reshape(flat @ mixing, tf.shape(density))
    density *= tf.exp(gain * strength)
    lamp = 1.0 + tf.random.normal([count, 1, 1, 3], stddev=0.03) * strength
    return lamp * ((_WHITE + 1.0) * tf.exp(-density) - 1.0)


def _focus(pictures: Any, count: Any, share: float) -> Any:
    """Out of focus or of low resolution, in a share of the pictures: a blur of up to 3 pixels."""
    kernel = tf.constant([1.0, 4.0, 6.0, 4.0, 1.0]) / 16

    def blur(values: Any, apart: int) -> Any:
        for shape in ([5, 1, 1, 1], [1, 5, 1, 1]):
            taps = tf.tile(tf.reshape(kernel, shape), [1, 1, 3, 1])
            reach = [2 * apart if n == 5 else 0 for n in shape[:2]]
            padded = tf.pad(values, [[0, 0], [reach[0]] * 2, [reach[1]] * 2, [0, 0]], mode="REFLECT")
            values = tf.nn.depthwise_conv2d(padded, taps, [1, 1, 1, 1], "VALID", dilations=[apart, apart])
        return values

    once = blur(pictures, 1)
    twice = blur(once, 2)
    thrice = blur(twice, 2)
    level = tf.random.uniform([count, 1, 1, 1])
    blurred = tf.where(level < 0.4, once, tf.where(level < 0.75, twice, thrice))
    amount = _sometimes(count, share) * _uniform(count, 0.4, 1.0)
    return pictures + amount * (blurred - pictures)
