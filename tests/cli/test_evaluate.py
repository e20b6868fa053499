"""`leukoscope evaluate` with the shipped model on the sample pictures."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pypdf import PdfReader

import edge
from edge.cli import main
from edge.datasets.labelled import part_of
from edge.datasets.taxonomy import kind_of
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.pictures.images import load

SAMPLES = Path(edge.__file__).parent / "samples"
FIGURES = ["confusion", "roc", "reliability"]
FILES = ["data.csv", "report.html", "report.json", "report.md", "report.pdf"]


def evaluate(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sample cells in a folder a class, with one kind that the model does not know."""
    folder = tmp_path / "data"
    for source in ("acevedo", "acevedo_other"):
        with (SAMPLES / source / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                (folder / row["class"]).mkdir(parents=True, exist_ok=True)
                shutil.copy(SAMPLES / source / row["filename"], folder / row["class"])
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        # The samples are all of the test part; bytes behind a picture's end move copies to the others.
        path.with_stem(f"{path.stem}_copy").write_bytes(path.read_bytes() + bytes(number + 1))
    return folder


def test_a_report_with_its_figures(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    result = evaluate(DEFAULT_MODEL, "--data", data, "--output", out)
    assert result.exit_code == 0, result.stderr
    bundle = Bundle.load(DEFAULT_MODEL)
    names = [f"{kind}-{bundle.name}.png" for kind in FIGURES] + ["coverage.png"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, *FILES])
    for name in names:
        assert min(load(out / name).shape[:2]) > 400

    report = json.loads((out / "report.json").read_text())
    assert report["schema"] == "leukoscope.report/1"
    (model,) = report["models"]
    assert (model["model"], model["model_sha256"], model["threshold"]) == (
        bundle.name,
        bundle.sha256,
        bundle.threshold,
    )
    counts = {path.name: len(list(path.iterdir())) for path in data.iterdir()}
    assert model["pictures"] + model["without_cell"] == sum(counts.get(name, 0) for name in bundle.classes)
    others = set(counts) - set(bundle.classes)
    assert {kind: rate["total"] for kind, rate in model["other_kinds"].items()} == {
        kind_of(k): counts[k] for k in others
    }

    text = (out / "report.md").read_text("utf-8")
    assert text.startswith(result.stdout)
    assert all(f"]({name})" in text for name in names)
    assert "all pictures" in text


def test_several_models_stand_in_one_table(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(Bundle.load(DEFAULT_MODEL).directory, copy)
    result = evaluate(DEFAULT_MODEL, copy, "--data", data, "--view", "cell", "--threshold", "0.6",
                      "--output", tmp_path / "two")  # fmt: skip
    assert result.exit_code == 0
    # One report to file for each: they are signed one by one.
    assert {path.suffix for path in (tmp_path / "two").glob("report-*")} == {".html", ".pdf"}
    assert len(list((tmp_path / "two").glob("report-*"))) == 4
    comparison = [line for line in result.stdout.split("\n\n")[2].splitlines() if "| 0.60 " in line]
    assert len(comparison) == 2
    # The same model under two names says the same.
    assert comparison[0].split("|")[3:] == comparison[1].split("|")[3:]
    assert comparison[0].split("|")[1] != comparison[1].split("|")[1]


def test_a_part_of_the_split_is_its_pictures(data: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        result = evaluate(DEFAULT_MODEL, "--data", data, "--split", part, "--output", tmp_path / part)
        assert result.exit_code == 0
        report = json.loads((tmp_path / part / "report.json").read_text())
        (model,) = report["models"]
        inside = [path for path in data.rglob("*.jpg") if part_of(path.read_bytes()) == part]
        others = sum(rate["total"] for rate in model["other_kinds"].values())
        assert report["split"] == part
        assert model["pictures"] + model["without_cell"] + others == len(inside)
        assert f"the {part} part" in result.stdout


def test_folders_with_labels_in_a_csv() -> None:
    result = evaluate(DEFAULT_MODEL, "--data", SAMPLES / "acevedo", "--data", SAMPLES / "acevedo_other")
    assert result.exit_code == 0
    assert "erythroblast" in result.stdout


def test_an_unreadable_picture_is_named_once_and_the_rest_measured(data: Path) -> None:
    next(data.glob("*/*.jpg")).write_bytes(b"")
    result = evaluate(DEFAULT_MODEL, DEFAULT_MODEL, "--data", data)
    assert result.exit_code == 1
    assert result.stderr.count("Error: ") == 1
    assert "is empty" in result.stderr
    assert "accuracy" in result.stdout


def test_without_matplotlib_the_figures_alone_are_missing(data: Path, tmp_path: Path) -> None:
    program = "import sys; sys.modules['matplotlib'] = None; from edge.cli import main; main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "evaluate",
            DEFAULT_MODEL,
            "--data",
            str(data),
            "--output",
            str(tmp_path / "r"),
        ],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "pip install" in line] == [
        "No figures: drawing the figures needs an optional part; in the source's folder: pip install -e '.[evaluate]'"
    ]
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == FILES


def criteria(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "criteria.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ('judged_on = "estimate"\n[kappa]\nminimum = 0.5', 0, "PASS. Of 1 acceptance criteria 1 passed."),
        ("[accepted_and_wrong]\nmaximum_percent = 0.1", 4, "NOT ENOUGH CELLS TO TELL."),
        ("[accepted]\nminimum_percent = 10\n[recall.classes]\nmonocyte = 99", 3, "FAIL. Of 2"),
    ],
)
def test_criteria_decide_the_exit_status(
    data: Path, tmp_path: Path, text: str, status: int, says: str
) -> None:
    wrong = data / "monocyte" / "not_one.jpg"
    shutil.copy(SAMPLES / "acevedo" / "EO_210789.jpg", wrong)
    if status == 4:
        wrong.unlink()
    result = evaluate(
        DEFAULT_MODEL, "--data", data, "--criteria", criteria(tmp_path, text), "--output", tmp_path / "out"
    )
    assert result.exit_code == status, result.stdout
    assert says in result.stdout
    assert says in (tmp_path / "out" / "report.html").read_text("utf-8")
    pdf = "".join(page.extract_text() for page in PdfReader(tmp_path / "out" / "report.pdf").pages)
    assert says in pdf
    (model,) = json.loads((tmp_path / "out" / "report.json").read_text())["models"]
    assert {one["outcome"] for one in model["criteria"]} >= {
        {0: "pass", 3: "fail", 4: "not enough cells to tell"}[status]
    }


