"""Keras files from outside: converted as `leukoscope convert` does, and none of their code is run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="needs leukoscope[convert]")

import keras

from dashboard.upload.models import Model, Shelf
from edge.errors import BundleError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, about numpy

layers = keras.layers


def saved(folder: Path, *inner: Any, outputs: int) -> bytes:
    """A small classifier as a `.keras` file."""
    network = keras.Sequential(
        [keras.Input((32, 32, 3)), *inner, layers.GlobalAveragePooling2D(), layers.Dense(outputs, "softmax")]
    )
    network.save(folder / "network.keras")
    return (folder / "network.keras").read_bytes()


def added(folder: Path, data: bytes, classes: tuple[str, ...]) -> Model:
    shelf = Shelf(folder / "models", 4)
    shelf.open()
    (folder / "sent").write_bytes(data)
    return asyncio.run(shelf.add(folder / "sent", "network.keras", classes, "none"))


def test_it_is_converted(tmp_path: Path) -> None:
    data = saved(tmp_path, layers.Rescaling(1 / 255), layers.Conv2D(8, 3), outputs=3)
    model = added(tmp_path, data, ("lymphocyte", "monocyte", "neutrophil"))
    assert model.classes == ("lymphocyte", "monocyte", "neutrophil") and not model.calibrated
    with pytest.raises(BundleError, match="has 3 outputs, but 2 classes are named"):
        added(tmp_path, data, ("lymphocyte", "monocyte"))


def test_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    def evil(x: Any) -> Any:
        marker.write_text("ran")
        return x

    data = saved(tmp_path, layers.Lambda(evil, output_shape=(32, 32, 3)), outputs=2)
    marker.unlink(missing_ok=True)
    with pytest.raises(BundleError, match="Lambda"):
        added(tmp_path, data, ("lymphocyte", "monocyte"))
    assert not marker.exists() and not list((tmp_path / "models").iterdir())
