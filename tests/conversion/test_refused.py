"""What is not converted: refused before any of its code runs, with a sentence that says what to do."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs leukoscope[convert]")

import h5py
import keras
import tensorflow as tf
from keras import layers
from test_habits import FIVE, PICTURES, SIZE, pooled, stack, written

from convert import files
from convert.source import load
from edge.errors import ConversionError

# Keras hands NumPy 2 its variables the old way, and remarks on .h5 being an old format.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def refused(path: Path, names: tuple[str, ...] = FIVE, how: Any = None, **options: Any) -> str:
    with pytest.raises(ConversionError) as caught:
        load(path, names, how, **options)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert str(path) in text
    return text


def two_inputs() -> Any:
    one, two = keras.Input((SIZE, SIZE, 3)), keras.Input((4,))
    x = layers.concatenate([layers.GlobalAveragePooling2D()(one), two])
    return keras.Model([one, two], layers.Dense(5)(x))


def shaped(*shape: int | None, **settings: Any) -> Any:
    return keras.Sequential([
        keras.Input(shape, **settings), layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), layers.Dense(5),
    ])  # fmt: skip


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "channels first": (lambda: shaped(3, SIZE, SIZE), "takes its channels first .* data_format='channels_last'"),
    "not square": (lambda: shaped(SIZE, 2 * SIZE, 3), "32 × 64; a device cuts cells out square"),
    "any size": (lambda: shaped(None, None, 3), "say which it was trained on with --size 128"),
    "tiny": (lambda: shaped(8, 8, 3), "8 × 8; 16 to 512 pixels are taken"),
    "four channels": (lambda: shaped(SIZE, SIZE, 4), "takes 4 channels; R, G, B or grey"),
    "no picture": (
        lambda: keras.Sequential([keras.Input((9,)), layers.Dense(5)]), "no picture of height × width × channels"
    ),
    "two inputs": (two_inputs, "one input, one output"),
    "a map for an answer": (lambda: stack(layers.Conv2D(5, 1)), "a classifier gives one a class"),
    "one output": (lambda: stack(*pooled(1, "sigmoid")), "has a single output"),
    "an ending without meaning": (lambda: stack(*pooled(5, "tanh")), "ends in Tanh, which is neither"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_a_sentence_says_why_and_what_to_do(make: Callable[[], Any], sentence: str, tmp_path: Path) -> None:
    assert re.search(sentence, refused(written(make(), tmp_path, "model.keras")))


def test_a_model_of_any_size_takes_the_one_that_is_said(tmp_path: Path) -> None:
    path = written(stack(*pooled(5), size=None), tmp_path, "model.keras")
    assert load(path, FIVE, None, size=48).size == 48
    fixed = written(stack(*pooled(5)), tmp_path, "fixed.keras")
    assert "takes pictures of 32 × 32, not of 48 × 48" in refused(fixed, size=48)


def test_a_known_backbone_hints_at_its_normalisation(tmp_path: Path) -> None:
    given = keras.Input((SIZE, SIZE, 3))
    body = keras.Model(given, layers.Conv2D(4, 3, name="block1_conv1")(given), name="vgg16")
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), body, *pooled(5)])
    model.name = "vgg16_transfer"
    assert (
        "(vgg16_transfer: if it was trained with keras.applications' preprocess_input, that is imagenet-caffe)"
        in (refused(written(model, tmp_path, "model.keras")))
    )


def test_scaling_twice_is_done_and_remarked(tmp_path: Path) -> None:
    path = written(stack(*pooled(5)), tmp_path, "model.keras")
    assert load(path, FIVE, "0-1").notes[0].startswith("it scales pixels itself, and gets them scaled")
    assert load(path, FIVE, None).notes == ()


class Mish(layers.Layer):  # type: ignore[misc]
    """Somebody's own layer."""

    def call(self, x: Any) -> Any:
        return x * keras.ops.tanh(keras.ops.softplus(x))


