"""`leukoscope train` as a user runs it: in a process of its own, on pictures on disk."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from smears import NEEDED, folder_a_class

import edge
from edge.cli import main, train
from edge.cli.recipe import OPTIONS
from models.datasets import CLASSES, OTHER
from models.plan import Plan

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

PATIENCE_S = 1200
"""Half a minute for each program; a busy machine takes many times as long."""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)

ROOT = Path(edge.__file__).parent.parent


def leukoscope(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False)


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
    kinds = (*CLASSES, "erythroblast", "immature granulocyte")
    table = [line.split() for line in lines[1 : 1 + len(kinds)]]
    sides = [str(NEEDED[part]) for part in ("train", "validation", "test")]
    assert table == [["here", *kind.split(), *sides] for kind in sorted(kinds)]
    after = lines.index("locating the cells")
    assert all(line.startswith("· ") for line in lines[1 + len(kinds) : after]), "nothing bad to remark"
    assert lines[after + 1].startswith("a picture weighs on average: basophil ")
    course = lines[after + 2 : after + 6]
    assert all(line.startswith("all layers: epoch ") for line in course), course
    assert [course[at].split("recall: ")[1].count("%") for at in (1, 3)] == [len(CLASSES) + 1] * 2
    outcome = lines[after + 6 : -1]
    assert outcome[1].startswith("best of 2 epochs by validation loss: all layers, epoch ")
    assert "\n".join(outcome[1:]) + "\n" == (output / "summary.txt").read_text()
    rows = [
        line.split()[:2] for line in outcome if line.split()[:1] in ([name] for name in (*CLASSES, OTHER))
    ]
    assert rows == [*([name, "4"] for name in CLASSES), [OTHER, "8"]]
    assert f"{output / 'history.json'}: every epoch" in outcome
    assert lines[-1] == (
        f"Next: leukoscope convert {output / 'model.keras'} --calibration {data} --output BUNDLE"
    )


def test_a_training_leaves_its_record(
    trained: tuple[Path, subprocess.CompletedProcess[str]], data: Path
) -> None:
    output = trained[0]
    assert {path.name for path in output.iterdir()} == {
        "model.keras", "history.json", "plan.json", "split.json", "labels.json", "curves.png", "summary.txt",
        "checkpoint",
    }  # fmt: skip
    assert json.loads((output / "labels.json").read_text()) == [*CLASSES, OTHER]
    assert len(json.loads((output / "history.json").read_text())) == 2
    split = json.loads((output / "split.json").read_text())
    assert {(row["class"], row["file"]) for row in split} == {
        (path.parent.name.replace("ig", "immature granulocyte"), path.name) for path in data.rglob("*.jpg")
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


def test_the_options_are_those_of_the_plan_with_its_defaults(tmp_path: Path) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Plan)}
    arguments = ["--architecture", "cnn", "--data", str(tmp_path), "--output", str(tmp_path / "run")]
    given = train.command.make_context("train", arguments).params
    recipe = {option.__click_params__[0].name for option in (each(lambda: None) for each in OPTIONS)}
    # The pictures say which classes there are, and --stain is match_stain in words. How many portraits are seen
    # whole is nobody's choice.
    assert recipe == set(defaults) - {"architecture", "classes", "match_stain", "whole_share"}
    assert {name: given[name] for name in recipe} == {name: defaults[name] for name in recipe}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--gamma", "1"), "--gamma goes with --loss focal only"),
        (("--optimizer", "adam", "--weight-decay", "0.1"), "--weight-decay goes with --optimiser adamw only"),
        (("--plateau-factor", "0.1"), "--plateau-factor goes with --schedule plateau only"),
        (("--schedule", "plateau", "--patience", "3"), "--plateau-patience must be less than --patience"),
        (("--learning-rate", "nan"), "not in the range"),
        (("--smoothing", "0.9"), "not in the range"),
    ],
)
def test_options_without_effect_or_sense_are_refused(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    common = ("--architecture", "cnn", "--data", str(tmp_path), "--output", str(tmp_path / "run"))
    done = CliRunner().invoke(main, ["train", *common, *arguments])
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()
