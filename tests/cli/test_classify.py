"""`leukoscope classify` with the shipped model on real pictures: what it answers, in every form."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from classifying import CELLS, FIELDS, SAMPLES, classify, lines
from PIL import Image as Pillow

from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.pictures.images import load
from edge.text import CAUTION

KEYS = [
    "schema",
    "file",
    "cell",
    "box",
    "class",
    "confidence",
    "verdict",
    "reasons",
    "probabilities",
    "model",
    "model_sha256",
    "captured_at",
    "elapsed_ms",
]


def test_a_line_has_the_fixed_fields() -> None:
    (line,) = lines(CELLS[0], "--view", "cell")
    bundle = Bundle.load(DEFAULT_MODEL)
    assert list(line) == KEYS
    assert line["schema"] == "leukoscope.cell/1"
    assert line["file"] == str(CELLS[0])
    assert (line["cell"], line["box"]) == (0, None)
    assert (line["model"], line["model_sha256"]) == (bundle.name, bundle.sha256)
    assert list(line["probabilities"]) == list(bundle.classes)
    assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert line["confidence"] == max(line["probabilities"].values()) == line["probabilities"][line["class"]]
    assert line["verdict"] == ("flagged" if line["reasons"] else "accepted")


def test_many_are_answered_in_order_and_as_one_by_one() -> None:
    together = lines(SAMPLES / "acevedo", "--view", "cell")
    assert [line["file"] for line in together] == [str(path) for path in CELLS]
    for path, line in list(zip(CELLS, together, strict=True))[::7]:
        (alone,) = lines(path, "--view", "cell")
        assert alone["probabilities"] == line["probabilities"]


def test_a_field_has_its_cells_in_boxes_within_it() -> None:
    found = lines(*FIELDS, "--view", "field")
    assert {line["file"] for line in found} == {str(path) for path in FIELDS}
    for line in found:
        left, top, width, height = line["box"]
        assert left >= 0 and top >= 0 and left + width <= 640 and top + height <= 480


def test_an_empty_field_prints_no_line(tmp_path: Path) -> None:
    Pillow.new("RGB", (640, 480), (235, 225, 230)).save(tmp_path / "blank.png")
    result = classify(tmp_path / "blank.png", "--view", "field", "--format", "jsonl")
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(classify(tmp_path / "blank.png", "--view", "field", "--format", "json").stdout) == []


def test_json_and_csv_say_the_same_as_json_lines() -> None:
    def still(line: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in line.items() if key not in ("captured_at", "elapsed_ms")}

    expected = lines(*CELLS[:3], FIELDS[0])
    array = json.loads(classify(*CELLS[:3], FIELDS[0], "--format", "json").stdout)
    assert [still(line) for line in array] == [still(line) for line in expected]
    rows = list(csv.DictReader(io.StringIO(classify(*CELLS[:3], FIELDS[0], "--format", "csv").stdout)))
    assert list(rows[0]) == KEYS
    for row, line in zip(rows, expected, strict=True):
        assert row["box"] == ("" if line["box"] is None else " ".join(map(str, line["box"])))
        assert row["reasons"].split() == line["reasons"]
        assert {
            name: float(share) for name, share in (part.split("=") for part in row["probabilities"].split())
        } == line["probabilities"]
        assert (row["file"], row["class"], float(row["confidence"])) == (
            line["file"],
            line["class"],
            line["confidence"],
        )


def test_the_table_and_the_summary() -> None:
    result = classify(SAMPLES / "acevedo")
    assert result.exit_code == 0
    for path in CELLS:
        assert str(path) in result.stdout
    assert f"pictures {len(CELLS)}, cells " in result.stderr
    assert result.stderr.count(CAUTION) == 1
    counts = {line.split()[0]: int(line.split()[1]) for line in result.stderr.splitlines()[1:-1]}
    verdicts = Counter(line["verdict"] for line in lines(SAMPLES / "acevedo"))
    assert (counts.pop("accepted"), counts.pop("flagged")) == (verdicts["accepted"], verdicts["flagged"])
    assert sum(counts.values()) == verdicts["accepted"]


def test_few_cells_are_counted_and_not_made_percentages_of() -> None:
    said = classify(CELLS[0]).stderr.splitlines()
    assert re.fullmatch(r"pictures 1, cells 1; \d+\.\d s", said[0])
    assert said[1:] == [
        "accepted            1  100.0 % of the cells:",
        "  basophil          1",
        CAUTION,
    ]


@pytest.mark.parametrize("empty", [True, False])
def test_the_sentence_on_intended_use_stands_beside_results_and_nowhere_else(
    tmp_path: Path, empty: bool
) -> None:
    picture = tmp_path / "white.png" if empty else CELLS[0]
    if empty:
        Pillow.new("RGB", (640, 480), "white").save(picture)
    assert (CAUTION in classify(picture, "--view", "field" if empty else "cell").stderr) is not empty


def test_the_name_of_the_output_says_its_form(tmp_path: Path) -> None:
    for name, begins in (
        ("a.csv", "schema,file,"),
        ("a.JSON", "[\n{"),
        ("a.jsonl", '{"schema"'),
        ("a.txt", "class  "),
    ):
        assert classify(CELLS[0], "--output", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_text("utf-8").startswith(begins), name
    assert classify(CELLS[0], "--output", tmp_path / "b.csv", "--format", "jsonl").exit_code == 0
    assert (tmp_path / "b.csv").read_text("utf-8").startswith('{"schema"'), "what is asked for comes first"


def test_every_kind_of_picture_is_read_alike(tmp_path: Path) -> None:
    cell = Pillow.open(CELLS[0]).convert("RGB")
    exif = Pillow.Exif()
    exif[0x0112] = 6
    cell.save(tmp_path / "a_plain.png")
    cell.transpose(Pillow.Transpose.ROTATE_90).save(tmp_path / "b_turned.png", exif=exif)
    cell.convert("RGBA").save(tmp_path / "c_alpha.png")
    cv2.imwrite(str(tmp_path / "d_deep.png"), np.asarray(cell)[..., ::-1].astype(np.uint16) * 257)
    cell.save(tmp_path / "e_stack.tiff", save_all=True, append_images=[cell.rotate(90)])
    cell.save(tmp_path / "f_animated.png", save_all=True, append_images=[cell.rotate(90)])
    cell.save(tmp_path / "g_mislabelled.jpg", "BMP")
    cell.convert("CMYK").save(tmp_path / "h_cmyk.jpg", quality=95)
    cell.quantize(256).save(tmp_path / "i_palette.png")
    found = lines(tmp_path, "--view", "cell")
    assert len(found) == 9
    for line in found[1:7]:  # the same pixels
        assert line["probabilities"] == found[0]["probabilities"], line["file"]
    for line in found[7:]:  # nearly the same
        assert line["class"] == found[0]["class"], line["file"]


def test_threshold_moves_the_verdict() -> None:
    loose = lines(SAMPLES / "acevedo", "--view", "cell", "--threshold", "0.5")
    strict = lines(SAMPLES / "acevedo", "--view", "cell", "--threshold", "0.99")
    assert all(("low_confidence" in line["reasons"]) == (line["confidence"] < 0.99) for line in strict)
    assert all(("low_confidence" in line["reasons"]) == (line["confidence"] < 0.5) for line in loose)


def test_labels_end_the_output_with_a_report(tmp_path: Path) -> None:
    truth = {
        path.name: line["class"] for path, line in zip(CELLS, lines(*CELLS, "--view", "cell"), strict=True)
    }
    wrong, unlabelled = CELLS[0].name, CELLS[1].name
    bundle = Bundle.load(DEFAULT_MODEL)
    truth[wrong] = next(name for name in bundle.classes if name != truth[wrong])
    rows = [f"{name},{label.upper()}\n" for name, label in truth.items() if name != unlabelled]
    (tmp_path / "labels.csv").write_text("filename,class\n" + "".join(rows) + "never_seen.jpg,monocyte\n")
    arguments = [SAMPLES / "acevedo", "--view", "cell", "--labels", tmp_path / "labels.csv"]

    *cells, report = lines(*arguments)
    assert len(cells) == len(CELLS)
    labelled = len(CELLS) - 1
    assert report["schema"] == "leukoscope.evaluation/1"
    assert (report["accuracy"]["count"], report["accuracy"]["total"]) == (labelled - 1, labelled)
    assert sum(map(sum, report["confusion"])) == labelled
    accepted = sum(line["verdict"] == "accepted" for line in cells if not line["file"].endswith(unlabelled))
    assert report["accepted"]["count"] == accepted

    table = classify(*arguments)
    assert "accepted and wrong" in table.stdout
    assert f"{labelled - 1} of {labelled}" in table.stdout
    assert f"1 picture has no label: {CELLS[1]}" in table.stderr
    assert "1 label names a picture that was not read: never_seen.jpg" in table.stderr
    sheet = classify(*arguments, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(sheet.stdout)))) == len(CELLS)
    assert "accepted and wrong" in sheet.stderr


def test_explain_writes_a_picture_for_each_cell(tmp_path: Path) -> None:
    (line,) = lines(CELLS[0], "--view", "cell", "--explain", tmp_path / "why")
    (picture,) = (tmp_path / "why").iterdir()
    assert picture.name == f"00000-{CELLS[0].stem}-0-{line['class']}-{line['confidence']:.2f}.jpg"
    pixels = load(picture).astype(int)
    assert pixels.shape == (360, 720, 3)
    assert np.abs(pixels[:, :360] - pixels[:, 360:]).max() > 60  # there is heat on one half
