"""Augmentation and architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from smears import samples

from models.windows import MARGIN

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

import keras
import tensorflow as tf

from edge.errors import DataError
from edge.pictures.images import load
from edge.vision.crop import square
from models.architectures import NAMES, build, leaves, release
from models.augment import WHOLE_ZOOM, augment

# Keras hands NumPy 2 its variables the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 48
SIDE = round(MARGIN * SIZE)

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def window() -> NDArray[np.uint8]:
    from edge.records import Background

    picture = load(samples("acevedo")["neutrophil"][0])
    height, width = picture.shape[:2]
    return square(picture, width / 2, height / 2, min(height, width), SIDE, Background(240, 240, 240))


def drawn(windows: NDArray[np.uint8], whole_share: float = 0.0, seed: int = 1) -> Floats:
    keras.utils.set_random_seed(seed)
    return np.asarray(augment(tf.constant(windows), SIZE, whole_share))


def test_crops_have_the_shape_and_range_of_the_models_input(window: NDArray[np.uint8]) -> None:
    crops = drawn(np.stack([window] * 64))
    assert crops.shape == (64, SIZE, SIZE, 3)
    assert crops.dtype == np.float32
    assert np.isfinite(crops).all()
    assert crops.min() >= 0
    assert crops.max() <= 255


def test_black_and_white_windows_stay_in_range() -> None:
    extremes = np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in (0, 255)] * 32)
    crops = drawn(extremes)
    assert np.isfinite(crops).all()
    assert 0 <= crops.min() <= crops.max() <= 255


def test_every_picture_is_drawn_anew_and_the_seed_decides(window: NDArray[np.uint8]) -> None:
    crops = drawn(np.stack([window] * 8))
    pairs = [(a, b) for a in range(8) for b in range(a)]
    assert all(np.abs(crops[a] - crops[b]).mean() > 1 for a, b in pairs)
    assert np.array_equal(crops, drawn(np.stack([window] * 8)))
    assert not np.array_equal(crops, drawn(np.stack([window] * 8), seed=2))


def test_stain_and_light_move_around_what_was_there(window: NDArray[np.uint8]) -> None:
    crops = drawn(np.stack([window] * 256))
    rim = (SIDE - SIZE) // 2
    middle = window[rim : rim + SIZE, rim : rim + SIZE].astype(np.float32)
    means = crops.mean(axis=(1, 2))
    # Other stains are paler more often than darker, by a few tens of 255 steps.
    assert (np.abs(means.mean(axis=0) - middle.mean(axis=(0, 1))) < 40).all()
    assert (means.std(axis=0) > 5).all()
    colours = means - means.mean(axis=1, keepdims=True)
    assert (colours.std(axis=0) > 2).all(), "the hue changes, not only the brightness"


def test_a_portrait_is_shown_smaller() -> None:
    disc = np.full((SIDE, SIDE, 3), 240, np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc[x**2 + y**2 < (SIZE / 5) ** 2] = 60
    near, far = (drawn(np.stack([disc] * 128), whole_share=share) for share in (0.0, 1.0))

    def area(crops: Floats) -> float:
        lightest = np.quantile(crops.mean(axis=3), 0.95, axis=(1, 2))[:, None, None]
        darkest = crops.mean(axis=3).min(axis=(1, 2))[:, None, None]
        return float(np.median((crops.mean(axis=3) < (lightest + darkest) / 2).mean(axis=(1, 2))))

    assert area(near) / area(far) == pytest.approx(WHOLE_ZOOM**2, rel=0.15)


POOLED = ("cnn", "mobilenet_v2", "mobilenet_v2_head", "mobilenet_v2_last_block", "efficientnet_b0")


@pytest.mark.parametrize("name", NAMES)
def test_an_architecture_has_named_parts_and_runs(name: str) -> None:
    built = build(name, 6, SIZE, "none")
    model = built.model
    assert model.name == name
    assert model.input_shape == (None, SIZE, SIZE, 3)
    embedding, logits = (model.get_layer(part) for part in ("embedding", "logits"))
    assert any(isinstance(layer, keras.layers.Rescaling) for layer in leaves(model)), (
        "it scales its pixels itself"
    )
    assert logits.activation is keras.activations.linear
    inner = keras.Model(model.input, [embedding.output, model.output])
    crops = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)
    shown, answers = (np.asarray(part) for part in inner(crops, training=False))
    assert answers.shape == (2, 6)
    assert np.abs(answers[0] - answers[1]).max() > 0
    weights, bias = logits.get_weights()
    np.testing.assert_allclose(shown @ weights + bias, answers, rtol=1e-4, atol=1e-5)
    if name in POOLED:
        assert isinstance(embedding, keras.layers.GlobalAveragePooling2D)
        maps = np.asarray(keras.Model(model.input, model.get_layer("features").output)(crops, training=False))
        np.testing.assert_allclose(maps.mean(axis=(1, 2)), shown, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_releases_what_it_names(name: str) -> None:
    built = build(name, 6, SIZE, "none")
    for stage in built.stages:
        release(built, stage)
        learning = {layer.name for layer in leaves(built.model) if layer.trainable_weights}
        assert "logits" in learning
        assert not learning & built.frozen
        assert (learning == {"logits"}) == (stage.name == "head")


def test_the_last_block_alone_learns_with_the_head() -> None:
    built = build("mobilenet_v2_last_block", 6, SIZE, "none")
    release(built, built.stages[-1])
    learning = {layer.name for layer in leaves(built.model) if layer.trainable_weights}
    assert learning == {"block_16_expand", "block_16_depthwise", "block_16_project", "Conv_1", "logits"}


def test_the_backbones_normalisation_is_constant() -> None:
    built = build("mobilenet_v2", 6, SIZE, "none")
    assert len(built.frozen) > 40
    release(built, built.stages[-1])
    norms = [layer for layer in leaves(built.model) if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == len(built.frozen)
    assert not any(layer.trainable for layer in norms)
    chance = build("efficientnet_b0", 6, SIZE, "none")
    assert not chance.frozen, "from chance they must learn"


def test_the_compact_network_is_five_blocks_with_dropout() -> None:
    layers = build("cnn", 6, SIZE).model.layers
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.kernel_size for layer in convolutions] == [(3, 3)] * 5
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in layers) == 5
    assert [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)] == [0.3] * 5


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    first = build("mobilenet_v2", 6, SIZE, "none").model
    backbone = next(layer for layer in first.layers if getattr(layer, "layers", None))
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    second = build("mobilenet_v2", 6, SIZE, str(tmp_path / "backbone.weights.h5")).model
    loaded = next(layer for layer in second.layers if getattr(layer, "layers", None))
    assert all(
        np.array_equal(a, b) for a, b in zip(backbone.get_weights(), loaded.get_weights(), strict=True)
    )


def test_an_unknown_architecture_is_refused_by_naming_those_there_are() -> None:
    with pytest.raises(
        DataError, match=r"no architecture 'vgg'; there are: cnn, strided_cnn, .*efficientnet_b0"
    ):
        build("vgg", 6, SIZE)
