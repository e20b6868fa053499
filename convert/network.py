"""A trained model of whatever file, as a function of the pixels that it was trained on."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from convert import keras2
from convert.config import clean
from convert.files import kind_of, read_keras
from convert.savedmodel import open_saved_model
from convert.weights import load_by_layer
from edge.errors import ConversionError


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A loaded network.

    Attributes:
        call: from pixels as it was trained on to its outputs.
        shape: of its input, with the batch; None where any will do.
        name: its own.
        layers: names of its layers; none of a SavedModel.
    """

    call: Callable[[Any], Any]
    shape: tuple[int | None, ...]
    name: str
    layers: tuple[str, ...]


def open_network(path: Path, allowed: tuple[str, ...]) -> Network:
    """Load a model without running code from it.

    Args:
        path: a `.keras` or `.h5` file, or a SavedModel's folder.
        allowed: Lambda layers and foreign classes, by name, whose code may be run all the same.

    Raises:
        ConversionError: it cannot be loaded, or carries code that is not allowed.
    """
    if kind_of(path) == "savedmodel":
        call, shape = open_saved_model(path)
        return Network(call, shape, path.resolve().name, ())
    return _keras_model(path, allowed)


def _keras_model(path: Path, allowed: tuple[str, ...]) -> Network:
    with tempfile.TemporaryDirectory() as workplace:
        file = read_keras(path, Path(workplace))
        config, modules = clean(file.config, allowed, path)
        modules |= dict.fromkeys(keras2.OPERATIONS, keras2.__name__)
        custom = {name: _class(name, module, path) for name, module in modules.items()}
        try:
            with keras.saving.custom_object_scope(custom):
                # Whatever could run code was found and allowed by name before this.
                model = keras.saving.deserialize_keras_object(config, safe_mode=not allowed)
                if not file.by_layer:
                    model.load_weights(file.weights)
        except Exception as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConversionError(f"{path}: Keras cannot load it: {why}") from error
        if not isinstance(model, keras.Model) or len(model.inputs or ()) != 1 or len(model.outputs) != 1:
            raise ConversionError(
                f"{path}: takes or gives more than one thing; a classifier has one input, one output"
            )
        if file.by_layer:
            load_by_layer(model, file.weights, path)
    # However the model wants its input wrapped, and whatever it is called: the name would be in the bytes.
    twin = keras.Model(model.inputs[0], model.outputs[0], name="network")
    return Network(
        lambda pixels: twin(pixels, training=False),
        tuple(model.inputs[0].shape),
        str(model.name),
        _layers(model),
    )


def _class(name: str, module: str, path: Path) -> Any:
    """A foreign class that may be used."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        where = f"Python module {module!r}" if module else "Python module (the file names none)"
        raise ConversionError(
            f"{path}: {name} cannot be found in its {where}: put the module on PYTHONPATH and say "
            f"--allow-custom MODULE:{name}"
        ) from error


def _layers(model: Any) -> tuple[str, ...]:
    names: list[str] = []
    for layer in model.layers:
        names += _layers(layer) if isinstance(layer, keras.Model) else [layer.name]
    return tuple(names)
