"""`train` and `convert` on data as it comes: four classes, odd names, look-alikes, and sides that are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from smears import folder_a_class

from edge.cli import main

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

pytestmark = [
    # Keras hands NumPy 2 its variables the old way.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(1800),  # a minute; a busy machine takes many times as long
]

FOUR = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")


def leukoscope(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set without basophils, whose neutrophils are called otherwise, and of which one picture is there twice."""
    folder = folder_a_class(tmp_path_factory.mktemp("data") / "four")
    for path in (folder / "basophil").iterdir():
        path.unlink()
    (folder / "neutrophil").rename(folder / "netrophils")
    return folder


def test_a_doubtful_name_stops_a_training_before_it_begins(four: Path, tmp_path: Path) -> None:
    done = leukoscope("train", "--architecture", "cnn", "--data", four, "--output", tmp_path / "run")
    assert done.exit_code == 1
    assert "is netrophils a neutrophil? Say --map 'netrophils=neutrophil'" in done.stderr
    assert not (tmp_path / "run").exists()
    converted = leukoscope("convert", __file__, "--calibration", four, "--map", "a=b")
    assert converted.exit_code == 1


def test_four_classes_are_trained_converted_and_measured(four: Path, tmp_path: Path) -> None:
    said = ("--map", "netrophils=NE")
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    trained = leukoscope(
        "train", "--architecture", "cnn", "--data", four, *said, "--split-by", "class", "--output", run,
        "--size", 32, "--batch", 16, "--epochs", 1,
    )  # fmt: skip
    assert trained.exit_code == 0, trained.stderr
    assert "! No basophil: a model that is trained on this cannot name it" in trained.stderr
    assert json.loads((run / "labels.json").read_text()) == [*FOUR, "other"]
    rows = json.loads((run / "split.json").read_text())
    assert {row["class"] for row in rows} == {*FOUR, "erythroblast", "immature granulocyte"}
    assert any("by_hash" in row for row in rows), "by class, some are on another side"

    model = run / "model.keras"
    arguments = ("--calibration", four, "--quantization", "float32", "--output", bundle)
    converted = leukoscope("convert", model, *arguments, *said)
    assert converted.exit_code == 0, converted.stderr
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["classes"], manifest["others"]) == (list(FOUR), ["other"])
    tested = [row for row in rows if row["split"] == "test"]
    measured = next(each for each in manifest["measured"] if each["split"] == "test")
    assert measured["cells"] == sum(row["class"] in FOUR for row in tested), (
        "the sides are those of the training"
    )
    assert measured["others"] == sum(row["class"] not in FOUR for row in tested)

    arguments = ("--split", "test", "--split-record", run / "split.json")
    evaluated = leukoscope(
        "evaluate", bundle, "--data", four, *said, *arguments, "--output", tmp_path / "report"
    )
    assert evaluated.exit_code == 0, evaluated.stderr
    (found,) = json.loads((tmp_path / "report" / "report.json").read_text())["models"]
    assert found["pictures"] == measured["cells"]