def test_a_class_of_its_own_is_named_and_used_where_it_is_allowed(tmp_path: Path) -> None:
    model = stack(Mish(name="mish"), *pooled(5))
    for file in ("model.keras", "model.h5"):
        path = written(model, tmp_path, file)
        text = refused(path)
        assert (
            "contains the class 'Mish': code that a model file can bring along, and that is not run" in text
        )
        assert 'model.export("folder")' in text
        assert text.endswith("--allow-custom")
        original = load(path, FIVE, None, allowed=[f"{__name__}:Mish"])
        theirs = keras.ops.softmax(model(PICTURES.astype(np.float32)))
        np.testing.assert_allclose(original.answer(PICTURES), np.asarray(theirs), atol=1e-4)
        assert "cannot be found in its Python module 'no.such'" in refused(path, allowed=["no.such:Mish"])
    assert load(written(model, tmp_path, "exported"), FIVE, None).names == FIVE


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_a_lambda_layer_is_refused_and_its_code_does_not_run(tmp_path: Path, file: str) -> None:
    witness = tmp_path / "ran"
    spoiled = layers.Lambda(lambda x, w=str(witness): (open(w, "w").close(), x)[1], name="sly")  # noqa: PTH123
    path = written(stack(spoiled, *pooled(5)), tmp_path, file)
    witness.unlink(missing_ok=True)
    assert "contains the Lambda layer 'sly'" in refused(path)
    assert not witness.exists()
    if file == "model.keras":
        assert load(path, FIVE, None, allowed=["sly"]).names == FIVE
        assert witness.exists(), "allowed by name, it runs"


def with_config(folder: Path, change: Callable[[Any], None]) -> Path:
    """A `.keras` file whose configuration was changed."""
    path = written(stack(*pooled(5)), folder, "model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else data)
    return path


def first(config: Any) -> Any:
    return config["config"]["layers"][2]["config"]


def put(key: str, value: Any) -> Callable[[Any], None]:
    return lambda config: first(config).update({key: value})


def deep(config: Any) -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    first(config)["kernel_size"] = value


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "a function by module": (
        put("activation", {"class_name": "function", "module": "os", "config": "system"}), "the function 'system'"),
    "a lambda as activation": (
        put("activation", {"class_name": "__lambda__", "config": {"value": ["eA==", None, None]}}), "'__lambda__'"),
    "a class of another module": (
        put("activation", {"class_name": "Popen", "module": "subprocess", "config": {}}), "the class 'Popen'"),
    "a class of Keras that reads files": (
        put("activation", {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/x"}}),
        "the class 'TFSMLayer'"),
    "an operation that is a module's import": (
        put("activation", {"class_name": "np", "module": "keras.src.ops.numpy", "config": {}}), "the class 'np'"),
    "a tensor with an object in it": (
        put("activation", {"class_name": "__numpy__", "config": {"value": [{"class_name": "Lambda"}]}}), "malformed"),
    "huge": (put("filters", 10**9), "asks for 1,000,000,000 of something"),
    "deep": (deep, "nested more than 60 deep"),
    "no network": (lambda config: config.update(class_name="Dense"), "describes no network"),
    "a list for layers": (lambda config: config["config"].update(layers={"a": 1}), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_configuration_is_checked_before_keras_sees_it(
    change: Callable[[Any], None], sentence: str, tmp_path: Path
) -> None:
    assert sentence in refused(with_config(tmp_path, change))


def test_what_a_training_left_is_not_read(tmp_path: Path) -> None:
    mine = {"class_name": "Mine", "module": "evil", "config": {}}

    def change(config: Any) -> None:
        first(config).update(kernel_initializer=mine, kernel_regularizer=mine, dtype=mine)
        config["compile_config"] = {"optimizer": mine, "loss": mine}

    assert load(with_config(tmp_path, change), FIVE, None).names == FIVE


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LARGEST", 2**20)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(2**21))
    assert path.stat().st_size < 2**14
    assert "holds 2 MiB, more than the 1 allowed" in refused(path)
    path = written(stack(*pooled(5)), tmp_path, "model.h5")
    with h5py.File(path, "r+") as file:
        file.create_dataset("zeros", (2**21,), "u1", compression="gzip")
    assert "holds 2 MiB, more than the 1 allowed" in refused(path)


def test_weights_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4096))
    for number, spoil in enumerate((
        lambda file: file.update({"x": h5py.ExternalLink(str(tmp_path / "other.h5"), "/")}),
        lambda file: file.update({"x": h5py.SoftLink("/model_weights")}),
        lambda file: file.create_dataset("x", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)]),
    )):  # fmt: skip
        path = written(stack(*pooled(5)), tmp_path, f"{number}.h5")
        with h5py.File(path, "r+") as file:
            spoil(file)
        assert "x is a link" in refused(path) or "x is stored in a way" in refused(path)


