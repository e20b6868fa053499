"""A SavedModel's folder: a graph of operations, of which only those that calculate are let through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from convert.files import size_limit
from edge.errors import ConversionError

_LARGEST_GRAPH: Final = 2**28

_PLAIN: Final = frozenset(
    ("user_object", "function", "bare_concrete_function", "variable", "constant", "captured_tensor")
)
"""Kinds of objects that run nothing while they are loaded."""

_CALCULATING: Final = frozenset((
    "Placeholder", "Const", "Identity", "IdentityN", "NoOp", "StopGradient", "EnsureShape",
    "PartitionedCall", "StatefulPartitionedCall", "ReadVariableOp", "DisableCopyOnRead", "Cast", "Shape",
    "Size", "Rank", "Range", "Fill", "ZerosLike", "OnesLike", "BroadcastTo", "BroadcastArgs", "Conv2D",
    "Conv2DBackpropInput", "DepthwiseConv2dNative", "MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum",
    "BiasAdd", "Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "FloorDiv", "FloorMod",
    "Maximum", "Minimum", "Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Square", "SquaredDifference",
    "Sqrt", "Rsqrt", "Pow", "Exp", "Expm1", "Log", "Log1p", "Erf", "Erfc", "Tanh", "Sigmoid", "Softmax",
    "LogSoftmax", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "ClipByValue",
    "MaxPool", "MaxPoolV2", "AvgPool", "Mean", "Max", "Min", "Sum", "Prod", "ArgMax", "FusedBatchNorm",
    "FusedBatchNormV2", "FusedBatchNormV3", "Reshape", "Squeeze", "ExpandDims", "Transpose", "ConcatV2",
    "Pack", "Unpack", "Split", "SplitV", "Slice", "StridedSlice", "GatherV2", "Pad", "PadV2", "MirrorPad",
    "Tile", "ReverseV2", "SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace",
    "ResizeBilinear", "ResizeNearestNeighbor", "AdjustContrastv2", "Greater", "GreaterEqual", "Less",
    "LessEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "Select", "SelectV2",
))  # fmt: skip


def open_saved_model(folder: Path) -> tuple[Callable[[Any], Any], tuple[int | None, ...]]:
    """Load the network of a SavedModel.

    Args:
        folder: the one with `saved_model.pb`.

    Returns:
        A function from pixels to its output, and the shape of its input, with the batch.

    Raises:
        ConversionError: it is damaged, too large, of TensorFlow 1, does something besides calculating, or does
            not take one picture and give one answer.
    """
    _check_folder(folder)
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"{folder}: TensorFlow cannot load it: {why}") from error
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise ConversionError(f"{folder}: has no signature serving_default: save it with model.export")
    graph = signature.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    named = {f.signature.name for f in graph.library.function}
    foreign = sorted({node.op for node in nodes} - _CALCULATING - named)
    if foreign:
        raise ConversionError(
            f"{folder}: contains operations that do more than calculate, or that no device has: {', '.join(foreign)}"
        )
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ConversionError(
            f"{folder}: takes {len(inputs)} inputs and gives {len(outputs)} outputs; one of each is taken"
        )
    ((argument, spec),), (answer,) = inputs.items(), outputs
    # The variables are the loaded object's: it must live as long as the function.
    return (
        lambda pixels, _alive=loaded: signature(**{argument: tf.cast(pixels, spec.dtype)})[answer],
        tuple(spec.shape) if spec.shape.rank is not None else (),
    )


def _check_folder(folder: Path) -> None:
    total = 0
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise ConversionError(f"{path}: is a link; a SavedModel's files are in its folder")
        total += path.stat().st_size
        size_limit(total, folder)
    size_limit((folder / "saved_model.pb").stat().st_size, folder, _LARGEST_GRAPH)
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:
        raise ConversionError(f"{folder}: saved_model.pb is damaged") from error
    objects = [node for graph in saved.meta_graphs for node in graph.object_graph_def.nodes]
    if not objects:
        raise ConversionError(
            f"{folder}: was written by TensorFlow 1 or is empty: load it there and save it with TensorFlow 2"
        )
    kinds = {str(node.WhichOneof("kind")) for node in objects}
    if kinds - _PLAIN or any(node.registered_saver for node in objects):
        what = ", ".join(sorted(kinds - _PLAIN)) or "savers"
        raise ConversionError(f"{folder}: brings {what} of its own, which would run while it is loaded")
