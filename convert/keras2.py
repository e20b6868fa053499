"""What Keras 2 wrote differently, brought to what Keras 3 reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import keras
import tensorflow as tf

from edge.errors import ConversionError

NOW: Final = {
    "Model": "Functional",
    "FixedDropout": "Dropout",  # of a much used package of EfficientNets
    "SyncBatchNormalization": "BatchNormalization",
    "Convolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "MaxPool2D": "MaxPooling2D",
    "AvgPool2D": "AveragePooling2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
}
"""Today's names of classes."""

OPERATIONS: Final = frozenset(("TFOpLambda", "SlicingOpLambda"))
"""Classes that Keras 2 made of TensorFlow's own operations between layers."""

# Settings that Keras 3 knows no more; at inference they mean nothing.
_DROPPED: Final = frozenset((
    "sparse", "ragged", "optional", "fused", "renorm", "renorm_clipping", "renorm_momentum",
    "virtual_batch_size", "adjustment", "synchronized", "batch_input_shape", "build_input_shape",
    "input_dtype",
))  # fmt: skip

_DUMPED: Final = ("code", "defaults", "closure")  # of a function

_FUNCTIONS: Final = {
    "math.truediv": tf.math.truediv,
    "math.divide": tf.math.divide,
    "math.multiply": tf.math.multiply,
    "math.add": tf.math.add,
    "math.subtract": tf.math.subtract,
    "math.maximum": tf.math.maximum,
    "math.minimum": tf.math.minimum,
    "math.square": tf.math.square,
    "math.sqrt": tf.math.sqrt,
    "math.rsqrt": tf.math.rsqrt,
    "math.sigmoid": tf.math.sigmoid,
    "math.tanh": tf.math.tanh,
    "math.reduce_mean": tf.math.reduce_mean,
    "math.reduce_max": tf.math.reduce_max,
    "math.reduce_sum": tf.math.reduce_sum,
    "math.reduce_std": tf.math.reduce_std,
    "__operators__.add": tf.math.add,
    "nn.relu": tf.nn.relu,
    "nn.relu6": tf.nn.relu6,
    "nn.silu": tf.nn.silu,
    "nn.leaky_relu": tf.nn.leaky_relu,
    "nn.softmax": tf.nn.softmax,
    "nn.bias_add": tf.nn.bias_add,
    "clip_by_value": tf.clip_by_value,
    "concat": tf.concat,
    "reshape": tf.reshape,
    "squeeze": tf.squeeze,
    "expand_dims": tf.expand_dims,
    "image.per_image_standardization": tf.image.per_image_standardization,
    "image.rgb_to_grayscale": tf.image.rgb_to_grayscale,
}


