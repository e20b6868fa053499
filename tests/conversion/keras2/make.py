"""How the models beside this file were made, with Keras 2 itself: `pip install tf_keras`, then run this file.

Each is what a laboratory's older script leaves behind, small and untrained, its normalisation's statistics made
uneven so that a mixed-up weight shows. `answers.npz` holds pictures, and what Keras 2 itself answers to them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

HERE = Path(__file__).parent
SIZE = 32
layers = keras.layers


def old_sequential() -> Any:
    """The plain script: no Input layer, a stack of convolutions, flatten, dense, dropout; compiled and used."""
    return keras.Sequential([
        layers.Conv2D(8, (3, 3), activation="relu", input_shape=(SIZE, SIZE, 3)),
        layers.MaxPooling2D((2, 2)),
        layers.BatchNormalization(),
        layers.Conv2D(12, (3, 3), kernel_regularizer=keras.regularizers.l2(1e-4)),
        layers.LeakyReLU(alpha=0.1),
        layers.MaxPooling2D((2, 2)),
        layers.Flatten(),
        layers.Dense(16, activation="relu", kernel_initializer="he_normal"),
        layers.Dropout(0.5),
        layers.Dense(4, activation="softmax"),
    ])  # fmt: skip


def frozen_backbone() -> Any:
    """Transfer learning by the book: the scaling as operations, a frozen network inside, pooling and a new head."""
    inner = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inner)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(16, 1)(x)
    backbone = keras.Model(inner, x, name="mobilenetv2_like")
    backbone.trainable = False
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.applications.mobilenet_v2.preprocess_input(pixels)
    x = backbone(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(pixels, layers.Dense(8)(x))


def caffe_scaling() -> Any:
    """As for VGG16: blue, green, red, less their means, by indexing and adding between the layers."""
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.applications.vgg16.preprocess_input(pixels)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    return keras.Model(pixels, layers.Dense(5, activation="softmax")(layers.GlobalMaxPooling2D()(x * 0.01)))


def squeeze_excite() -> Any:
    """Swish, separable convolutions and squeeze-excite, added and multiplied as EfficientNet does."""
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.SeparableConv2D(8, 3, strides=2, activation="swish")(x)
    squeezed = layers.GlobalAveragePooling2D()(x)
    squeezed = layers.Reshape((1, 1, 8))(squeezed)
    squeezed = layers.Conv2D(2, 1, activation="swish")(squeezed)
    x = layers.multiply([x, layers.Conv2D(8, 1, activation="sigmoid")(squeezed)])
    y = layers.Conv2D(8, 3, padding="same", activation=layers.LeakyReLU(0.2))(x)
    x = layers.add([x, y])
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(pixels, layers.Dense(5, activation="softmax")(x))


def tutorial() -> Any:
    """As the beginner's tutorial has it: augmentation and scaling inside, logits out."""
    augmentation = keras.Sequential([
        layers.RandomFlip("horizontal", input_shape=(SIZE, SIZE, 3)),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
    ])  # fmt: skip
    return keras.Sequential([
        augmentation,
        layers.Rescaling(1.0 / 255),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.AveragePooling2D(),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5),
    ])  # fmt: skip


def with_lambda() -> Any:
    """The scaling as a function of the script's own."""
    # Compiled apart: the file holds its code, and with that the name of the file that it was written in.
    scale = eval(compile("lambda x: x / 255.0", "theirs.py", "eval"))
    return keras.Sequential([
        layers.Lambda(scale, input_shape=(SIZE, SIZE, 3), name="scale_pixels"),
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5, activation="softmax"),
    ])  # fmt: skip


MADE: dict[str, Callable[[], Any]] = {
    "old_sequential.h5": old_sequential,
    "frozen_backbone.h5": frozen_backbone,
    "caffe_scaling.h5": caffe_scaling,
    "squeeze_excite.h5": squeeze_excite,
    "squeeze_excite.keras": squeeze_excite,
    "tutorial.h5": tutorial,
    "with_lambda.h5": with_lambda,
}


def leaves(model: Any) -> Iterator[Any]:
    """The layers of a model, those of models within it too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


def main() -> None:
    """Write every model, and the answers to eight pictures scaled as each expects them."""
    random.seed(3)
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, (8, 4, 4, 3)).astype(np.float32)
    pictures = tf.image.resize(coarse, (SIZE, SIZE)).numpy().astype(np.uint8)
    answers: dict[str, Any] = {"pictures": pictures}
    for file, make in MADE.items():
        keras.backend.clear_session()
        keras.utils.set_random_seed(7)
        model = make()
        for layer in leaves(model):
            if isinstance(layer, layers.BatchNormalization):
                layer.set_weights([generator.uniform(0.4, 1.6, w.shape) for w in layer.get_weights()])
        model.compile(keras.optimizers.legacy.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"])
        model.save(HERE / file)
        fed = pictures / 255 if file.startswith("old") else pictures.astype(np.float32)
        answers[file] = model.predict(fed, verbose=0)
    np.savez_compressed(HERE / "answers.npz", **answers)


if __name__ == "__main__":
    main()
