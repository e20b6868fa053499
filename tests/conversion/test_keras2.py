"""Files that Keras 2 wrote are read as Keras 2 would: see `keras2/make.py` for how they were made."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs leukoscope[convert]")

import h5py
from test_habits import KERAS_2, STORED, as_probabilities

from convert.source import load
from edge.errors import ConversionError

PICTURES = STORED["pictures"]
NAMES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil", "ig", "erythroblast", "platelet")


def agrees(file: str, path: Path, normalization: Any = None, **options: Any) -> None:
    theirs = STORED[file]
    original = load(path, NAMES[: theirs.shape[1]], normalization, **options)
    ending = "softmax" if np.allclose(theirs.sum(1), 1, atol=1e-5) else "logits"
    np.testing.assert_allclose(original.answer(PICTURES), as_probabilities(theirs, ending), atol=1e-5)


@pytest.mark.parametrize(
    ("file", "normalization"),
    [
        ("old_sequential.h5", "0-1"),
        ("frozen_backbone.h5", None),
        ("caffe_scaling.h5", None),
        ("squeeze_excite.h5", None),
        ("squeeze_excite.keras", None),
        ("tutorial.h5", None),
    ],
)
def test_the_answers_are_those_of_keras_2(file: str, normalization: Any) -> None:
    agrees(file, KERAS_2 / file, normalization)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="a function is stored as the code of one Python")
def test_a_lambda_layer_runs_where_it_is_allowed_by_name() -> None:
    agrees("with_lambda.h5", KERAS_2 / "with_lambda.h5", allowed=["scale_pixels"])


def test_a_lambda_layer_is_named() -> None:
    for allowed in ([], ["lambda", "scale", "Lambda"]):
        with pytest.raises(
            ConversionError, match=r"contains the Lambda layer 'scale_pixels': code that a model"
        ):
            load(KERAS_2 / "with_lambda.h5", NAMES[:5], None, allowed=allowed)


def changed(file: str, folder: Path, change: Any) -> Path:
    """A copy of a file with another configuration."""
    path = Path(shutil.copy(KERAS_2 / file, folder))
    with h5py.File(path, "r+") as opened:
        config = json.loads(opened.attrs["model_config"])
        change(config["config"])
        opened.attrs["model_config"] = json.dumps(config)
    return path


def test_a_stack_without_an_input_layer_is_read(tmp_path: Path) -> None:
    def older(config: Any) -> None:
        shape = config["layers"].pop(0)["config"]["batch_input_shape"]
        config["layers"][0]["config"]["batch_input_shape"] = shape

    agrees("old_sequential.h5", changed("old_sequential.h5", tmp_path, older), "0-1")


def test_weights_of_another_order_find_their_place_by_name(tmp_path: Path) -> None:
    path = Path(shutil.copy(KERAS_2 / "frozen_backbone.h5", tmp_path))
    with h5py.File(path, "r+") as opened:
        attributes = opened["model_weights/mobilenetv2_like"].attrs
        names = list(attributes["weight_names"])
        attributes["weight_names"] = [*names[5:], *names[:5]]
    agrees("frozen_backbone.h5", path)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = Path(shutil.copy(KERAS_2 / "tutorial.h5", tmp_path))
    with h5py.File(path, "r+") as opened:
        attributes = opened["model_weights/conv2d"].attrs
        attributes["weight_names"] = attributes["weight_names"][:1]
    with pytest.raises(ConversionError, match="has 1 arrays for the layer conv2d, which takes 2"):
        load(path, NAMES[:5], None)

    def wider(config: Any) -> None:
        config["layers"][-1]["config"]["units"] = 6

    path = changed("tutorial.h5", tmp_path, wider)
    with pytest.raises(ConversionError, match=r"the layer dense is \(8, 5\), the network wants \(8, 6\)"):
        load(path, NAMES[:6], None)


def test_an_operation_that_does_more_than_calculate_is_refused(tmp_path: Path) -> None:
    def reading(config: Any) -> None:
        config["layers"][1]["config"]["function"] = "io.read_file"

    with pytest.raises(
        ConversionError, match=r"the operation io\.read_file between its layers is not known here"
    ):
        load(changed("frozen_backbone.h5", tmp_path, reading), NAMES, None)