class TFOpLambda(keras.layers.Layer):  # type: ignore[misc]
    """One operation of TensorFlow, by name, out of those that do nothing but calculate."""

    def __init__(self, function: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._function = _FUNCTIONS[function]

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Apply it."""
        return self._function(*args, **kwargs)


class SlicingOpLambda(keras.layers.Layer):  # type: ignore[misc]
    """Indexing of a tensor: `x[..., ::-1]`."""

    def __init__(self, name: str, **_: Any) -> None:
        super().__init__(name=name)

    def call(self, x: Any, slice_spec: Any) -> Any:
        """Apply it."""
        return x[
            tuple(slice(s["start"], s["stop"], s["step"]) if isinstance(s, dict) else ... for s in slice_spec)
        ]


def modern(name: str, config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings of a layer or network as Keras 3 takes them.

    Raises:
        ConversionError: the layer does something that Keras 3 cannot.
    """
    new = {key: value for key, value in config.items() if key not in _DROPPED}
    if name == "InputLayer":
        shape = new.pop("batch_shape", None) or config.get("batch_input_shape")
        new = {"batch_shape": [None, *(shape or [])[1:]], "name": config.get("name")}
    elif name == "LeakyReLU" and "alpha" in new:
        new["negative_slope"] = new.pop("alpha")
    elif name == "BatchNormalization" and isinstance(new.get("axis"), list):
        (new["axis"],) = new["axis"]
    elif name in OPERATIONS and name == "TFOpLambda" and config["function"] not in _FUNCTIONS:
        raise ConversionError(
            f"{path}: the operation {config['function']} between its layers is not known here"
        )
    elif name in ("SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose") and new.pop("groups", 1) != 1:
        raise ConversionError(
            f"{path}: {config.get('name')}: grouped convolutions of this kind cannot be read"
        )
    elif name == "Functional":
        new = _modern_calls(new)
    elif name == "Sequential":
        new["layers"] = _with_input(new.get("layers", []), config.get("build_input_shape"))
    return new


def _with_input(layers: list[Any], built: Any) -> list[Any]:
    """A stack that begins with an input of its own; Keras 2 could write its shape into the first layer."""
    if not layers or layers[0]["class_name"] == "InputLayer":
        return layers
    shape = layers[0]["config"].get("batch_input_shape") or built
    first = {"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "pixels"}}
    return [first, *layers] if shape else layers


def _modern_calls(config: dict[str, Any]) -> dict[str, Any]:
    """A functional network with each layer's calls as positional and named arguments.

    Keras 2 counts the calls of a network within it from one, for it was called once when it was made.
    """
    layers, outputs = config["layers"], config["output_layers"]
    if not any(isinstance(node, list) for layer in layers for node in layer["inbound_nodes"]):
        return config
    single = not isinstance(outputs[0], list)
    ends = [outputs] if single else outputs
    calls = {layer["name"]: len(layer["inbound_nodes"]) for layer in layers}
    references = [each for layer in layers for node in layer["inbound_nodes"] for each in _references(node)]
    from_one = {name for name, index, _ in (*references, *ends) if index >= calls.get(name, index + 1)}

    def tensor(reference: list[Any]) -> Any:
        name, index, output = reference[:3]
        if name == "_CONSTANT_VALUE":
            return output
        history = [name, index - (name in from_one), output]
        return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}

    def call(node: Any) -> Any:
        if isinstance(node, dict):
            return node
        inputs = _inputs(node)
        named = inputs[0][3] if len(inputs[0]) > 3 else {}
        kwargs = {
            key: tensor(value) if _is_reference(value) else value
            for key, value in named.items()
            if key not in ("training", "mask", "name")
        }
        tensors = [tensor(each) for each in inputs]
        return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}

    modern_layers = [
        {**layer, "inbound_nodes": [call(node) for node in layer["inbound_nodes"]]} for layer in layers
    ]
    # Keras 3 itself counts a Functional's outputs from one, but not a Sequential's.
    stacks = {layer["name"] for layer in layers if layer["class_name"] == "Sequential"} & from_one
    ends = [[name, index - (name in stacks), at] for name, index, at in ends]
    return {**config, "layers": modern_layers, "output_layers": ends[0] if single else ends}


def _inputs(node: list[Any]) -> list[Any]:
    """The tensors of a call; a single one may stand for itself."""
    return node if node and isinstance(node[0], list) else [node]


def _references(node: Any) -> list[Any]:
    """The tensors that a call of Keras 2 takes, positional and named."""
    if isinstance(node, dict):
        return []
    inputs = _inputs(node)
    named = [value for each in inputs if len(each) > 3 for value in each[3].values()]
    return [each[:3] for each in (*inputs, *filter(_is_reference, named)) if each[0] != "_CONSTANT_VALUE"]


def _is_reference(value: Any) -> bool:
    return isinstance(value, list) and [type(each) for each in value] == [str, int, int]


def lambda_config(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a Lambda layer whose code may run."""
    function = config.get("function")
    if isinstance(function, list):
        function = {"class_name": "__lambda__", "config": dict(zip(_DUMPED, function, strict=True))}
    if isinstance(function, dict) and isinstance(function.get("config"), dict):
        inner = function["config"]  # JSON knows no tuples
        function = {
            **function,
            "config": {**inner, "defaults": inner.get("defaults") and tuple(inner["defaults"])},
        }
    return {"name": config.get("name"), "function": function, "arguments": config.get("arguments") or {}}
