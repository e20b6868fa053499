"""One adapter over the TFLite runtime: LiteRT where it has a wheel, its predecessor where it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError


@dataclass(frozen=True, slots=True)
class Output:
    """An output tensor: where it is, its shape without the batch, and how its integers become numbers."""

    index: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int


class Interpreter:
    """A loaded model. Not for two threads at once; `invoke` releases the interpreter lock of Python.

    Args:
        model: the bytes of a `.tflite` file.

    Raises:
        BundleError: the bytes are not a model, or it does not have one picture as its input.
    """

    def __init__(self, model: bytes) -> None:
        try:
            self._engine: Any = _engine()(model_content=model, num_threads=1)
            self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"the model cannot be loaded: {str(error).splitlines()[0]}") from error
        inputs = self._engine.get_input_details()
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4:
            raise BundleError("the model does not take one picture as its only input")
        self._input: int = inputs[0]["index"]
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in inputs[0]["shape"][1:])
        self.input_type: type = inputs[0]["dtype"]
        self.input_step = float(inputs[0]["quantization"][0])
        """What one step of an integer input means; 0 for an input of floats."""
        self.input_zero = int(inputs[0]["quantization"][1])
        """The integer that stands for 0."""
        self.outputs = tuple(_output(details) for details in self._engine.get_output_details())

    def invoke(self, picture: NDArray[Any]) -> None:
        """Run the model on one picture, height × width × channels, in the model's own type."""
        self._engine.tensor(self._input)()[0] = picture
        self._engine.invoke()

    def accelerated(self) -> bool | None:
        """Whether the model's operations run in fast kernels (XNNPACK); None where the runtime does not tell."""
        try:
            operations = self._engine._get_ops_details()
        except (AttributeError, RuntimeError, ValueError):
            return None
        return any(operation["op_name"] == "DELEGATE" for operation in operations)

    def output(self, position: int) -> NDArray[np.float32]:
        """The output at a position of `outputs`, of the last invocation, as numbers."""
        out = self.outputs[position]
        raw = self._engine.tensor(out.index)()[0]
        if out.scale == 0:
            return np.array(raw, np.float32)
        # Subtracting in a wider type first: uint8 minus its zero point would wrap.
        return np.asarray((raw.astype(np.float32) - out.zero_point) * out.scale, np.float32)


def _engine() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter as Engine
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter as Engine
        except ImportError as error:
            raise BundleError("no TFLite runtime is installed: pip install ai-edge-litert") from error
    return Engine


def _output(details: dict[str, Any]) -> Output:
    scale, zero_point = details["quantization"]
    return Output(
        details["index"], tuple(int(n) for n in details["shape"][1:]), float(scale), int(zero_point)
    )