def test_a_failed_criterion_outweighs_an_unreadable_picture(data: Path, tmp_path: Path) -> None:
    next(data.glob("*/*.jpg")).write_bytes(b"")
    for bar, status in ((0, 1), (88, 4)):  # reached, and more than so few cells can prove
        path = criteria(tmp_path, f"[accepted]\nminimum_percent = {bar}")
        assert evaluate(DEFAULT_MODEL, "--data", data, "--criteria", path).exit_code == status


def test_the_report_names_its_data_and_shows_what_was_misread(data: Path, tmp_path: Path) -> None:
    odd = data / "monocyte" / "<b>&é.jpg"
    shutil.copy(SAMPLES / "acevedo" / "EO_210789.jpg", odd)
    shutil.copy(SAMPLES / "acevedo" / "EO_216862.jpg", data / "erythroblast" / "accepted.jpg")
    out = tmp_path / "out"
    assert evaluate(DEFAULT_MODEL, "--data", data, "--output", out).exit_code == 0
    listing = (out / "data.csv").read_bytes()
    with (out / "data.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list(data.rglob("*.jpg")))
    for row in rows:
        content = (data / row["file"]).read_bytes()
        assert (row["sha256"], row["folder"]) == (hashlib.sha256(content).hexdigest(), "data")
        assert kind_of(row["file"].split("/")[0]) == row["class"]
    bundle = Bundle.load(DEFAULT_MODEL)
    text = (out / "report.html").read_text("utf-8")
    reader = PdfReader(out / "report.pdf")
    pdf = "".join(page.extract_text() for page in reader.pages).replace("\n", "")
    for said in (
        hashlib.sha256(listing).hexdigest(),
        bundle.sha256,
        bundle.version,
        "Clopper",
        "person checks",
    ):
        assert said in text
        assert said in pdf
    assert text.count("<img ") == sum(len(page.images) for page in reader.pages) == 2
    assert '<figure class="bad">' in text
    assert "&lt;b&gt;&amp;é.jpg" in text and "<b>&é.jpg" in pdf
    assert "monocyte →<br>eosinophil" in text and "erythroblast →<br>eosinophil" in text
    assert "No acceptance criteria were set" in text


def test_a_wrong_file_of_criteria_is_said_before_anything_is_read(data: Path, tmp_path: Path) -> None:
    path = criteria(tmp_path, "[kapa]\nminimum = 1")
    result = evaluate(DEFAULT_MODEL, "--data", data, "--criteria", path, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: {path}: kapa is unknown; did you mean kappa?\n"
    path = criteria(tmp_path, "[recall.classes]\nneutrophyl = 1")
    result = evaluate(DEFAULT_MODEL, "--data", data, "--criteria", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "did you mean neutrophil?" in result.stderr
    assert evaluate(DEFAULT_MODEL, "--data", data, "--criteria", tmp_path / "gone").exit_code == 2


def test_the_template_is_a_file_of_criteria(data: Path, tmp_path: Path) -> None:
    printed = evaluate("--criteria-template")
    assert printed.exit_code == 0
    path = criteria(tmp_path, printed.stdout)
    assert evaluate(DEFAULT_MODEL, "--data", data, "--criteria", path).exit_code in (0, 3, 4)


def test_what_cannot_be_measured_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for arguments, why in (
        ([DEFAULT_MODEL, "--data", tmp_path / "empty"], "no labelled picture could be read"),
        (["no-such-model", "--data", SAMPLES / "acevedo"], "no-such-model"),
        (
            [DEFAULT_MODEL, "--data", SAMPLES / "acevedo", "--output", tmp_path / "file" / "x"],
            "cannot be written",
        ),
    ):
        result = evaluate(*arguments)
        assert result.exit_code == 1
        assert why in result.stderr.splitlines()[-1]
    assert evaluate(DEFAULT_MODEL).exit_code == 2
    assert evaluate(DEFAULT_MODEL, "--data", tmp_path / "gone").exit_code == 2
