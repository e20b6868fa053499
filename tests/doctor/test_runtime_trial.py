"""The runtime and the model: the traps that are known, and answers that must stay as they were."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from patients import marks, one, patient

from edge.doctor import Mark, runtime
from edge.inference.bundle import Bundle, resolve, zoo

GOOD, BAD, UNSURE = Mark.GOOD, Mark.BAD, Mark.UNSURE


def test_all_is_well_here(tmp_path: Path) -> None:
    found = list(runtime.look(patient(tmp_path, model={"name": "cnn-int8"})))
    assert one(found, "runtime").mark is one(found, "model").mark is GOOD
    assert one(found, "answers").mark is GOOD
    assert "known cells" in one(found, "answers").text
    assert one(found, "kernels").mark in (GOOD, UNSURE)  # what the runtime of this machine was built with


def installed(folder: Path, **versions: str) -> None:
    """Distributions as pip leaves them, as far as their version is asked for."""
    for name, version in versions.items():
        information = folder / f"{name}-{version}.dist-info"
        information.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        (information / "METADATA").write_text(text)


@pytest.mark.parametrize(
    ("versions", "mark", "advice"),
    [
        ({}, BAD, "pip install ai-edge-litert"),
        ({"tflite_runtime": "2.14.0", "numpy": "2.1.3"}, BAD, "numpy<2"),
        ({"tflite_runtime": "2.14.0", "numpy": "1.26.4"}, GOOD, ""),
        ({"ai_edge_litert": "2.1.0", "numpy": "2.1.3"}, GOOD, ""),
    ],
)
def test_which_wheels_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], mark: Mark, advice: str
) -> None:
    installed(tmp_path, **versions)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = runtime._runtime()
    assert found.mark is mark
    assert advice in found.advice


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the zoo that can be altered."""
    return Path(shutil.copytree(resolve("cnn-int8"), tmp_path / "bundle"))


def looked(folder: Path, bundle: Path) -> dict[str, Mark]:
    return marks(runtime.look(patient(folder, model={"name": str(bundle)})))


def test_a_model_that_was_altered(bundle: Path, tmp_path: Path) -> None:
    with (bundle / "model.tflite").open("ab") as file:
        file.write(b"\0")
    found = looked(tmp_path, bundle)
    assert found["model"] is BAD
    assert "answers" not in found


def test_classes_in_another_order_give_other_answers(bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    first, second, *rest = manifest["classes"]
    manifest["classes"] = [second, first, *rest]
    (bundle / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert looked(tmp_path, bundle)["answers"] is BAD


def test_a_model_without_earlier_answers_is_held_against_the_labels(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "golden.json").write_text("{}")
    monkeypatch.setattr(runtime, "GOLDEN", tmp_path / "golden.json")
    assert looked(tmp_path, bundle)["answers"] is GOOD
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    manifest["classes"] = [*manifest["classes"][1:], manifest["classes"][0]]
    (bundle / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert looked(tmp_path, bundle)["answers"] is UNSURE


def test_a_runtime_that_ends_its_process_ends_no_other(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -ILL $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    found = one(runtime.look(patient(tmp_path, model={"name": str(bundle)})), "kernels")
    assert found.mark is BAD
    assert "signal 4" in found.text


def test_every_model_of_the_zoo_has_answers_to_be_held_against() -> None:
    known = json.loads(runtime.GOLDEN.read_text("utf-8"))
    for folder in zoo():
        bundle = Bundle.load(folder)
        assert bundle.sha256 in known, f"{bundle.name} was exchanged: run bench/doctor_golden.py"
        classes = {name for name, _ in known[bundle.sha256].values()}
        assert classes == set(bundle.classes), "each class is among them"
