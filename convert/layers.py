"""Where a converted model departs from its original: every layer's answer beside the one in full precision."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter as Engine
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from convert.source import HEAD, Original
from edge.records import Image

_CROPS: Final = 24  # as many tell the layers apart
_NAMED: Final = 3  # layers in the sentence
_CHANGING_TYPE: Final = ("QUANTIZE", "DEQUANTIZE", "DELEGATE", "CAST")


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far a layer's answer is from the original's.

    Attributes:
        name: of the layer, or of the operation where no layer is known.
        operation: what it does, as TFLite calls it.
        error: root mean square of the difference, over the spread of the original's answer; 0.1 is a tenth.
        added: of that, what its inputs did not have yet.
    """

    name: str
    operation: str
    error: float
    added: float


def compare_layers(
    exact: bytes, converted: bytes, crops: Image, original: Original
) -> tuple[LayerError, ...]:
    """Run two models of one original side by side.

    Args:
        exact: in float32.
        converted: quantised.
        crops: n × size × size × 3, real model inputs, some of which are shown to both.
        original: what both were made from; its layers give the parts their names.

    Returns:
        Each layer up to the embedding that both have, in the order in which they run.
    """
    one, other = _Opened(exact), _Opened(converted)
    # The converter joins and renames what it likes, but runs the same operations in the same order.
    blocks = SequenceMatcher(None, one.kinds, other.kinds, autojunk=False).get_matching_blocks()
    pairs = [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]
    sums = np.zeros((len(pairs), 3))
    chosen = crops[:: max(1, len(crops) // _CROPS)]
    for crop in chosen:
        one.run(crop)
        other.run(crop)
        for row, (a, b) in zip(sums, pairs, strict=True):
            before, after = one.answer(a), other.answer(b)
            row += before.mean(), np.square(before).mean(), np.square(before - after).mean()
    mean, squared, difference = sums.T / len(chosen)
    errors = np.sqrt(difference / np.maximum(squared - mean**2, 1e-12))
    known = dict(zip([a for a, _ in pairs], errors.tolist(), strict=True))
    names, behind = _names(one, original), one.carried(known)
    return tuple(
        LayerError(names[at], one.kinds[at][0], error, max(error - behind[at], 0.0))
        for at, error in known.items()
        if at in names
    )


def costliest(errors: Sequence[LayerError]) -> str:
    """A sentence's end that names the layers which cost most."""
    worst = sorted(errors, key=lambda layer: layer.added, reverse=True)[:_NAMED]
    return ", ".join(f"{layer.name} ({layer.operation}, {layer.added:.1%} of its spread)" for layer in worst)


def table(errors: Sequence[LayerError]) -> Iterator[str]:
    """All layers as lines of a table."""
    width = max([len(layer.name) for layer in errors], default=5)
    yield f"{'layer':{width}}  {'operation':24} {'off by':>8} {'added':>8}"
    for layer in errors:
        yield f"{layer.name:{width}}  {layer.operation:24} {layer.error:8.2%} {layer.added:8.2%}"


class _Opened:
    """A model whose tensors can all be looked at.

    Attributes:
        tensors: the number of each operation's answer, in the order in which they run.
        kinds: each operation's kind and the shape of its answer.
    """

    def __init__(self, model: bytes) -> None:
        # A delegate would run several layers as one and keep what is between them to itself.
        self.engine: Any = Engine(
            model_content=model,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.engine.allocate_tensors()
        self.details = {details["index"]: details for details in self.engine.get_tensor_details()}
        self._operations = [o for o in self.engine._get_ops_details() if o["op_name"] not in _CHANGING_TYPE]
        self.tensors = [int(operation["outputs"][0]) for operation in self._operations]
        self.kinds = [
            (str(operation["op_name"]), tuple(self.details[tensor]["shape"].tolist()))
            for operation, tensor in zip(self._operations, self.tensors, strict=True)
        ]

    def run(self, crop: NDArray[np.uint8]) -> None:
        """Show it a crop."""
        given = self.engine.get_input_details()[0]
        self.engine.set_tensor(given["index"], crop[np.newaxis].astype(given["dtype"]))
        self.engine.invoke()

    def answer(self, at: int) -> NDArray[np.float64]:
        """What an operation made of the last crop, as numbers."""
        tensor = self.tensors[at]
        raw = np.asarray(self.engine.get_tensor(tensor), np.float64)
        scale, zero_point = self.details[tensor]["quantization"]
        return np.asarray((raw - zero_point) * scale if scale else raw)

    def carried(self, errors: Mapping[int, float]) -> list[float]:
        """For every operation the largest error among its inputs, passed on by those that were not compared."""
        before: list[float] = []
        so_far: dict[int, float] = {}
        for at, operation in enumerate(self._operations):
            before.append(max((so_far.get(int(index), 0.0) for index in operation["inputs"]), default=0.0))
            so_far[self.tensors[at]] = errors.get(at, before[at])
        return before


def _names(model: _Opened, original: Original) -> dict[int, str]:
    """What to call each operation: by the layers that it was made from. The head runs on the device by itself."""
    outputs = original.graph.structured_outputs
    ends = [outputs[name].op.inputs[0].op.name for name in sorted(outputs)]
    found = {}
    for at, tensor in enumerate(model.tensors):
        name = str(model.details[tensor]["name"])
        end = re.match(r"(?:Stateful)?PartitionedCall:(\d)", name)
        name = ends[int(end[1])] if end else name
        if not name.startswith(f"{HEAD}/"):
            found[at] = _called(name, original.layers)
    return found


def _called(tensor: str, layers: Sequence[str]) -> str:
    """The layers in a tensor's name, in which a path stands for each operation that was joined in it."""
    paths = [path.split("/") for path in reversed(tensor.split(";"))]
    # Keras gives the scope of a layer another number than the layer, when the network has one.
    parts = [
        part.removesuffix("_1") if path[0].endswith("_1") else part for path in paths for part in path[1:-1]
    ]
    known = dict.fromkeys(part for part in parts if part in layers)
    return "+".join(known) or "/".join(paths[-1][-2:])
