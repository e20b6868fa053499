"""`leukoscope adapt` on the packaged cells in strange colours: its bundle, its report, its refusals."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

import edge
from edge.cli import main
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.inference.classify import Classifier

SAMPLES = Path(edge.__file__).parent / "samples"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def recoloured(picture: Path, to: Path) -> None:
    """The picture with red and blue exchanged, which half of the cells are read wrong in."""
    red, green, blue = Image.open(picture).convert("RGB").split()
    Image.merge("RGB", (blue, green, red)).save(to)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged cells of the classes, and erythroblasts, in other colours; a folder a class."""
    folder = tmp_path_factory.mktemp("data") / "North Lab"
    for name in ("acevedo", "acevedo_other"):
        with (SAMPLES / name / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row["class"] != "ig":
                    into = folder / row["class"]
                    into.mkdir(parents=True, exist_ok=True)
                    picture = SAMPLES / name / row["filename"]
                    recoloured(picture, into / f"{picture.stem}.png")
    return folder


@pytest.fixture(scope="module")
def made(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A bundle for that site, made with the report as JSON."""
    output = tmp_path_factory.mktemp("bundles") / "north"
    return output, run("adapt", DEFAULT_MODEL, "--data", site, "--output", output, "--format", "json")


def test_the_site_is_read_better_and_the_bundle_does_what_it_says(
    made: tuple[Path, Result], site: Path
) -> None:
    output, result = made
    assert result.exit_code == 0, result.stderr
    bundle, parent = Bundle.load(output), Bundle.load(DEFAULT_MODEL)
    assert bundle.name == f"{DEFAULT_MODEL}-north-lab"
    assert bundle.model == parent.model
    assert Classifier(bundle).golden_error() < 1e-4
    (change,) = json.loads(result.stdout)["changes"]
    before, after = (change[when]["accuracy"] for when in ("before", "after"))
    assert after["count"] >= before["count"] + 5
    told = f"{30 - before['count']} of 30 cells of North Lab were read wrong before, {30 - after['count']} are after"
    assert told in result.stderr
    labels = site.parent / "labels.csv"
    with labels.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("filename", "class"))
        rows.writerows((path.name, path.parent.name) for path in site.rglob("*.png"))
    for model, least in ((DEFAULT_MODEL, before["count"]), (output, 29)):
        read = run("classify", site, "--model", model, "--labels", labels, "--format", "jsonl")
        report = json.loads(read.stdout.splitlines()[-1])
        right = report["accuracy"]["count"]
        assert right == least if model == DEFAULT_MODEL else right >= least


def test_the_manifest_names_its_parent_and_claims_none_of_its_figures(made: tuple[Path, Result]) -> None:
    output, result = made
    parent = Bundle.load(DEFAULT_MODEL)
    record = json.loads((output / "manifest.json").read_text("utf-8"))
    assert record["parent"]["name"] == DEFAULT_MODEL
    assert record["parent"]["version"] == parent.version
    assert record["parent"]["sha256"] == parent.sha256 == record["sha256"]
    manifest = (parent.directory / "manifest.json").read_bytes()
    assert record["parent"]["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert record["parent"]["measured"] == parent.manifest.record["measured"]
    assert record["measured"] == []
    assert "gate" not in record
    adapted = record["adapted"]
    assert adapted["site"] == "North Lab"
    assert adapted["cells"] == dict.fromkeys(
        ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"), 6
    ) | {"erythroblast": 4}
    (figures,) = adapted["cross_validation"]
    (change,) = json.loads(result.stdout)["changes"]
    assert figures["after"]["right"] == pytest.approx(change["after"]["accuracy"]["percent"], abs=1e-4)
    assert figures["before"]["others"] == 4
    assert record["trained_on"][-1] == "North Lab"
    card = (output / "README.md").read_text("utf-8")
    assert "## Adapted to North Lab" in card
    assert f"## Measured of the parent, {DEFAULT_MODEL}" in card
    assert "| North Lab | after | 30 |" in card


def test_the_same_cells_make_the_same_bytes_and_replace_an_older_bundle(
    made: tuple[Path, Result], site: Path, tmp_path: Path
) -> None:
    output, _ = made
    copied = tmp_path / "copied" / "North Lab"
    shutil.copytree(site, copied)
    again = tmp_path / "again"
    again.mkdir()
    for name in ("model.tflite", "manifest.json"):
        (again / name).write_text("of yesterday")
    result = run("adapt", DEFAULT_MODEL, "--data", copied, "--output", again)
    assert result.exit_code == 0, result.stderr
    for name in ("model.tflite", "manifest.json", "README.md"):
        assert (again / name).read_bytes() == (output / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert "| right " in result.stdout
    assert "| erythroblast, flagged " in result.stdout
    assert "Note: fewer than 10 cells of basophil (6)" in result.stderr


def test_an_adapted_bundle_can_be_adapted_and_shown(
    made: tuple[Path, Result], site: Path, tmp_path: Path
) -> None:
    """Of one site's cells twice: nothing is gained, which is said, and only written where it is forced."""
    output, _ = made
    arguments = ("adapt", output, "--data", site, "--output", tmp_path / "twice", "--name", "twice")
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert "nothing was written" in refused.stderr
    assert "--force" in refused.stderr
    assert not (tmp_path / "twice").exists()
    assert "| right " in refused.stdout
    assert run(*arguments, "--force").exit_code == 0
    assert run("models", "verify", tmp_path / "twice").exit_code == 0
    shown = json.loads(run("models", "show", tmp_path / "twice").stdout)
    assert shown["parent"]["parent"]["name"] == DEFAULT_MODEL
    assert shown["parent"]["adapted"]["site"] == "North Lab"
    assert "(" in shown["head"]["weights"]["base64"]


def test_kept_cells_are_rehearsed_and_measured(site: Path, tmp_path: Path) -> None:
    result = run("adapt", DEFAULT_MODEL, "--data", site, "--output", tmp_path / "kept",
                 "--keep", SAMPLES / "acevedo", "--format", "json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    _, kept = json.loads(result.stdout)["changes"]
    assert kept["site"] == "acevedo"
    assert kept["before"]["pictures"] == 30
    assert kept["after"]["accuracy"]["count"] >= 28
    record = json.loads((tmp_path / "kept" / "manifest.json").read_text("utf-8"))
    assert record["adapted"]["kept"] == ["acevedo"]
    assert "Cells of acevedo were rehearsed" in (tmp_path / "kept" / "README.md").read_text("utf-8")
    twins = tmp_path / "elsewhere" / site.name
    shutil.copytree(site, twins)
    clash = run("adapt", DEFAULT_MODEL, "--data", site, "--output", tmp_path / "x", "--keep", twins)
    assert clash.exit_code == 1
    assert "different names" in clash.stderr


def test_what_cannot_be_read_is_said_and_the_rest_is_used(site: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "North Lab"
    shutil.copytree(site, spoilt)
    (spoilt / "basophil" / "broken.png").write_bytes(b"no picture")
    first = next((spoilt / "basophil").glob("B*.png"))
    shutil.copy(first, spoilt / "basophil" / "copy.png")
    result = run("adapt", DEFAULT_MODEL, "--data", spoilt, "--output", tmp_path / "bundle")
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    record = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    assert record["adapted"]["cells"]["basophil"] == 6, "a copy counts once"
    shutil.copy(first, spoilt / "monocyte" / "same.png")
    result = run("adapt", DEFAULT_MODEL, "--data", spoilt, "--output", tmp_path / "other")
    assert result.exit_code == 1
    assert "labelled basophil and monocyte: keep one" in result.stderr
    assert not (tmp_path / "other").exists()


def test_a_place_that_holds_something_else_is_refused_before_anything_is_read(
    site: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work")
    parent = Bundle.load(DEFAULT_MODEL).directory
    for output, why in ((taken, "not just a bundle"), (parent, "the parent's own folder")):
        result = run("adapt", parent, "--data", site, "--output", output)
        assert result.exit_code == 1
        assert why in result.stderr
    assert (taken / "thesis.txt").read_text() == "years of work"


def test_a_parent_that_tells_too_little_of_itself_is_refused_and_nothing_is_left(
    site: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(Bundle.load(DEFAULT_MODEL).directory, parent)
    record = json.loads((parent / "manifest.json").read_text("utf-8"))
    del record["trained_on"]
    (parent / "manifest.json").write_text(json.dumps(record), "utf-8")
    result = run("adapt", parent, "--data", site, "--output", tmp_path / "new")
    assert result.exit_code == 1
    assert "lacks what a model card tells" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["parent"]


def test_what_is_asked_wrongly_is_refused_in_words(site: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    base = ("adapt", DEFAULT_MODEL, "--data", site, "--output", output)
    for more in (
        ("--name", "../up"),
        ("--bundle-version", "1 0"),
        ("--folds", 2),
        ("--pull", 0),
        ("--pull", "nan"),
    ):
        assert run(*base, *more).exit_code == 2
    lonely = tmp_path / "lonely"
    shutil.copytree(site / "basophil", lonely / "basophil")
    one_class = run("adapt", DEFAULT_MODEL, "--data", lonely, "--output", output)
    assert one_class.exit_code == 1
    assert "two classes with at least 5 cells each" in one_class.stderr
    (lonely / "basophil").rename(lonely / "basophill")
    doubt = run("adapt", DEFAULT_MODEL, "--data", lonely, "--output", output)
    assert "--map 'basophill=basophil'" in doubt.stderr
    assert not output.exists()
