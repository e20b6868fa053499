"""Models from outside: taken where they are what they say, refused with a sentence where not, and never run as code."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import random
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from visiting import CELLS, begun, over, running

from dashboard.upload.models import Model, Shelf
from dashboard.upload.tflite import check, operators
from edge.errors import BundleError
from edge.inference.bundle import Bundle, resolve

ZOO = resolve("cnn-int8")
NAMES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil", "other")


def zipped(
    changed: dict[str, bytes] | None = None, folder: str = "cnn/", packing: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A bundle of the zoo as a ZIP, with files changed or added."""
    files = {f"{folder}{path.name}": path.read_bytes() for path in ZOO.iterdir()} | (changed or {})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def added(folder: Path, data: bytes, classes: tuple[str, ...] = (), scaling: str = "") -> Model:
    shelf = Shelf(folder / "models", 4)
    shelf.open()
    file = folder / "sent"
    file.write_bytes(data)
    return asyncio.run(shelf.add(file, "sent.zip", classes, scaling))


def refused(folder: Path, data: bytes, classes: tuple[str, ...] = (), scaling: str = "none") -> str:
    with pytest.raises(BundleError) as refusal:
        added(folder, data, classes, scaling)
    assert not list((folder / "models").glob("*")), "nothing is left of it"
    return str(refusal.value)


@pytest.mark.parametrize("folder", ["", "cnn/", "a/b/"])
def test_a_bundle_is_taken_and_stays(tmp_path: Path, folder: str) -> None:
    model = added(tmp_path, zipped(folder=folder))
    assert model.calibrated and model.classes == NAMES[:5] and model.uploaded
    again = Shelf(tmp_path / "models", 4)
    again.open()
    assert again.get(model.key) == model
    again.remove(model.key)
    with pytest.raises(BundleError, match="not here any more"):
        again.get(model.key)
    with pytest.raises(BundleError, match="Only uploaded"):
        again.remove("cnn-int8")


