"""Models as other people write them: each converts and agrees with itself, or is refused with a sentence that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs leukoscope[convert]")

import keras
from keras import layers

from convert.package import outputs_of
from convert.quantize import quantize
from convert.source import Original, load
from edge.inference.interpreter import Interpreter

# Keras hands NumPy 2 its variables the old way, and remarks on .h5 being an old format.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]

KERAS_2 = Path(__file__).parent / "keras2"
STORED = np.load(KERAS_2 / "answers.npz")
PICTURES = STORED["pictures"]
SIZE = PICTURES.shape[1]

FOUR = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
FIVE = ("basophil", *map(str.lower, FOUR))
EIGHT = (*FIVE, "ig", "erythroblast", "platelet")

Model = Any
Pixels = Any


def pixels(channels: int = 3, size: int | None = SIZE) -> Any:
    return keras.Input((size, size, channels))


def stack(*tail: Any, channels: int = 3, size: int | None = SIZE, scale: bool = True) -> Model:
    """A sequential model: a convolution, and whatever its author put behind it."""
    first = [layers.Rescaling(1 / 255)] if scale else []
    return keras.Sequential([pixels(channels, size), *first, layers.Conv2D(8, 3, activation="relu"), *tail])


def pooled(outputs: int, activation: str | None = None) -> tuple[Any, Any]:
    return layers.GlobalAveragePooling2D(), layers.Dense(outputs, activation=activation)


def functional_with_branches() -> Model:
    """Two paths that are added, and operations between layers."""
    given = pixels()
    x = (given / 127.5) - 1.0
    x = layers.Conv2D(8, 3, padding="same")(x)
    y = layers.Conv2D(8, 1)(layers.LeakyReLU(negative_slope=0.3)(x))
    x = keras.ops.relu(x + y)
    return keras.Model(given, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def nested() -> Model:
    """A functional backbone in a sequential model, with a sequential head in it."""
    inner = pixels()
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(layers.Rescaling(1 / 127.5, offset=-1)(inner))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    backbone = keras.Model(inner, x, name="backbone")
    head = keras.Sequential([*pooled(16, "relu"), layers.Dropout(0.4), layers.Dense(5)], name="head")
    return keras.Sequential([pixels(), layers.RandomFlip(), backbone, head])


def squeeze_excite() -> Model:
    given = pixels()
    x = layers.Conv2D(8, 3, activation="swish")(
        layers.Normalization(mean=[180, 150, 170], variance=[900] * 3)(given)
    )
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="silu")(gate))
    x = layers.multiply([x, gate])
    return keras.Model(given, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def convolution_head() -> Model:
    """No dense layer at all: its classes are the channels of the last convolution."""
    return stack(layers.Conv2D(5, 1), layers.GlobalAveragePooling2D(), layers.Softmax())


def transfer() -> Model:
    """Transfer learning: a frozen backbone of depthwise convolutions, its own scaling as operations before it."""
    inner = pixels()
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inner)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.add([x, layers.ReLU(6.0)(layers.BatchNormalization()(x))])
    body = keras.Model(inner, layers.Conv2D(24, 1)(x), name="body")
    body.trainable = False
    given = pixels()
    x = body(keras.applications.mobilenet_v2.preprocess_input(given), training=False)
    return keras.Model(given, layers.Dense(8)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))))


@dataclass(frozen=True)
class Habit:
    """How a model was written.

    Attributes:
        make: makes it.
        classes: what its outputs stand for.
        fed: what `--normalization` has to say; None where it can be read off the model.
        how: pictures, uint8 R, G, B, as its own training would have fed them.
        saved: the file's name, or a folder's for a SavedModel.
        explained: whether it has a feature map.
        width: of its embedding.
        ending: what its outputs are.
    """

    make: Callable[[], Model]
    classes: tuple[str, ...] = FIVE
    fed: Any = None
    how: Callable[[Pixels], Pixels] = lambda p: p
    saved: str = "model.keras"
    explained: bool = True
    width: int = 8
    ending: str = "logits"


def per_image(p: Pixels) -> Pixels:
    return (p - p.mean((1, 2, 3), keepdims=True)) / p.std((1, 2, 3), keepdims=True)


def grey(p: Pixels) -> Pixels:
    return p @ np.array([[0.299], [0.587], [0.114]])


HABITS = {
    "sequential, logits": Habit(lambda: stack(*pooled(5))),
    "functional, branches, LeakyReLU, operations": Habit(functional_with_branches),
    "nested, augmentation, batch normalisation": Habit(nested, explained=False, width=16),
    "old .h5, softmax": Habit(lambda: stack(*pooled(5, "softmax")), saved="model.h5"),
    "nested .h5": Habit(nested, saved="model.hdf5", explained=False, width=16),
    "swish and squeeze-excite": Habit(squeeze_excite),
    "four classes, flatten, dense": Habit(
        lambda: stack(layers.MaxPooling2D(4), layers.Flatten(), layers.Dense(12, activation="relu"), layers.Dense(4)),
        FOUR, explained=False, width=12,
    ),
    "flatten and nothing else": Habit(
        lambda: stack(layers.Flatten(), layers.Dense(5)), explained=False, width=5
    ),
    "eight classes, a frozen backbone": Habit(transfer, EIGHT, width=24),
    "global max pooling": Habit(lambda: stack(layers.GlobalMaxPooling2D(), layers.Dense(5)), explained=False),
    "head without bias": Habit(lambda: stack(layers.GlobalAveragePooling2D(), layers.Dense(5, use_bias=False))),
    "head of a convolution": Habit(convolution_head, width=5),
    "batch normalisation behind the head": Habit(
        lambda: stack(*pooled(5), layers.BatchNormalization(), layers.Softmax()), explained=False, width=5
    ),
    "sigmoid for each class": Habit(lambda: stack(*pooled(5, "sigmoid")), ending="sigmoid"),
    "grey pictures": Habit(
        lambda: stack(*pooled(5, "softmax"), channels=1, scale=False), fed="0-1", how=lambda p: grey(p) / 255
    ),
    "per-image": Habit(lambda: stack(*pooled(5), scale=False), fed="per-image", how=per_image),
    "0 to 1": Habit(lambda: stack(*pooled(5), scale=False), fed="0-1", how=lambda p: p / 255),
    "not scaled": Habit(lambda: stack(layers.BatchNormalization(), *pooled(5), scale=False), fed="none"),
    "SavedModel": Habit(lambda: stack(*pooled(5, "softmax")), saved="exported"),
    "SavedModel of a backbone": Habit(transfer, EIGHT, saved="exported", width=24),
    "SavedModel, grey, squeeze-excite": Habit(
        lambda: stack(layers.LeakyReLU(), *pooled(5), channels=1, scale=False), fed="-1-1", saved="exported",
        how=lambda p: grey(p) / 127.5 - 1,
    ),
}  # fmt: skip


def written(model: Model, folder: Path, name: str) -> Path:
    if "." in name:
        model.save(folder / name)
    else:
        model.export(folder / name, verbose=False)
    return folder / name


def unsettled(model: Model) -> Model:
    """A model whose normalisations' statistics and biases are no longer all alike."""
    generator = np.random.default_rng(5)
    for variable in model.weights:
        if variable.name in ("gamma", "beta", "moving_mean", "moving_variance", "bias"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


def as_probabilities(answers: Any, activation: str) -> Any:
    if activation == "softmax":
        return answers
    logits = np.log(answers / (1 - answers)) if activation == "sigmoid" else answers
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def on_the_device(original: Original, how: Any) -> Any:
    """What the converted model says of the pictures, its head applied as a device does."""
    model = quantize(original.graph, how, np.concatenate([PICTURES] * 4))
    interpreter, at = Interpreter(model), outputs_of(model)["embedding"]["position"]
    answers = []
    for picture in PICTURES:
        interpreter.invoke(picture)
        answers.append(interpreter.output(at) @ original.weights + original.bias)
    return as_probabilities(np.array(answers), "logits")


@pytest.mark.parametrize("habit", HABITS.values(), ids=list(HABITS))
def test_it_converts_and_agrees(habit: Habit, tmp_path: Path) -> None:
    keras.utils.set_random_seed(11)
    model = unsettled(habit.make())
    theirs = np.asarray(model(habit.how(PICTURES.astype(np.float64)).astype(np.float32), training=False))
    original = load(written(model, tmp_path, habit.saved), habit.classes, habit.fed)
    wanted = as_probabilities(theirs, "softmax" if np.allclose(theirs.sum(1), 1) else habit.ending)
    np.testing.assert_allclose(original.answer(PICTURES), wanted, atol=1e-4)
    assert [name.upper() for name in original.names[:4]] == [name.upper() for name in habit.classes[:4]]
    assert ("features" in original.graph.structured_outputs) == habit.explained
    assert original.weights.shape == (habit.width, len(habit.classes))
    assert original.size == SIZE
    for how, far in (("float32", 1e-4), ("int8", 0.04)):
        found = on_the_device(original, how)
        assert np.abs(found - wanted).max() < far
        sure = np.sort(wanted)[:, -1] - np.sort(wanted)[:, -2] > 2 * far
        np.testing.assert_array_equal(found.argmax(1)[sure], wanted.argmax(1)[sure])
