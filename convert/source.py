"""The trained model to be converted: loaded without running its code, taken apart into what a bundle needs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.graph import Graph, Parts, first_seen, take_apart, trace
from convert.network import Network, open_network
from convert.normalization import NORMALIZATIONS, Normalization, hint, prepare, scaled_already
from edge.datasets.taxonomy import kind_of as cell_kind
from edge.errors import ConversionError
from edge.records import Image

Floats = NDArray[np.float32]

HEAD = "head_on_the_device"
"""Scope of the last operations, which a device does by itself, in full precision."""

_SIZES = range(16, 513)  # sides of pictures that a cell can be read on, and a small board can bear


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """A trained model, ready to be converted.

    Attributes:
        graph: from one picture of raw pixels, 1 × size × size × 3, 0 to 255, to `probabilities`, `embedding` and,
            where there is a feature map, `features`: a TensorFlow function.
        answer: what the model itself says of n × size × size × 3 such pixels: n × outputs probabilities.
        size: side of its input in pixels.
        weights: embedding × outputs, of its linear head.
        bias: outputs.
        names: what the outputs stand for, in order; `other…` stands for no class.
        architecture: the model's name.
        layers: names of its layers; none of a SavedModel.
        notes: what a person should know of how it was understood, a sentence each.
    """

    graph: Any
    answer: Callable[[Image], Floats]
    size: int
    weights: Floats
    bias: Floats
    names: tuple[str, ...]
    architecture: str
    layers: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The outputs that are classes."""
        return tuple(name for name in self.names if not name.startswith("other"))

    @property
    def others(self) -> tuple[str, ...]:
        """The outputs that stand for no class."""
        return tuple(name for name in self.names if name.startswith("other"))


def load(
    path: Path,
    classes: Sequence[str] | None,
    normalization: Normalization | None,
    *,
    allowed: Iterable[str] = (),
    size: int | None = None,
) -> Original:
    """Load a trained model and find its head.

    Args:
        path: a `.keras` or `.h5` file of Keras 2 or 3, or a SavedModel's folder.
        classes: names of the outputs in order; None reads `labels.json` beside the model.
        normalization: what the model expects its pixels to be; None for a model that scales them itself.
        allowed: Lambda layers and foreign classes, by name, whose code may be run.
        size: side of the pictures in pixels, where the model takes any.

    Raises:
        ConversionError: it cannot be loaded, carries code that is not allowed, or something about it that must
            be known is not.
    """
    network = open_network(path, tuple(allowed))
    try:
        return _taken_apart(network, path, classes, normalization, size)
    except (tf.errors.OpError, ValueError, TypeError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"{path}: TensorFlow cannot run it: {why}") from error


def _taken_apart(
    network: Network,
    path: Path,
    classes: Sequence[str] | None,
    normalization: Normalization | None,
    size: int | None,
) -> Original:
    shape = _shape(network.shape, size, path)
    network_graph = trace(network.call, shape, None if network.shape[0] is None else 1)
    parts = take_apart(network_graph, path)
    names = _names(classes or _names_beside(path), len(parts.bias), path)
    # Classes first, the rest behind them, whatever the order in which the model was trained.
    order = sorted(range(len(names)), key=lambda i: names[i].startswith("other"))
    how, notes = _normalization(network_graph, normalization, network, path)

    def fed(pixels: Any) -> Any:
        with tf.name_scope("normalization"):
            return prepare(pixels, how, shape[2])

    graph = _graph(network_graph, parts, fed, shape[0], order)
    answer = _answers(network_graph, parts, fed, order)
    _check_parts(graph, answer, shape[0], path)
    if parts.ending == "sigmoid":
        notes += ("its sigmoid outputs, one a class, are read as a choice among the classes",)
    if "features" not in graph.structured_outputs:
        notes += ("it has no average pooling before a linear head: explanations are made by occlusion",)
    return Original(
        graph,
        answer,
        shape[0],
        parts.weights[:, order],
        parts.bias[order],
        tuple(names[i] for i in order),
        # It names a folder where nobody says another: no path, whatever the file says.
        re.sub(r"[^A-Za-z0-9_-]+", "_", network.name).strip("_")[:60] or "model",
        network.layers,
        notes,
    )


def _shape(shape: tuple[int | None, ...], size: int | None, path: Path) -> tuple[int, int, int]:
    """Height, width and channels of the pictures."""
    if len(shape) != 4:
        raise ConversionError(f"{path}: takes {shape[1:]}, which is no picture of height × width × channels")
    if shape[0] not in (None, 1):
        raise ConversionError(
            f"{path}: takes {shape[0]} pictures at a time only; save it with a batch of any size"
        )
    _, height, width, channels = shape
    if shape[1] in (1, 3) and channels not in (1, 3):
        raise ConversionError(
            f"{path}: takes its channels first ({shape[1]} × {width} × {channels}), which neither TensorFlow on a "
            "processor nor TFLite can run: build the same network with data_format='channels_last' and set the same "
            "weights (theirs.get_weights fits), then save that"
        )
    if channels not in (1, 3):
        raise ConversionError(f"{path}: takes {channels} channels; R, G, B or grey is taken")
    if height is None and width is None:
        height = width = size
        if size is None:
            raise ConversionError(
                f"{path}: takes pictures of any size: say which it was trained on with --size 128"
            )
    if height is None or height != width:
        raise ConversionError(
            f"{path}: takes pictures of {height} × {width}; a device cuts cells out square: train it on square ones"
        )
    if size not in (None, height):
        raise ConversionError(f"{path}: takes pictures of {height} × {height}, not of {size} × {size}")
    if height not in _SIZES:
        raise ConversionError(f"{path}: takes pictures of {height} × {height}; 16 to 512 pixels are taken")
    return height, height, channels