def test_only_a_bundles_own_files_are_written(tmp_path: Path) -> None:
    evil = {"../../climbs.py": b"x", "cnn/__init__.py": b"x", "/tmp/climbs": b"x"}
    model = added(tmp_path, zipped(evil))
    found = sorted(path.name for path in model.directory.iterdir())
    assert found == ["README.md", "manifest.json", "model.tflite", "shelf.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "sent"]


def test_bundles_that_contradict_themselves(tmp_path: Path) -> None:
    manifest = json.loads((ZOO / "manifest.json").read_text("utf-8"))
    model = (ZOO / "model.tflite").read_bytes()
    assert "altered" in refused(tmp_path, zipped({"cnn/model.tflite": model[:-1] + b"x"}))
    other = json.dumps({**manifest, "classes": manifest["classes"][:2]}).encode()
    assert "shape" in refused(tmp_path, zipped({"cnn/manifest.json": other}))
    assert "not JSON" in refused(tmp_path, zipped({"cnn/manifest.json": b"{"}))
    assert "more than one" in refused(tmp_path, zipped({"two/manifest.json": b"{}"}))
    assert "larger than" in refused(tmp_path, zipped({"cnn/model.tflite": bytes(80 * 2**20)}))
    golden = manifest["golden"] | {"probabilities": [0, 0, 0, 0, 0, 1.0]}
    wrong = json.dumps({**manifest, "golden": golden}).encode()
    assert "golden" in refused(tmp_path, zipped({"cnn/manifest.json": wrong}))


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bundle_damaged_in_its_archive_is_said_to_be(tmp_path: Path, packing: int) -> None:
    whole = bytearray(zipped(packing=packing))
    for place in range(len(whole) // 4, len(whole) * 3 // 4, 97):
        whole[place] ^= 0xFF
    assert "damaged" in refused(tmp_path, bytes(whole))


def test_a_tflite_is_taken_with_what_is_said_of_it(tmp_path: Path) -> None:
    model = added(tmp_path, (resolve("cnn-float32") / "model.tflite").read_bytes(), NAMES, "none")
    assert not model.calibrated and model.classes == NAMES[:5]

    async def go() -> tuple[str, int, list[str]]:
        async with running(tmp_path) as uploads:
            (tmp_path / "uploads" / "models").mkdir()
            kept = tmp_path / "uploads" / "models" / model.key
            model.directory.rename(kept)
            uploads.shelf.open()
            job = await begun(uploads, model=model.key, view="auto")
            job.add_own(CELLS[0].parent)
            job.end()
            await over(job)
            right = [
                row.best
                for row in (rows[0] for rows in job.rows.values())
                if row.best == job.label_of(row.picture)
            ]
            heat = await job.saliency(uploads.readers, job.rows[0][0])
            assert heat["rows"] == heat["columns"] == 8
            reasons = {reason.value for rows in job.rows.values() for row in rows for reason in row.held}
            return job.state, len(right), sorted(reasons)

    state, right, _ = asyncio.run(go())
    assert state == "done" and right >= 25


def test_a_tflite_whose_outputs_are_not_named(tmp_path: Path) -> None:
    data = (ZOO / "model.tflite").read_bytes()
    assert "2 classes are named" in refused(tmp_path, data, NAMES[:2])
    assert "each once" in refused(tmp_path, data, ("neutrophil",) * 6)
    assert "Name what each output" in refused(tmp_path, data)
    assert "how the model wants its pixels" in refused(tmp_path, data, NAMES, "whatever")


def asking_for(code: int) -> bytes:
    """A model of the zoo, one kind of operation renamed in the file itself."""
    data = bytearray((ZOO / "model.tflite").read_bytes())
    first = min(filter(None, operators(bytes(data))))
    changed = 0
    for at in range(len(data) - 4):
        # The codes lie together; renaming is right where the parser then says so, and nothing else has changed.
        if data[at] == first or int.from_bytes(data[at : at + 4], "little") == first:
            before = data[at]
            data[at] = code
            try:
                if code in set(operators(bytes(data))):
                    return bytes(data)
            except Exception:  # noqa: BLE001 - any byte was tried, most of them belong to something else
                changed += 1
            data[at] = before
    raise AssertionError(f"no operation found; {changed} tries broke the file")


@pytest.mark.parametrize(("code", "said"), [(32, "custom code"), (119, "WHILE"), (129, "CALL_ONCE")])
def test_models_that_want_code_of_their_own(tmp_path: Path, code: int, said: str) -> None:
    data = asking_for(code)
    with pytest.raises(BundleError, match=said):
        check(data)
    assert said in refused(tmp_path, data, NAMES)


def test_damaged_models_are_refused_or_work(tmp_path: Path) -> None:
    whole = (resolve("cnn-int8") / "model.tflite").read_bytes()
    dice = random.Random(1)
    refusals = 0
    for number in range(12):
        data = bytearray(whole)
        for _ in range(40):
            data[dice.randrange(8, 4000 if number % 2 else len(data))] = dice.randrange(256)
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            added(folder, bytes(data), NAMES, "none")
        except BundleError as error:
            refusals += 1
            assert str(error)
    assert refusals


class _Runs:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self._marker, "ran"))


def test_what_is_no_model_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for data in (pickle.dumps(_Runs(marker)), b"", b"PK\x03\x04 broken", b"#!/bin/sh\ntouch ran\n", zipped()[:5000],
                 b"\x00\x00\x00\x00TFL3", b"\xff" * 4 + b"TFL3" + b"\xff" * 100):  # fmt: skip
        assert refused(tmp_path, data, NAMES)
    assert not marker.exists()


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "models", 0)
    shelf.open()
    (tmp_path / "sent").write_bytes(zipped())
    with pytest.raises(BundleError, match="0 uploaded models are kept at most"):
        asyncio.run(shelf.add(tmp_path / "sent", "sent.zip", (), ""))


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="the extra is installed")
def test_a_keras_file_without_the_extra_says_what_brings_it(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    assert "pip install -e '.[convert]'" in refused(tmp_path, out.getvalue(), NAMES)


def test_the_zoo_is_there_with_its_thresholds(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 4)
    shelf.open()
    first = shelf.all()[0]
    assert first.threshold == Bundle.load().threshold and first.calibrated
