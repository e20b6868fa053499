"""A bundle is taken only if its file is the one that its manifest describes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BundleError
from edge.inference.bundle import DEFAULT_MODEL, Bundle, resolve, zoo
from edge.inference.classify import Classifier


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The default bundle, in a folder of one's own."""
    return Path(shutil.copytree(resolve(DEFAULT_MODEL), tmp_path / "mine"))


def change(bundle: Path, alter: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    record = json.loads(path.read_text("utf-8"))
    alter(record)
    path.write_text(json.dumps(record), "utf-8")


def swap_model(bundle: Path, model: bytes) -> None:
    """Another model, and the manifest with its hash."""
    (bundle / "model.tflite").write_bytes(model)
    change(bundle, lambda record: record.update(sha256=hashlib.sha256(model).hexdigest()))


def test_the_zoo_holds_the_default() -> None:
    assert DEFAULT_MODEL in [path.name for path in zoo()]
    assert list(zoo()) == sorted(zoo())
    assert Bundle.load().name == DEFAULT_MODEL


@pytest.mark.parametrize("directory", zoo(), ids=lambda path: path.name)
def test_every_bundle_of_the_zoo_is_whole(directory: Path) -> None:
    bundle = Bundle.load(directory.name)
    assert bundle.directory == directory
    assert bundle.name == directory.name == f"{bundle.manifest.architecture}-{bundle.manifest.quantization}"
    assert bundle.sha256 == hashlib.sha256((directory / "model.tflite").read_bytes()).hexdigest()
    assert bundle.classes == ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
    assert (directory / "README.md").read_text("utf-8").startswith("#")
    bundle.interpreter()


def test_a_bundle_is_found_by_its_folder(copy: Path) -> None:
    assert Bundle.load(copy).sha256 == Bundle.load(str(copy)).sha256 == Bundle.load().sha256
    assert Bundle.load(copy).directory == copy


@pytest.mark.parametrize(
    "name", ["resnet", "", "../zoo", "/nowhere/at/all", "mobilenet_v2-int8/manifest.json"]
)
def test_what_is_not_there_is_answered_with_what_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=DEFAULT_MODEL if name else r"manifest\.json|" + DEFAULT_MODEL):
        Bundle.load(name)


@pytest.mark.parametrize("file", ["manifest.json", "model.tflite"])
def test_a_missing_file_is_named(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(BundleError, match=file):
        Bundle.load(copy)


@pytest.mark.parametrize("file", ["manifest.json", "model.tflite"])
def test_a_folder_in_place_of_a_file_is_refused(copy: Path, file: str) -> None:
    (copy / file).unlink()
    (copy / file).mkdir()
    with pytest.raises(BundleError, match=file):
        Bundle.load(copy)


@pytest.mark.parametrize(("file", "mebibytes"), [("manifest.json", 8), ("model.tflite", 64)])
def test_a_huge_file_is_refused(copy: Path, file: str, mebibytes: int) -> None:
    with (copy / file).open("r+b") as sparse:
        sparse.truncate(mebibytes * 2**20 + 1)
    with pytest.raises(BundleError, match=f"{file}: larger than {mebibytes} MiB"):
        Bundle.load(copy)


@pytest.mark.parametrize("where", [0, 1000, -1])
def test_an_altered_model_is_refused(copy: Path, where: int) -> None:
    model = bytearray((copy / "model.tflite").read_bytes())
    model[where] ^= 1
    (copy / "model.tflite").write_bytes(model)
    with pytest.raises(BundleError, match=r"model\.tflite was altered"):
        Bundle.load(copy)


def test_a_cut_model_is_refused(copy: Path) -> None:
    model = (copy / "model.tflite").read_bytes()
    (copy / "model.tflite").write_bytes(model[: len(model) // 2])
    with pytest.raises(BundleError, match=r"model\.tflite was altered"):
        Bundle.load(copy)


def test_a_bundle_for_other_crops_is_refused(copy: Path) -> None:
    change(copy, lambda record: record["input"].update(crop_um=25.0))
    with pytest.raises(BundleError, match=r"crops of 25\.0 µm"):
        Bundle.load(copy)


@pytest.mark.parametrize("model", [b"", b"not a model", b"\0" * 5000, b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_a_file_that_is_no_model_is_refused(copy: Path, model: bytes) -> None:
    swap_model(copy, model)
    with pytest.raises(BundleError):
        Classifier(Bundle.load(copy))


def test_another_input_size_than_the_manifests_is_refused(copy: Path) -> None:
    change(copy, lambda record: record["input"].update(size=96))
    with pytest.raises(BundleError, match=r"input is .*128.* the manifest says 96"):
        Classifier(Bundle.load(copy))


@pytest.mark.parametrize("position", [-1, 3, 100])
def test_an_output_that_the_model_does_not_have_is_named(copy: Path, position: int) -> None:
    change(copy, lambda record: record["outputs"]["embedding"].update(position=position))
    with pytest.raises(BundleError, match=f"no output {position}, named embedding"):
        Classifier(Bundle.load(copy))


@pytest.mark.parametrize(
    ("one", "other"),
    [("embedding", "probabilities"), ("features", "embedding"), ("probabilities", "features")],
)
def test_outputs_that_are_mixed_up_are_refused(copy: Path, one: str, other: str) -> None:
    def swap(record: dict[str, Any]) -> None:
        outputs = record["outputs"]
        outputs[one], outputs[other] = outputs[other], outputs[one]

    change(copy, swap)
    with pytest.raises(BundleError, match=f"output ({one}|{other}) has the shape"):
        Classifier(Bundle.load(copy))
