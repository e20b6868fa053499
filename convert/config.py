"""A network's configuration, checked before Keras sees it, and brought from Keras 2 to what Keras 3 reads.

A configuration names the classes that are built, and may carry marshalled functions. Only layers that this module
lists, and Keras' own operations on arrays, are let through; what a training needed (initialisers, regularisers,
augmentation, precision) is left behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import keras

from convert import keras2
from edge.errors import ConversionError

_NETWORKS: Final = {"Functional": "keras.src.models.functional", "Sequential": "keras"}

_LAYERS: Final = frozenset((
    "InputLayer", "Dense", "EinsumDense", "Activation", "Softmax", "ReLU", "LeakyReLU", "PReLU", "ELU",
    "Conv1D", "Conv2D", "SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose", "MaxPooling1D",
    "MaxPooling2D", "AveragePooling1D", "AveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "BatchNormalization", "LayerNormalization",
    "GroupNormalization", "UnitNormalization", "RMSNormalization", "Dropout", "SpatialDropout1D",
    "SpatialDropout2D", "AlphaDropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization",
    "Flatten", "Reshape", "Permute", "RepeatVector", "Cropping2D", "ZeroPadding2D", "UpSampling2D", "Add",
    "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot", "Rescaling",
    "Normalization", "Resizing", "CenterCrop", "Identity", "MultiHeadAttention", "Attention",
    "AdditiveAttention",
))  # fmt: skip

_ONLY_IN_TRAINING: Final = frozenset((
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness",
    "RandomTranslation", "RandomCrop", "RandomHeight", "RandomWidth", "RandomShear", "RandomHue",
    "RandomSaturation", "RandomColorJitter", "RandomGrayscale", "RandomGaussianBlur", "RandomSharpness",
    "RandomInvert", "RandomErasing", "RandomPosterization", "RandomPerspective", "RandomElasticTransform",
))  # fmt: skip

_OPERATIONS: Final = frozenset(f"keras.src.ops.{name}" for name in ("numpy", "nn", "image"))

_ACTIVATIONS: Final = frozenset((
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "celu", "silu", "swish", "hard_silu",
    "hard_swish", "mish", "softplus", "softsign", "softmax", "log_softmax", "sigmoid", "hard_sigmoid",
    "log_sigmoid", "tanh", "hard_tanh", "exponential",
))  # fmt: skip

_VALUES: Final = frozenset(("__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__"))

_LEFT_BEHIND: Final = ("_initializer", "_regularizer", "_constraint")
_LARGEST_NUMBER: Final = 16_384  # of units, filters, pixels
_DEEPEST: Final = 60


@dataclass(slots=True)
class _Cleaner:
    """Walks through one configuration, gathering what is foreign in it."""

    path: Path
    allowed: frozenset[str]
    foreign: list[str] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)

    def clean(self, value: Any, depth: int = 0) -> Any:
        """A value of a configuration, of any kind."""
        if depth > _DEEPEST:
            raise ConversionError(f"{self.path}: its configuration is nested more than {_DEEPEST} deep")
        if isinstance(value, list):
            return [self.clean(each, depth + 1) for each in value]
        if isinstance(value, dict):
            if "class_name" in value:
                return self._object(value, depth)
            return {key: self.clean(each, depth + 1) for key, each in value.items() if self._kept(key)}
        if type(value) is int and abs(value) > _LARGEST_NUMBER:
            raise ConversionError(f"{self.path}: its configuration asks for {value:,} of something")
        return value

    @staticmethod
    def _kept(key: str) -> bool:
        return key not in ("dtype", "seed", "autocast") and not key.endswith(_LEFT_BEHIND)

    def _object(self, node: dict[str, Any], depth: int) -> Any:
        name, config = keras2.NOW.get(str(node["class_name"]), str(node["class_name"])), node.get("config")
        module = str(node.get("module") or "")
        if name in _VALUES:
            return self._value(name, config)
        if name == "function" or isinstance(config, str):
            return self._activation(config)
        if module in _OPERATIONS and _is_operation(module, name):
            return self._built(module, name, node, depth)
        if name in _ONLY_IN_TRAINING:
            name, config = "Identity", {"name": (config or {}).get("name")}
        elif name == "Lambda":
            return self._lambda(node, depth)
        elif name not in _LAYERS and name not in _NETWORKS and name not in keras2.OPERATIONS:
            return self._custom(name, node, depth)
        if isinstance(config, list):  # how Keras before 2.2 wrote a Sequential
            config = {"layers": config}
        if not isinstance(config, dict):
            raise ConversionError(f"{self.path}: its configuration of {name} is malformed")
        modern = {**node, "config": keras2.modern(name, config, self.path)}
        module = "convert.keras2" if name in keras2.OPERATIONS else _NETWORKS.get(name, "keras.layers")
        return self._built(module, name, modern, depth)

    def _built(self, module: str, name: str, node: dict[str, Any], depth: int) -> dict[str, Any]:
        """An object of a class that may be built, with what is in it cleaned."""
        kept = ("config", "name", "build_config", "inbound_nodes")
        cleaned = {key: self.clean(node[key], depth + 1) for key in kept if key in node}
        return {"module": module, "class_name": name, "registered_name": name, **cleaned}

    def _value(self, name: str, config: Any) -> dict[str, Any]:
        """A tensor, an array, a slice: numbers and nothing else."""
        if name == "__keras_tensor__":
            config = {"shape": [None], "dtype": "float32", "keras_history": config["keras_history"]}
        if _holds_objects(config):
            raise ConversionError(f"{self.path}: a {name.strip('_')} in its configuration is malformed")
        return {"class_name": name, "config": config}

    def _activation(self, config: Any) -> str:
        if config not in _ACTIVATIONS:
            self.foreign.append(f"the function {config!r}")
        return str(config)

    def _lambda(self, node: dict[str, Any], depth: int) -> Any:
        config = node.get("config") or {}
        name = str(config.get("name"))
        if name not in self.allowed:
            self.foreign.append(f"the Lambda layer {name!r}")
            return None
        built = self._built("keras.layers", "Lambda", {**node, "config": {}}, depth)
        return {**built, "config": keras2.lambda_config(config)}

    def _custom(self, name: str, node: dict[str, Any], depth: int) -> Any:
        allowed = next((each for each in self.allowed if each.split(":")[-1] == name), None)
        if allowed is None:
            self.foreign.append(f"the class {name!r}")
            return None
        module = allowed.split(":")[0] if ":" in allowed else str(node.get("module") or "")
        self.modules[name] = module
        return self._built(module, name, node, depth)


def clean(
    config: dict[str, Any], allowed: Iterable[str], path: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Check a network's configuration and make it fit for Keras 3.

    Args:
        config: as the file has it.
        allowed: names of Lambda layers and of foreign classes (`Class` or `module:Class`) that may be run.
        path: named in errors.

    Returns:
        The configuration, and the modules that the allowed classes are in, by class.

    Raises:
        ConversionError: something foreign is in it that was not allowed, or it is malformed.
    """
    cleaner = _Cleaner(path, frozenset(allowed))
    try:
        cleaned = cleaner.clean(config)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ConversionError(f"{path}: its configuration is malformed: {error!r}") from error
    if cleaner.foreign:
        what = ", ".join(dict.fromkeys(cleaner.foreign))
        raise ConversionError(
            f"{path}: contains {what}: code that a model file can bring along, and that is not run. Where it only "
            "scales pixels, save the model without it and say --normalization; else save it as a SavedModel, with "
            'model.export("folder"), which needs no code; or, if you trust whoever made it, allow it by name: '
            "--allow-custom"
        )
    if not isinstance(cleaned, dict) or cleaned.get("class_name") not in (*_NETWORKS, *cleaner.modules):
        raise ConversionError(f"{path}: its configuration describes no network")
    return cleaned, cleaner.modules


def _is_operation(module: str, name: str) -> bool:
    found = getattr(__import__(module, fromlist=[name]), name, None)
    return isinstance(found, type) and issubclass(found, keras.Operation)


def _holds_objects(value: Any) -> bool:
    if isinstance(value, dict):
        return "class_name" in value or any(map(_holds_objects, value.values()))
    return isinstance(value, list) and any(map(_holds_objects, value))
