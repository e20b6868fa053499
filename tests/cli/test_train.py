"""`leukoscope train` as a user runs it: in a process of its own, on pictures on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from smears import NEEDED, folder_a_class

import edge
from edge.cli import main
from models.datasets import CLASSES, OTHER

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

ROOT = Path(edge.__file__).parent.parent


def leukoscope(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_a_class(tmp_path_factory.mktemp("data") / "here")


@pytest.fixture(scope="module")
def trained(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    output = tmp_path_factory.mktemp("trained") / "new" / "run"
    return output, leukoscope(
        "train", "--architecture", "cnn", "--data", data, "--output", output,
        "--size", 32, "--batch", 16, "--epochs", 2,
    )  # fmt: skip


def test_a_training_says_only_what_it_does(
    trained: tuple[Path, subprocess.CompletedProcess[str]], data: Path
) -> None:
    output, done = trained
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output / 'model.keras'}\n"
    lines = done.stderr.splitlines()
    kinds = (*CLASSES, "erythroblast", "ig")
    table = [line.split() for line in lines[1 : 1 + len(kinds)]]
    sides = [str(NEEDED[part]) for part in ("train", "validation", "test")]
    assert table == [["here", kind, *sides] for kind in sorted(kinds)]
    assert lines[1 + len(kinds)] == "locating the cells"
    course = lines[2 + len(kinds) : -1]
    assert len(course) == 4
    assert all(line.startswith("all layers: epoch ") for line in course), course
    assert lines[-1] == (
        f"Next: leukoscope convert {output / 'model.keras'} --calibration {data} --output BUNDLE"
    )


def test_a_training_leaves_its_record(
    trained: tuple[Path, subprocess.CompletedProcess[str]], data: Path
) -> None:
    output = trained[0]
    assert {path.name for path in output.iterdir()} == {
        "model.keras", "history.json", "plan.json", "split.json", "labels.json", "curves.png", "checkpoint",
    }  # fmt: skip
    assert json.loads((output / "labels.json").read_text()) == [*CLASSES, OTHER]
    assert len(json.loads((output / "history.json").read_text())) == 2
    split = json.loads((output / "split.json").read_text())
    assert {(row["class"], row["file"]) for row in split} == {
        (path.parent.name, path.name) for path in data.rglob("*.jpg")
    }
    assert {row["site"] for row in split} == {"here"}
    assert sum(row["split"] == "test" for row in split) == 7 * NEEDED["test"]


def test_another_plan_or_other_pictures_are_refused_and_the_record_stays(
    trained: tuple[Path, subprocess.CompletedProcess[str]], data: Path, tmp_path: Path
) -> None:
    output = trained[0]
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    common = ("--architecture", "cnn", "--output", output, "--size", 32, "--batch", 16)
    other = folder_a_class(tmp_path / "there", needed={"train": 1, "validation": 1})
    for arguments, sentence in [
        (("--data", data, "--epochs", 3), "holds a training by another plan"),
        (("--data", other, "--epochs", 2), "holds a training on other pictures"),
    ]:
        done = CliRunner().invoke(main, ["train", *map(str, (*common, *arguments))])
        assert done.exit_code == 1
        assert sentence in done.stderr.splitlines()[-1]
        assert done.stdout == ""
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == before


def test_missing_classes_and_unusable_folders_are_named(tmp_path: Path) -> None:
    few = folder_a_class(tmp_path / "few", "acevedo_other", needed={"train": 1, "validation": 1})
    (tmp_path / "empty").mkdir()
    for folder, sentence in [
        (few, f"no training pictures of: {', '.join(CLASSES)}"),
        (tmp_path / "empty", "no labelled pictures; expected a folder a class"),
    ]:
        arguments = ["--architecture", "cnn", "--data", str(folder), "--size", "32"]
        done = CliRunner().invoke(main, ["train", *arguments, "--output", str(tmp_path / "run")])
        assert done.exit_code == 1
        assert sentence in done.stderr.splitlines()[-1]
