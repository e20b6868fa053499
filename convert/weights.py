"""The weights of an `.h5` file, whichever Keras wrote it, brought into a network.

Keras orders weights by whether they learn and by layer, versions differ in it, and a normalisation's four arrays
have one shape: exchanged, nothing would be said. So they are matched by name, and by order only where the kinds
agree all along.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edge.errors import ConversionError

_SAME = {"depthwise_kernel": "kernel"}  # other names of one thing


def load_by_layer(model: Any, weights: Path, path: Path) -> None:
    """Load the weights under `model_weights` of an HDF5 file.

    Args:
        model: the network.
        weights: the file.
        path: named in errors.

    Raises:
        ConversionError: file and network do not have the same weights.
    """
    try:
        with h5py.File(weights, "r") as file:
            group = file.get("model_weights", file)
            for layer in model.layers:
                wanted = _variables(layer)
                found = _stored(group[layer.name]) if layer.name in group else []
                for variable, array in _matched(wanted, found, layer.name, path):
                    variable.assign(array)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ConversionError(f"{path}: its weights are damaged: {error}") from error


_Wanted = tuple[tuple[str, str], Any]
_Found = tuple[tuple[str, str], Any]


def _variables(layer: Any) -> list[_Wanted]:
    """A layer's variables in the order of `.h5` files, with the names of the innermost layer and the variable."""
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [(_key(variable.path), variable) for variable in variables]


def _key(name: str) -> tuple[str, str]:
    *outer, last = name.split(":")[0].split("/")
    return (outer[-1] if outer else "", _SAME.get(last, last))


def _stored(group: Any) -> list[_Found]:
    """The arrays of one layer's group in their order, with the names of layer and variable."""
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs.get("weight_names", ())]
    return [(_key(name), np.asarray(group[name])) for name in names]


def _matched(wanted: list[_Wanted], found: list[_Found], layer: str, path: Path) -> Iterator[tuple[Any, Any]]:
    named = dict(found)
    if len(named) == len(found) and {key for key, _ in wanted} == set(named):
        pairs = [(variable, named[key]) for key, variable in wanted]
    elif [kind for (_, kind), _ in wanted] == [kind for (_, kind), _ in found]:
        pairs = [(variable, array) for (_, variable), (_, array) in zip(wanted, found, strict=True)]
    else:
        raise ConversionError(
            f"{path}: the file has {len(found)} arrays for the layer {layer}, which takes {len(wanted)} of other names"
        )
    for variable, array in pairs:
        if tuple(variable.shape) != array.shape:
            raise ConversionError(
                f"{path}: an array of the layer {layer} is {array.shape}, the network wants {tuple(variable.shape)}"
            )
        yield variable, array
