"""A network as TensorFlow's graph: traced, its variables made constants, and taken apart at its head.

Looking at the graph rather than at the layers makes it the same for every way of writing a model: nested,
functional, with operations between the layers, or a SavedModel that has no layers any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edge.errors import ConversionError

Floats = NDArray[np.float32]

WIDEST: Final = 4096
"""Numbers of an embedding; where the head takes more, its logits are the embedding."""

_PASSED: Final = frozenset(("Identity", "IdentityN", "StopGradient", "EnsureShape", "Cast"))
_RESHAPED: Final = frozenset(("Reshape", "Squeeze", "ExpandDims"))
_LINEAR: Final = _RESHAPED | {
    "BiasAdd",
    "Add",
    "AddV2",
    "MatMul",
    "Mean",
    "Mul",
    "Sub",
    "Conv2D",
    "Max",
    "LogSoftmax",
}
_FIRST_OF_WEIGHT: Final = frozenset(
    ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "MaxPool", "AvgPool")
)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A traced network, its variables made constants.

    Attributes:
        definition: the graph.
        pixels: its input, n × height × width × channels.
        answers: its output.
    """

    definition: Any
    pixels: Any
    answers: Any

    def part(self, *wanted: Any) -> Callable[[Any], list[Any]]:
        """The part of it that leads from pixels to some of its tensors, as a function that can be traced again."""
        names = [tensor.name for tensor in wanted]
        given = self.pixels.name
        return lambda pixels: tf.graph_util.import_graph_def(self.definition, {given: pixels}, names, name="")


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A network, taken apart at its head.

    Attributes:
        logits: its tensor of one number an output, before any softmax.
        embedding: the tensor that its last dense layer takes; the logits where there is none.
        features: height × width × width of the embedding, the tensor whose average the embedding is, or None.
        weights: embedding × outputs, of the last dense layer.
        bias: outputs.
        ending: `softmax`, `sigmoid` or `logits`.
    """

    logits: Any
    embedding: Any
    features: Any | None
    weights: Floats
    bias: Floats
    ending: str


def trace(network: Callable[[Any], Any], shape: tuple[int, ...], batch: int | None) -> Graph:
    """A network as a graph with constants.

    Args:
        network: from pixels to its outputs.
        shape: height, width and channels of its input.
        batch: pictures at once; None for any number.
    """
    pixels = tf.TensorSpec([batch, *shape], tf.float32, "pixels")
    traced = tf.function(network, input_signature=[pixels], autograph=False).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced)
    definition = frozen.graph.as_graph_def()
    for node in definition.node:
        # Swish brings a gradient of its own, by name; without its function the converter cannot read the graph.
        node.attr.pop("_gradient_op_type", None)
    return Graph(definition, frozen.inputs[0], frozen.outputs[0])


def take_apart(graph: Graph, path: Path) -> Parts:
    """Find the head.

    Raises:
        ConversionError: its outputs are not one number a class, or end in something that is neither linear,
            softmax nor sigmoid.
    """
    shape = graph.answers.shape
    last = _behind(graph.answers)
    while last.op.type in _RESHAPED and last.op.inputs[0].shape.rank == 2:
        last = _behind(last.op.inputs[0])
    if shape.rank != 2 or shape[1] is None:
        raise ConversionError(
            f"{path}: answers with numbers of the shape {tuple(shape)[1:]}; a classifier gives one a class"
        )
    ending = {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(last.op.type, "logits")
    if ending == "logits" and last.op.type not in _LINEAR:
        raise ConversionError(
            f"{path}: ends in {last.op.type}, which is neither a softmax, a sigmoid nor linear: what its outputs "
            "mean cannot be told"
        )
    logits = last if ending == "logits" else _behind(last.op.inputs[0])
    embedding, weights, bias = _head(logits)
    if embedding.shape.rank != 2 or embedding.shape[1] is None or embedding.shape[1] > WIDEST:
        embedding, outputs = logits, int(shape[1])
        weights, bias = np.eye(outputs, dtype=np.float32), np.zeros(outputs, np.float32)
    return Parts(logits, embedding, _pooled(embedding), weights, bias, ending)


def _behind(tensor: Any) -> Any:
    """A tensor without the operations that hand it on as it is."""
    while tensor.op.type in _PASSED and tensor.op.inputs:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor


def _constant(tensor: Any) -> Any | None:
    """The value of a tensor that is a constant, however it was handed on or reshaped."""
    tensor = _behind(tensor)
    if tensor.op.type == "Const":
        return tf.make_ndarray(tensor.op.get_attr("value"))
    if tensor.op.type in _RESHAPED:
        return _constant(tensor.op.inputs[0])
    return None


def _head(logits: Any) -> tuple[Any, Floats, Floats]:
    """The dense layer that makes the logits: its input, weights and bias; of the identity where there is none."""
    outputs = int(logits.shape[-1])
    product, bias = logits, np.zeros(outputs, np.float32)
    if logits.op.type in ("BiasAdd", "Add", "AddV2"):
        added = _constant(logits.op.inputs[1])
        if added is not None and added.size == outputs:
            product, bias = _behind(logits.op.inputs[0]), added.reshape(-1).astype(np.float32)
    if product.op.type == "MatMul" and not product.op.get_attr("transpose_a"):
        weights = _constant(product.op.inputs[1])
        if weights is not None:
            weights = weights.T if product.op.get_attr("transpose_b") else weights
            return _behind(product.op.inputs[0]), weights.astype(np.float32), bias
    return logits, np.eye(outputs, dtype=np.float32), np.zeros(outputs, np.float32)


def _pooled(embedding: Any) -> Any | None:
    """The feature map whose average over the picture the embedding is, or None."""
    tensor = embedding
    while tensor.op.type in _RESHAPED | _PASSED:
        tensor = tensor.op.inputs[0]
    if tensor.op.type != "Mean":
        return None
    axes, features = _constant(tensor.op.inputs[1]), tensor.op.inputs[0]
    over_picture = axes is not None and sorted(np.ravel(axes).tolist()) == [1, 2]
    same_width = features.shape.rank == 4 and features.shape[3] == embedding.shape[1]
    return features if over_picture and same_width else None


def first_seen(graph: Graph) -> Any:
    """The tensor that the first layer gets which has weights or pools."""
    waiting, seen = [graph.pixels], set()
    while waiting:
        tensor = waiting.pop(0)
        for operation in tensor.consumers():
            if operation.type in _FIRST_OF_WEIGHT:
                return tensor
            if operation.name not in seen:
                seen.add(operation.name)
                waiting.extend(operation.outputs)
    return graph.pixels
