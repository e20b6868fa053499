"""A Keras graph → the bytes of a `.tflite` file."""

from __future__ import annotations

import contextlib
import io
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
        converter.representative_dataset = lambda: (
            [crop[None].astype(np.float32)] for crop in crops[::stride]
        )
        if how == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        else:
            sixteen = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [sixteen]
    try:
        # It prints the whole signature of the model; nobody asked.
        with contextlib.redirect_stdout(io.StringIO()):
            return bytes(converter.convert())
    except Exception as error:
        first = next((line for line in str(error).splitlines() if "error" in line.lower()), str(error)[:200])
        raise ConversionError(f"TensorFlow cannot convert this model to {how}: {first.strip()}") from error
