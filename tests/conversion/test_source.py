"""Models as other people write them: taken apart rightly, or refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs leukoscope[convert]")

import keras
import tensorflow as tf
from conversion_models import NAMES, SIZE, Trained, as_fed

from convert.normalization import NORMALIZATIONS
from convert.quantize import quantize
from convert.source import Original, load
from edge.errors import ConversionError
from edge.inference.interpreter import Interpreter

# Keras hands NumPy 2 its variables the old way, and remarks on .h5 being an old format.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def saved(model: Any, folder: Path, name: str = "model.keras") -> Path:
    model.save(folder / name)
    return folder / name


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def parts(original: Original, crops: Any) -> dict[str, Any]:
    """What the graph that is converted says of crops: it takes one at a time, as a device does."""
    rows = [original.graph(pixels=tf.constant(crop[None], tf.float32)) for crop in crops]
    return {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("fed", ["scales itself", *NORMALIZATIONS])
def test_every_normalisation_gives_the_answers_of_the_model_as_it_was_fed(
    trained: Trained, tmp_path: Path, fed: str
) -> None:
    model = trained.model(fed)
    how: Any = None if fed == "scales itself" else fed
    original = load(saved(model, tmp_path), NAMES, how)
    crops = trained.held_out.crops
    wanted = softmax(np.asarray(model(as_fed(crops, fed))))
    np.testing.assert_allclose(original.answer(crops), wanted, atol=2e-3)
    found = parts(original, crops)
    embedding, features = found["embedding"], found["features"]
    np.testing.assert_allclose(found["probabilities"], wanted, atol=2e-3)
    np.testing.assert_allclose(features.mean(axis=(1, 2)), embedding, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(softmax(embedding @ original.weights + original.bias), wanted, atol=2e-3)
    assert (original.size, original.names, original.architecture) == (SIZE, NAMES, "site_net")


def converted_answers(model: bytes, crops: Any, outputs: int) -> Any:
    interpreter = Interpreter(model)
    at = next(i for i, output in enumerate(interpreter.outputs) if output.shape == (outputs,))
    answers = []
    for crop in crops:
        interpreter.invoke(crop)
        answers.append(interpreter.output(at))
    return np.array(answers)


@pytest.mark.parametrize("fed", ["scales itself", *NORMALIZATIONS])
def test_every_normalisation_survives_int8(trained: Trained, tmp_path: Path, fed: str) -> None:
    how: Any = None if fed == "scales itself" else fed
    original = load(saved(trained.model(fed), tmp_path), NAMES, how)
    crops = trained.held_out.crops
    wanted = original.answer(crops)
    found = converted_answers(quantize(original.graph, "int8", trained.training.crops), crops, len(NAMES))
    # The network was not trained on pixels scaled per image, so it is less sure of itself there.
    assert (found.argmax(1) == wanted.argmax(1)).mean() >= (0.9 if fed == "per-image" else 0.98)


@pytest.mark.parametrize("how", ["float32", "float16", "dynamic", "int16x8"])
def test_every_quantisation_gives_the_same_classes(trained: Trained, tmp_path: Path, how: Any) -> None:
    original = load(saved(trained.model(), tmp_path), NAMES, None)
    crops = trained.held_out.crops
    wanted = original.answer(crops)
    model = quantize(original.graph, how, trained.training.crops)
    assert Interpreter(model).input_type is np.float32
    found = converted_answers(model, crops.astype(np.float32), len(NAMES))
    assert (found.argmax(1) == wanted.argmax(1)).all()
    assert np.abs(found - wanted).max() < 0.03


def test_an_int8_model_takes_pixels_as_they_are_whatever_it_was_calibrated_with(
    trained: Trained, tmp_path: Path
) -> None:
    original = load(saved(trained.model(), tmp_path), NAMES, None)
    dim = np.minimum(trained.training.crops, 200)
    engine = Interpreter(quantize(original.graph, "int8", dim))._engine
    assert engine.get_input_details()[0]["quantization"] == (1.0, 0)
    assert engine.get_input_details()[0]["dtype"] is np.uint8


def test_what_cannot_be_converted_is_said_in_one_line(trained: Trained) -> None:
    pixels = tf.TensorSpec([1, SIZE, SIZE, 3], tf.float32, "pixels")
    graph = tf.function(lambda pixels: {"probabilities": tf.linalg.svd(pixels)[0]}, input_signature=[pixels])
    with pytest.raises(ConversionError, match=r"TensorFlow cannot convert this model to float32: ") as caught:
        quantize(graph.get_concrete_function(), "float32", trained.training.crops)
    assert len(str(caught.value).splitlines()) == 1


def test_outputs_are_put_in_order_with_other_kinds_last(trained: Trained, tmp_path: Path) -> None:
    order = ("other", "neutrophil", "monocyte", "lymphocyte", "eosinophil", "basophil")
    original = load(saved(trained.model(order=order), tmp_path), order, None)
    assert original.names == (*order[1:], "other")
    assert (original.classes, original.others) == (order[1:], ("other",))
    crops = trained.held_out.crops.astype(np.float32)
    answers = parts(original, crops)["probabilities"]
    wanted = softmax(np.asarray(trained.model()(crops)))
    np.testing.assert_allclose(answers, wanted[:, [NAMES.index(name) for name in original.names]], atol=1e-4)


@pytest.mark.parametrize("fed", ["scales itself", "0-1"])
def test_h5_is_read_as_well(trained: Trained, tmp_path: Path, fed: str) -> None:
    how: Any = None if fed == "scales itself" else fed
    model = trained.model(fed, activation="softmax")
    original = load(saved(model, tmp_path, "model.h5"), NAMES, how)
    crops = trained.held_out.crops
    answers = original.answer(crops)
    np.testing.assert_allclose(answers, np.asarray(model(as_fed(crops, fed))), atol=1e-4)


def test_a_softmax_layer_and_dropout_are_passed_over(trained: Trained, tmp_path: Path) -> None:
    inner = trained.model(pooled=keras.layers.Dropout(0.5))
    model = keras.Model(inner.inputs, keras.layers.Softmax()(inner.output))
    crops = trained.held_out.crops.astype(np.float32)
    original = load(saved(model, tmp_path), NAMES, None)
    np.testing.assert_allclose(original.answer(crops), np.asarray(model([crops])), atol=1e-4)


def test_names_are_read_beside_the_model(trained: Trained, tmp_path: Path) -> None:
    path = saved(trained.model(), tmp_path)
    with pytest.raises(ConversionError, match="name its outputs in their order: --classes"):
        load(path, None, None)
    (tmp_path / "labels.json").write_text(json.dumps(NAMES))
    assert load(path, None, None).names == NAMES


def refused(path: Path, names: tuple[str, ...] | None = NAMES, how: Any = None) -> str:
    with pytest.raises(ConversionError) as caught:
        load(path, names, how)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert str(path) in text
    return text


def test_unknown_scaling_is_refused_with_the_choices(trained: Trained, tmp_path: Path) -> None:
    text = refused(saved(trained.model("0-1"), tmp_path))
    assert text.endswith("--normalization 0-1, -1-1, imagenet, imagenet-caffe, per-image, none")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (NAMES[:5], "has 6 outputs, but 5 classes are named: basophil, eosinophil"),
        ((*NAMES[:4], "basophil", "other"), "each class needs a name of its own"),
        ((*NAMES[:4], "", "other"), "each class needs a name of its own"),
        (
            ("other1", "other2", "other3", "other4", "other5", "basophil"),
            "at least two classes besides other",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(
    trained: Trained, tmp_path: Path, names: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused(saved(trained.model(), tmp_path), names)


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"PK\x03\x04 nor a ZIP", b"\x89HDF\r\n\x1a\n cut off"]
)
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".txt"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    said = "is damaged: " if content[:1] in b"P\x89" and content else "is no Keras model: "
    assert said in refused(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.keras")
    assert "a folder without saved_model.pb is no SavedModel" in refused(tmp_path)