def _names_beside(path: Path) -> tuple[str, ...]:
    labels = path.with_name("labels.json")
    if not labels.is_file():
        raise ConversionError(f"{path}: name its outputs in their order: --classes basophil,eosinophil,…")
    try:
        return tuple(str(name) for name in json.loads(labels.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ConversionError(f"{labels}: is no JSON list of names: {error}") from error


def _names(given: Sequence[str], outputs: int, path: Path) -> tuple[str, ...]:
    written = [name.strip().lower() for name in given]
    names = tuple(name if name.startswith("other") else cell_kind(name) for name in written)
    if outputs == 1:
        raise ConversionError(
            f"{path}: has a single output, which tells two kinds apart; a classifier has one a class"
        )
    if len(names) != outputs:
        raise ConversionError(
            f"{path}: has {outputs} outputs, but {len(names)} classes are named: {', '.join(names)}"
        )
    if len(set(names)) < len(names) or not all(names):
        raise ConversionError(f"{path}: each class needs a name of its own, not: {', '.join(names)}")
    if sum(not name.startswith("other") for name in names) < 2:
        raise ConversionError(f"{path}: needs at least two classes besides other")
    return names


def _normalization(
    graph: Graph, given: Normalization | None, network: Network, path: Path
) -> tuple[Normalization, tuple[str, ...]]:
    """How pixels are scaled before the network, and what to say about it."""
    shape = tuple(graph.pixels.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape)
    seen = tf.function(graph.part(first_seen(graph)))
    steps = [
        seen(tf.constant(step[None], tf.float32)) for step in (noise, np.zeros(shape), np.full(shape, 255))
    ]
    itself = all(scaled_already(np.asarray(*step)) for step in steps)
    if given is None and not itself:
        raise ConversionError(
            f"{path}: how its pixels were scaled cannot be read off it: --normalization {', '.join(NORMALIZATIONS)}"
            + hint((network.name, *network.layers))
        )
    if given in ("imagenet", "imagenet-caffe") and shape[2] == 1:
        raise ConversionError(f"{path}: takes grey pictures; {given} is a scaling of colours")
    if given not in (None, "none") and itself:
        return given, ("it scales pixels itself, and gets them scaled: right only if its training did both",)
    return given or "none", ()


def _graph(graph: Graph, parts: Parts, fed: Callable[[Any], Any], size: int, order: list[int]) -> Any:
    """The parts as a function of one picture, with named outputs."""
    inner = graph.part(parts.embedding, *([] if parts.features is None else [parts.features]))
    weights, bias = tf.constant(parts.weights[:, order]), tf.constant(parts.bias[order])

    def outputs(pixels: Any) -> dict[str, Any]:
        embedding, *features = inner(fed(pixels))
        with tf.name_scope(HEAD):
            probabilities = tf.nn.softmax(embedding @ weights + bias)
        named = {"probabilities": probabilities, "embedding": embedding}
        return {**named, "features": features[0]} if features else named

    pixels = tf.TensorSpec([1, size, size, 3], tf.float32, "pixels")
    return tf.function(outputs, input_signature=[pixels], autograph=False).get_concrete_function()


def _answers(
    graph: Graph, parts: Parts, fed: Callable[[Any], Any], order: list[int]
) -> Callable[[Image], Floats]:
    """The network as it was trained, fed as it was trained."""
    logits = tf.function(graph.part(parts.logits), reduce_retracing=True)
    at_once = graph.pixels.shape[0] or 64

    def answer(pixels: Image) -> Floats:
        rows = [tf.constant(pixels[i : i + at_once], tf.float32) for i in range(0, len(pixels), at_once)]
        found = np.concatenate([np.asarray(*logits(fed(row))) for row in rows])
        return np.asarray(tf.nn.softmax(found[:, order]), np.float32)

    return answer


def _check_parts(graph: Any, answer: Callable[[Image], Floats], size: int, path: Path) -> None:
    """Refuse a model that answers otherwise than its parts do, put together again."""
    noise = np.random.default_rng(0).integers(0, 256, (4, size, size, 3)).astype(np.uint8)
    rows = [graph(pixels=tf.constant(row[None], tf.float32)) for row in noise]
    parts = np.concatenate([np.asarray(row["probabilities"]) for row in rows])
    if not np.allclose(parts, answer(noise), atol=1e-3):
        raise ConversionError(f"{path}: its parts, put together again, do not answer as it does")
