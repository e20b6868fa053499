"""The sample pictures that the package ships."""

from __future__ import annotations

import csv
import hashlib
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from edge.pictures.images import load
from edge.sources.sprites import cut

FOLDERS = {"acevedo": 30, "acevedo_other": 8, "bccd": 6}


@pytest.fixture
def samples() -> Path:
    with as_file(files("edge") / "samples") as folder:
        return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_labels_name_every_picture(samples: Path, name: str) -> None:
    with (samples / name / "labels.csv").open(newline="", encoding="utf-8") as file:
        labelled = [row["filename"] for row in csv.DictReader(file)]
    assert sorted(labelled) == sorted(path.name for path in (samples / name).glob("*.jpg"))
    assert len(labelled) == FOLDERS[name]


def test_no_model_was_trained_on_them(samples: Path) -> None:
    for path in samples.rglob("*.jpg"):
        share = int(hashlib.sha256(path.read_bytes()).hexdigest()[:8], 16) / 2**32
        assert share >= 0.85, f"{path} is not of the test split"


def test_each_single_cell_is_whole_and_free(samples: Path) -> None:
    for name in ("acevedo", "acevedo_other"):
        for path in (samples / name).glob("*.jpg"):
            cuttings = cut(load(path))
            assert cuttings.white is not None, path
            assert cuttings.red, path


def test_they_are_small_and_say_where_they_are_from(samples: Path) -> None:
    assert sum(path.stat().st_size for path in samples.rglob("*") if path.is_file()) < 1_500_000
    attribution = (samples / "ATTRIBUTION.md").read_text("utf-8")
    for needed in ("Acevedo, A.", "10.17632/snkd93bnjr.1", "Attribution 4.0", "BCCD", "MIT"):
        assert needed in attribution
    assert "Permission is hereby granted" in (samples / "bccd" / "LICENSE").read_text("utf-8")
