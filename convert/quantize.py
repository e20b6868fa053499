"""A graph → the bytes of a `.tflite` file, the same bytes for the same graph and pictures."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any, Literal, get_args

import numpy as np
from ai_edge_litert.interpreter import Interpreter as Engine
from numpy.typing import NDArray

from edge.errors import ConversionError
from edge.inference.bundle import LARGEST_MODEL

Quantization = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)

_CALIBRATION_IMAGES = 400  # activation ranges settle well before this many


def quantize(graph: Any, how: Quantization, crops: NDArray[np.uint8]) -> bytes:
    """Convert a graph.

    Args:
        graph: a TensorFlow function of one picture, pixels of 0 to 255, see `source.Original`.
        how: float32; float16 or dynamic (weights only); int8 (all of it, uint8 in and out); int16x8
            (16-bit activations).
        crops: n × size × size × 3, real model inputs; activation ranges are measured on some of them.

    Raises:
        ConversionError: an operation of the graph cannot be converted or run, or the result is too large.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], tf.Module())
    if how != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if how == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if how in ("int8", "int16x8"):
        stride = max(1, len(crops) // _CALIBRATION_IMAGES)
        chosen = crops[::stride].astype(np.float32)
        # The device feeds 0 to 255 as they are: the input's range must be exactly that, whatever is in the crops.
        chosen[0, 0, :2] = [[0.0], [255.0]]
        converter.representative_dataset = lambda: ([crop[None]] for crop in chosen)
        if how == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        else:
            sixteen = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [sixteen]
    try:
        # It prints the whole signature of the model and warns of its own doings; nobody asked.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
            model = bytes(converter.convert())
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        first = next((line for line in lines if "error" in line.lower()), lines[0])
        raise ConversionError(f"TensorFlow cannot convert this model to {how}: {first.strip()}") from error
    if len(model) > LARGEST_MODEL:
        raise ConversionError(
            f"the model has {len(model) / 2**20:.0f} MiB as {how}, a device takes {LARGEST_MODEL // 2**20}"
        )
    _run_once(model, how)
    return model


def _run_once(model: bytes, how: Quantization) -> None:
    """What was converted need not run: the converter knows operations that the runtime has for other types only."""
    engine = Engine(model_content=model, num_threads=1)
    try:
        engine.allocate_tensors()
        engine.invoke()
    except RuntimeError as error:
        raise ConversionError(
            f"the runtime cannot run this model as {how}: {str(error).splitlines()[0]}"
        ) from error
