"""From a trained model to a bundle that a device runs, or to nothing at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smears import folder_a_class

pytest.importorskip("tensorflow", reason="conversion needs leukoscope[convert]")

from conversion_models import NAMES, SIZE, Trained

from convert import gate
from convert.measure import measure
from convert.package import Order, package
from convert.source import Original, load
from edge.errors import ConversionError, DataError
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pictures.images import load as picture
from edge.pipeline import Reader
from edge.records import Frame, Reason
from models.datasets import CLASSES

# Keras hands NumPy 2 its variables the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def original(trained: Trained, tmp_path: Path) -> Original:
    return loaded(trained.model(), NAMES, tmp_path)


def loaded(model: Any, names: tuple[str, ...], folder: Path) -> Original:
    path = folder / "original.keras"
    model.save(path)
    original = load(path, names, None)
    path.unlink()
    return original


def order(trained: Trained, how: Any = "int8", **other: Any) -> Order:
    return Order("here", "1.2.3", how, (trained.folder,), ("here",), **other)


def frames(folder: Path) -> Iterator[tuple[str, Frame]]:
    for path in sorted(folder.rglob("*.jpg")):
        yield path.parent.name, Frame.of(picture(path), 0, datetime.now(UTC), path.name)


@pytest.mark.parametrize("how", ["int8", "float32"])
def test_a_bundle_classifies_on_the_device(
    trained: Trained, original: Original, tmp_path: Path, how: Any
) -> None:
    lines: list[str] = []
    bundle, comparison = package(original, order(trained, how), tmp_path / "new" / "here", lines.append)
    assert {path.name for path in bundle.directory.iterdir()} == {
        "model.tflite",
        "manifest.json",
        "README.md",
    }
    assert [path.name for path in bundle.directory.parent.iterdir()] == ["here"], "no workplace is left"
    assert comparison.agreement >= gate.LEAST_AGREEMENT
    assert (bundle.name, bundle.version, bundle.manifest.quantization) == ("here", "1.2.3", how)
    assert (bundle.classes, bundle.manifest.others) == (CLASSES, ("other",))
    assert bundle.manifest.input_size == SIZE
    classifier = Classifier(bundle)
    assert classifier.golden_error() < 1e-3
    reader = Reader(classifier, OperatingPoint.of(bundle))
    right = flagged = known = others = 0
    for name, frame in frames(trained.folder):
        for decision in reader.read(frame)[:1]:
            if name in CLASSES:
                known += 1
                right += decision.cell_class == name
            else:
                others += 1
                flagged += Reason.UNFAMILIAR in decision.reasons
    assert right / known > 0.9
    assert flagged / others > 0.8
    card = (bundle.directory / "README.md").read_text()
    measured = bundle.manifest.record["measured"]
    assert [(row["site"], row["split"], row["view"], row["trained"]) for row in measured] == [
        ("here", "test", "auto", True),
        ("here", "test", "cell", True),
    ]
    assert all(
        f"| {row['site']} | {row['split']} | {row['view']} | {row['cells']} |" in card for row in measured
    )
    assert lines


def test_a_folder_that_is_only_measured_on_is_measured_whole(
    trained: Trained, original: Original, tmp_path: Path
) -> None:
    away = folder_a_class(tmp_path / "away", "bccd", needed={"test": 1, "train": 1})
    bundle, _ = package(
        original, order(trained, "float32", measure=(away,)), tmp_path / "out", lambda _: None
    )
    rows = {(row["site"], row["view"]): row for row in bundle.manifest.record["measured"]}
    assert rows["away", "auto"]["split"] == "all"
    assert not rows["away", "auto"]["trained"]
    assert rows["away", "auto"]["cells"] == 8
    assert rows["here", "auto"]["cells"] == 10, "the test part alone"
    assert rows["here", "auto"]["others"] == 4
    again = measure(bundle, trained.folder, "test", "auto")
    assert {**again.record(), "trained": True} == rows["here", "auto"]
    nothing = measure(bundle, away, "validation", "auto")
    assert (nothing.cells, nothing.right, nothing.others_flagged) == (0, None, None)


def test_four_classes_of_another_order(trained: Trained, tmp_path: Path) -> None:
    names = ("neutrophil", "monocyte", "lymphocyte", "eosinophil")
    folder = tmp_path / "four"
    shutil.copytree(trained.folder, folder, ignore=shutil.ignore_patterns("basophil", "ig"))
    original = loaded(trained.model(order=names), names, tmp_path)
    made = Order("four", "1", "int8", (folder,))
    bundle, _ = package(original, made, tmp_path / "out", lambda _: None)
    assert (bundle.classes, bundle.manifest.others) == (names, ())
    assert "then nothing" in (bundle.directory / "README.md").read_text()
    assert "Not recorded" in (bundle.directory / "README.md").read_text()
    reader = Reader(Classifier(bundle), OperatingPoint.of(bundle))
    decisions = [(name, each) for name, frame in frames(folder) for each in reader.read(frame)[:1]]
    known = [name == each.cell_class for name, each in decisions if name in names]
    assert np.mean(known) > 0.9


def test_a_missed_gate_leaves_nothing(
    trained: Trained, original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "LEAST_AGREEMENT", 1.01)
    sentence = (
        r"agrees with its original on .* 101\.0% are needed\. Lost most in .*conv2d.*; try int16x8, float16"
    )
    with pytest.raises(ConversionError, match=sentence):
        package(original, order(trained), tmp_path / "out", lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_missed_gate_leaves_the_bundle_that_was_there(
    trained: Trained, original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = package(original, order(trained, "float32"), tmp_path / "out", lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr(gate, "LEAST_AGREEMENT", 1.01)
        with pytest.raises(ConversionError):
            package(original, order(trained), tmp_path / "out", lambda _: None)
    assert Bundle.load(tmp_path / "out").sha256 == before.sha256
    after, _ = package(original, order(trained), tmp_path / "out", lambda _: None)
    assert Bundle.load(tmp_path / "out").sha256 == after.sha256 != before.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("also", [(), ("manifest.json", "model.tflite")])
def test_a_folder_that_holds_something_else_is_refused_untouched(
    trained: Trained, original: Original, tmp_path: Path, also: tuple[str, ...]
) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    for name in ("chapter1.tex", *also):
        (output / name).write_text("years of work")
    with pytest.raises(
        ConversionError, match=r"thesis exists and is not just a bundle; choose another --output"
    ):
        package(original, order(trained), output, lambda _: None)
    assert {path.name for path in output.iterdir()} == {"chapter1.tex", *also}
    with pytest.raises(ConversionError, match="is not just a bundle"):
        package(original, order(trained), output / "chapter1.tex", lambda _: None)


def test_calibration_pictures_must_show_every_class_on_both_sides(
    trained: Trained, original: Original, tmp_path: Path
) -> None:
    few = folder_a_class(tmp_path / "few", needed={"train": 1, "validation": 1})
    shutil.rmtree(few / "monocyte")
    made = Order("few", "1", "int8", (few,))
    with pytest.raises(ConversionError, match="train part of the calibration pictures shows no monocyte"):
        package(original, made, tmp_path / "out", lambda _: None)
    one_side = folder_a_class(tmp_path / "side", needed={"train": 1})
    with pytest.raises(DataError, match="no labelled pictures in the validation part"):
        package(original, Order("side", "1", "int8", (one_side,)), tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()
    assert trained.folder.is_dir()
