"""The trained model to be converted: loaded without running its code, taken apart into what a bundle needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConversionError

Normalization = Literal["0-1", "-1-1", "imagenet", "per-image", "none"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)

# Means and deviations of ImageNet's channels on the scale 0 to 1, as torchvision publishes them.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """A trained model, ready to be converted.

    Attributes:
        graph: a Keras model from raw pixels, 0 to 255, to probabilities, embedding and feature map.
        size: side of its input in pixels.
        weights: embedding × outputs, of its linear head.
        bias: outputs.
        names: what the outputs stand for, in order; `other…` stands for no class.
        architecture: the Keras model's name.
    """

    graph: Any
    size: int
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    names: tuple[str, ...]
    architecture: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The outputs that are classes."""
        return tuple(name for name in self.names if not name.startswith("other"))

    @property
    def others(self) -> tuple[str, ...]:
        """The outputs that stand for no class."""
        return tuple(name for name in self.names if name.startswith("other"))


def load(path: Path, classes: tuple[str, ...] | None, normalization: Normalization | None) -> Original:
    """Load a Keras model and find its head.

    Args:
        path: `.keras` or `.h5`. Files that carry code (Lambda layers, custom objects) are refused.
        classes: names of the outputs in order; None reads `labels.json` beside the model.
        normalization: what the model expects its pixels to be; None for a model that scales them itself.

    Raises:
        ConversionError: it cannot be loaded, is more than a body, global average pooling and one linear
            layer, or names or normalisation are needed and not given.
    """
    if not path.is_file():
        raise ConversionError(f"{path}: no such file")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"{path}: Keras cannot load it: {why}") from error
    names = classes or _names_beside(path)
    head, pooling = _head(model, path)
    weights, bias = (np.asarray(part, np.float32) for part in head.get_weights())
    if len(names) != len(bias):
        raise ConversionError(
            f"{path}: has {len(bias)} outputs, but {len(names)} classes are named: {', '.join(names)}"
        )
    if len(set(names)) < len(names) or not all(names):
        raise ConversionError(f"{path}: each class needs a name of its own, not: {', '.join(names)}")
    if sum(not name.startswith("other") for name in names) < 2:
        raise ConversionError(f"{path}: needs at least two classes besides other")
    # Classes first, the rest behind them, whatever the order in which the model was trained.
    order = sorted(range(len(names)), key=lambda i: names[i].startswith("other"))
    graph, size = _graph(model, head, pooling, normalization, order, path)
    ordered = tuple(names[i] for i in order)
    return Original(graph, size, weights[:, order], bias[order], ordered, str(model.name))


def _names_beside(path: Path) -> tuple[str, ...]:
    labels = path.with_name("labels.json")
    if not labels.is_file():
        raise ConversionError(f"{path}: name its outputs in their order: --classes basophil,eosinophil,…")
    return tuple(json.loads(labels.read_text("utf-8")))


def _head(model: Any, path: Path) -> tuple[Any, Any]:
    """The linear head and the pooling before it, with at most dropout in between."""
    passed = keras.layers.Dropout, keras.layers.Activation, keras.layers.Softmax
    layers = [layer for layer in model.layers if not isinstance(layer, passed)]
    if len(layers) < 3 or not isinstance(layers[-1], keras.layers.Dense) or layers[-1].bias is None:
        raise ConversionError(f"{path}: its last layer must be a dense one with a bias")
    if not isinstance(layers[-2], keras.layers.GlobalAveragePooling2D):
        raise ConversionError(
            f"{path}: before its last layer there must be global average pooling, not {layers[-2].name}"
        )
    return layers[-1], layers[-2]


def _graph(
    model: Any, head: Any, pooling: Any, normalization: Normalization | None, order: list[int], path: Path
) -> tuple[Any, int]:
    shape = model.input_shape
    if len(model.outputs) != 1:
        raise ConversionError(f"{path}: has {len(model.outputs)} outputs of its own; one is taken")
    if not (len(shape) == 4 and shape[1] and shape[1] == shape[2] and shape[3] == 3):
        raise ConversionError(
            f"{path}: takes {shape[1:]}; only square R, G, B pictures of a fixed size are taken"
        )
    scales_itself = any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers[:3])
    if normalization is None and not scales_itself:
        choices = ", ".join(NORMALIZATIONS)
        raise ConversionError(
            f"{path}: how its pixels were scaled cannot be read off it: --normalization {choices}"
        )
    body = keras.Model(model.inputs[0], [pooling.input, pooling.output])
    pixels = keras.Input(shape[1:], name="pixels")
    features, embedding = body(normalize(pixels, normalization or "none"))
    ordered = keras.layers.Dense(len(order), activation="softmax", name="head")
    probabilities = ordered(embedding)
    weights, bias = head.get_weights()
    ordered.set_weights([weights[:, order], bias[order]])
    graph = keras.Model(pixels, [probabilities, embedding, features])
    _check_parts(model, graph, normalization, order, path)
    return graph, int(shape[1])


def _check_parts(
    model: Any, graph: Any, normalization: Normalization | None, order: list[int], path: Path
) -> None:
    """Refuse a model that answers otherwise than its parts do, put together again."""
    noise = np.random.default_rng(0).integers(0, 256, (8, *model.input_shape[1:])).astype(np.float32)
    twin = keras.Model(model.inputs[0], model.outputs[0])  # however the model wants its input wrapped
    whole = np.asarray(twin(normalize(noise, normalization or "none"), training=False), np.float32)[:, order]
    parts = np.asarray(graph(noise, training=False)[0])
    softmax = np.exp(whole - whole.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    if not any(np.allclose(answer, parts, atol=0.01) for answer in (whole, softmax)):
        raise ConversionError(
            f"{path}: does more at its end than pooling, one dense layer and at most a softmax"
        )


def normalize(pixels: Any, how: Normalization) -> Any:
    """Raw pixels, 0 to 255, on the scale that a model was trained with."""
    if how == "none":
        return pixels
    if how == "0-1":
        return keras.layers.Rescaling(1 / 255)(pixels)
    if how == "-1-1":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    if how == "imagenet":
        scale = [1 / (255 * d) for d in _IMAGENET_DEVIATION]
        offset = [-m / d for m, d in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset)(pixels)
    mean = keras.ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
    deviation = keras.ops.std(pixels, axis=(1, 2, 3), keepdims=True)
    return (pixels - mean) / keras.ops.maximum(deviation, 1e-3)
