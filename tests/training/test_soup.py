"""Averaged trainings: the mean of the weights, and what they saw together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

import keras

from edge.cli import main
from edge.errors import DataError
from models.architectures import build
from models.soup import average

# Keras hands NumPy 2 its variables the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def run_of(folder: Path, value: float, **plan: object) -> Path:
    """A training whose every weight is one value."""
    folder.mkdir()
    model = build("strided_cnn", 6, 32).model
    model.set_weights([np.full_like(array, value) for array in model.get_weights()])
    model.save(folder / "model.keras")
    (folder / "labels.json").write_text(json.dumps(["a", "b"]))
    record = {"architecture": "strided_cnn", "size": 32, "match_stain": True, **plan}
    (folder / "plan.json").write_text(json.dumps(record))
    rows = [
        {"sha256": "x", "split": "test", "site": "s"},
        {"sha256": folder.name, "split": "train", "site": "s"},
    ]
    (folder / "split.json").write_text(json.dumps(rows))
    return folder


def test_the_mean_of_the_weights_and_every_picture_on_its_most_trained_side(tmp_path: Path) -> None:
    one, two = run_of(tmp_path / "one", 1.0), run_of(tmp_path / "two", 3.0)
    rows = json.loads((two / "split.json").read_text())
    rows[0]["split"] = "train"
    (two / "split.json").write_text(json.dumps(rows))
    model = keras.models.load_model(average([one, two], tmp_path / "out"), compile=False)
    assert all((array == 2.0).all() for array in model.get_weights())
    sides = {row["sha256"]: row["split"] for row in json.loads((tmp_path / "out" / "split.json").read_text())}
    assert sides == {"x": "train", "one": "train", "two": "train"}
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["match_stain"] is True
    assert plan["average_of"] == ["one", "two"]


def test_trainings_of_different_kinds_are_refused(tmp_path: Path) -> None:
    one, two = run_of(tmp_path / "one", 1.0), run_of(tmp_path / "two", 3.0, match_stain=False)
    with pytest.raises(DataError, match="differ in match_stain: True, False"):
        average([one, two], tmp_path / "out")
    average([one, two], tmp_path / "told", match_stain=True)
    assert json.loads((tmp_path / "told" / "plan.json").read_text())["match_stain"] is True
    (two / "model.keras").write_bytes(b"no model")
    (two / "plan.json").write_text((one / "plan.json").read_text())
    with pytest.raises(DataError, match=r"two/model\.keras: Keras cannot load it"):
        average([one, two], tmp_path / "out")
    (two / "labels.json").unlink()
    told = CliRunner().invoke(main, ["average", str(one), str(two), "--output", str(tmp_path / "out")])
    assert told.exit_code == 1
    assert "is no finished training: labels.json" in told.output
    assert not (tmp_path / "out").exists()
