"""A Keras graph → the bytes of a `.tflite` file."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge.errors import ConversionError

Quantization = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)

_CALIBRATION_IMAGES = 400  # activation ranges settle well before this many


def quantize(graph: Any, how: Quantization, crops: NDArray[np.uint8]) -> bytes:
    """Convert a graph.

    Args:
        graph: a Keras model that takes pixels of 0 to 255.
        how: float32; float16 or dynamic (weights only); int8 (all of it, uint8 in and out); int16x8
            (16-bit activations).
        crops: n × size × size × 3, real model inputs; activation ranges are measured on some of them.

    Raises:
        ConversionError: an operation of the graph cannot be converted.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(graph)
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
            return bytes(converter.convert())
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        first = next((line for line in lines if "error" in line.lower()), lines[0])
        raise ConversionError(f"TensorFlow cannot convert this model to {how}: {first.strip()}") from error
