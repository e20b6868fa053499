"""A small model that knows its pictures, and other people's ways of writing it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from smears import folder_a_class

from models.datasets import CLASSES, OTHER, read
from models.windows import Windows, cut

SIZE = 32
NAMES = (*CLASSES, OTHER)
CAFFE = np.array([123.68, 116.779, 103.939])

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """A data set, its crops, and the layers of a small network fitted to them, which take −1 to 1."""

    folder: Path
    training: Windows
    held_out: Windows
    convolutions: tuple[Any, ...]
    dense: Any

    def model(
        self,
        fed: str = "scales itself",
        *,
        activation: str = "linear",
        order: tuple[str, ...] = NAMES,
        pooled: Callable[[Any], Any] | None = None,
        name: str = "site_net",
    ) -> Any:
        """The network with a first layer that undoes what its pixels are fed as.

        Args:
            fed: a normalisation, or `scales itself`.
            activation: of the head.
            order: of the outputs.
            pooled: what to put between the pooling and the head.
            name: of the model.
        """
        import keras

        pixels = keras.Input((SIZE, SIZE, 3))
        x = first(fed)(pixels)
        for layer in self.convolutions:
            copy = type(layer).from_config(layer.get_config())
            x = copy(x)
            copy.set_weights(layer.get_weights())
        x = keras.layers.GlobalAveragePooling2D()(x)
        if pooled:
            x = pooled(x)
        head = keras.layers.Dense(len(order), activation=activation)
        outputs = head(x)
        weights, bias = self.dense.get_weights()
        chosen = [NAMES.index(each) for each in order]
        head.set_weights([weights[:, chosen], bias[chosen]])
        return keras.Model(pixels, outputs, name=name)


def first(fed: str) -> Any:
    """A layer that brings pixels that are fed in some way to −1 to 1."""
    import keras

    if fed == "scales itself":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0)
    deviation = np.array([0.229, 0.224, 0.225]) if fed == "imagenet" else np.ones(3)
    mean = np.array([0.485, 0.456, 0.406]) if fed == "imagenet" else np.zeros(3)
    scale, offset = {
        "0-1": (2 * np.ones(3), -np.ones(3)),
        "-1-1": (np.ones(3), np.zeros(3)),
        "imagenet": (2 * deviation, 2 * mean - 1),
        "per-image": (np.full(3, 0.4), np.full(3, 0.4)),
        "imagenet-caffe": (np.full(3, 1 / 127.5), CAFFE / 127.5 - 1),
        "none": (np.full(3, 1 / 127.5), -np.ones(3)),
    }[fed]
    layer = keras.layers.Conv2D(3, 1)
    layer.build((None, SIZE, SIZE, 3))
    kernel = np.diag(scale)[::-1] if fed == "imagenet-caffe" else np.diag(scale)
    layer.set_weights([kernel[None, None].astype(np.float32), offset.astype(np.float32)])
    return layer


def as_fed(crops: NDArray[np.uint8], fed: str) -> Pixels:
    """Crops as a training elsewhere would have scaled them."""
    pixels = crops.astype(np.float64)
    if fed == "0-1":
        pixels = pixels / 255
    elif fed == "-1-1":
        pixels = pixels / 127.5 - 1
    elif fed == "imagenet":
        pixels = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    elif fed == "imagenet-caffe":
        pixels = (pixels - CAFFE)[..., ::-1]
    elif fed == "per-image":
        flat = pixels.reshape(len(pixels), -1)
        pixels = (pixels - flat.mean(1)[:, None, None, None]) / flat.std(1)[:, None, None, None]
    return np.asarray(pixels, np.float32)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    keras = pytest.importorskip("keras", reason="conversion needs leukoscope[convert]")
    folder = folder_a_class(tmp_path_factory.mktemp("data") / "here")
    training, held_out = cut(read(folder, "train"), SIZE), cut(read(folder, "validation"), SIZE)
    keras.utils.set_random_seed(5)
    convolutions = tuple(
        keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")
        for filters in (16, 32, 48)
    )
    dense = keras.layers.Dense(len(NAMES))
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), *convolutions, keras.layers.GlobalAveragePooling2D(), dense]
    )
    # It learns the held-out ones as well: the tests ask what conversion does to a model, not how good one is.
    crops = np.concatenate([training.crops, training.whole, held_out.crops, held_out.whole])
    items = [*training.items * 2, *held_out.items * 2]
    targets = np.array([NAMES.index(item.label) for item in items])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(as_fed(crops, "-1-1"), targets, batch_size=32, epochs=60, verbose=0)
    guesses = np.asarray(model(as_fed(held_out.crops, "-1-1"))).argmax(1)
    right = (guesses == [NAMES.index(item.label) for item in held_out.items]).mean()
    assert right > 0.95, f"the small network learned only {right:.0%}: the tests below need one that knows"
    return Trained(folder, training, held_out, convolutions, dense)