def test_weights_without_their_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "only.weights.h5"
    stack(*pooled(5)).save_weights(path)
    assert "holds weights without the network" in refused(path)


def saved_model(folder: Path, call: Callable[[Any], Any], batch: int | None = None) -> Path:
    module = tf.Module()
    module.table = tf.Variable(np.ones((3, 5), np.float32))
    spec = tf.TensorSpec([batch, SIZE, SIZE, 3], tf.float32, "pixels")
    function = tf.function(lambda pixels: {"answer": call(pixels) @ module.table}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=function)
    return folder


def test_a_saved_model_that_does_more_than_calculate_is_refused(tmp_path: Path) -> None:
    def sly(pixels: Any) -> Any:
        tf.io.write_file(str(tmp_path / "ran"), "mine")
        return tf.reduce_mean(pixels / 255.0, (1, 2))

    path = saved_model(tmp_path / "sly", sly)
    assert "operations that do more than calculate, or that no device has: WriteFile" in refused(path)
    assert not (tmp_path / "ran").exists()
    plain = saved_model(tmp_path / "plain", lambda pixels: tf.reduce_mean(pixels / 255.0, (1, 2)))
    original = load(plain, FIVE, None)
    assert (original.weights.shape, original.architecture) == ((3, 5), "plain")
    (plain / "variables" / "more").symlink_to("/etc/passwd")
    with pytest.raises(ConversionError, match="more: is a link"):
        load(plain, FIVE, None)


def test_a_batch_of_one_size_is_taken_where_it_can_be_changed(tmp_path: Path) -> None:
    assert (
        load(written(shaped(SIZE, SIZE, 3, batch_size=32), tmp_path, "model.keras"), FIVE, None).size == SIZE
    )
    path = saved_model(tmp_path / "fixed", lambda pixels: tf.reduce_mean(pixels / 255.0, (1, 2)), 32)
    assert "takes 32 pictures at a time only" in refused(path)
    path = saved_model(tmp_path / "one", lambda pixels: tf.reduce_mean(pixels / 255.0, (1, 2)), 1)
    assert load(path, FIVE, None).answer(PICTURES).shape == (len(PICTURES), 5)


def test_a_saved_model_with_a_table_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1]), tf.constant([1.0, 2.0]))
    module.table = tf.lookup.StaticHashTable(initializer, 0.0)
    spec = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)
    module.call = tf.function(
        lambda x: module.table.lookup(tf.cast(x[:, 0, 0], tf.int32)), input_signature=[spec]
    )
    tf.saved_model.save(module, str(tmp_path / "table"), signatures=module.call)
    assert "brings resource of its own, which would run while it is loaded" in refused(tmp_path / "table")


@pytest.mark.parametrize("content", [b"", b"nonsense" * 20])
def test_a_damaged_saved_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    text = refused(tmp_path)
    assert "saved_model.pb is damaged" in text or "by TensorFlow 1 or is empty" in text
