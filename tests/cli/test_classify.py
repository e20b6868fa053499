"""`leukoscope classify` with the shipped model on real pictures, good and bad."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

import edge
from edge.cli import main
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.pictures.images import load
from edge.text import CAUTION

SAMPLES = Path(edge.__file__).parent / "samples"
CELLS = sorted((SAMPLES / "acevedo").glob("*.jpg"))
FIELDS = sorted((SAMPLES / "bccd").glob("*.jpg"))
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


def classify(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["classify", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.stderr
    return result


def lines(*arguments: object) -> list[dict[str, Any]]:
    result = classify(*arguments, "--format", "jsonl")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def errors(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("Error: ")]


def huge_png() -> bytes:
    """30,000 × 30,000 pixels, whole and valid, in a few MB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * 30_000)
    rows = b"".join(packer.compress(row) for _ in range(30_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("www")
    shutil.copy(CELLS[0], root / "cell.jpg")
    (root / "page.jpg").write_text("<!doctype html><p>moved")

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(root))

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


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


def test_bad_input_is_named_in_one_line_each_and_the_rest_is_read(tmp_path: Path, server: str) -> None:
    good = CELLS[0].read_bytes()
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "00 empty.jpg").write_bytes(b"")
    (bad / "01 cut.jpg").write_bytes(good[: len(good) // 2])
    (bad / "02 page.jpg").write_text("<html>no picture</html>")
    (bad / "03 huge.png").write_bytes(huge_png())
    (bad / "04 float.tiff").write_bytes(b"")
    Pillow.new("F", (50, 50), 0.5).save(bad / "04 float.tiff")
    (bad / "05 dangling.png").symlink_to("nowhere.png")
    (bad / "06\n\x1b[31mline.jpg").write_bytes(b"x")
    Path(os.fsdecode(bytes(bad) + b"/07 \xff.jpg")).write_bytes(b"x")
    (bad / "=08.jpg").write_bytes(good)
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../climb.jpg", good)
        archive.writestr("bomb.bmp", bytes(150_000_000))
        archive.writestr("good.jpg", good)
    named = [bad, tmp_path / "odd.zip", f"{server}/gone.jpg", f"{server}/page.jpg", f"{server}/cell.jpg"]

    result = classify(*named, tmp_path / "missing.jpg", "--view", "cell", "--format", "jsonl")
    assert result.exit_code == 1
    said = errors(result)
    expected = [
        ("00 empty.jpg", "is empty"),
        ("01 cut.jpg", "cut short"),
        ("02 page.jpg", "is no picture"),
        ("03 huge.png", "megapixels"),
        ("04 float.tiff", "32 bits"),
        ("05 dangling.png", "a link to a file that does not exist"),
        ("06\\n\\x1b[31mline.jpg", "is no picture"),
        ("07 \\udcff.jpg", "is no picture"),
        ("../climb.jpg", "leads out of the archive"),
        ("bomb.bmp", "was not unpacked"),
        ("/gone.jpg", "answers with 404"),
        ("/page.jpg", "answers with a web page"),
        ("missing.jpg", "No such file"),
    ]
    assert len(said) == len(expected)
    for line, (name, why) in zip(said, expected, strict=True):
        assert name in line
        assert why in line
    read = [json.loads(line)["file"] for line in result.stdout.splitlines()]
    assert read == [str(bad / "=08.jpg"), f"{tmp_path}/odd.zip/good.jpg", f"{server}/cell.jpg"]
    assert f"errors {len(expected)}," in result.stderr
    assert "\x1b" not in result.output


def test_odd_names_are_safe_in_every_format(tmp_path: Path) -> None:
    odd = ["=cmd()", "-x", "@SUM(A1)", "a\nb", "\x1b[2J", "<b>[red]", "\udcff\udcfe", 'a,b"c']
    for name in odd:
        shutil.copy(CELLS[0], tmp_path / f"{name}.jpg")
    expected = {str(tmp_path / f"{name}.jpg") for name in odd}
    assert {line["file"] for line in lines(tmp_path)} == expected

    def inside(form: str) -> str:
        """Run as a user would, so that names pass through a real command line and a real pipe."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from edge.cli import main; main()",
                "classify",
                "--format",
                form,
                "--",
                ".",
            ]
            + [name + ".jpg" for name in ("=cmd()", "-x")],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr
        return done.stdout.decode("utf-8")

    rows = list(csv.DictReader(io.StringIO(inside("csv"))))
    assert len(rows) == len(odd) + 2
    assert not [row["file"] for row in rows if row["file"].startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {"'=cmd().jpg", "'-x.jpg", "a\\nb.jpg", "\\udcff\\udcfe.jpg"} <= {row["file"] for row in rows}
    assert len(inside("table").splitlines()) == 1 + len(odd) + 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [CELLS[0], "--threshold", "0.49"],
        [CELLS[0], "--threshold", "1"],
        [CELLS[0], "--threshold", "nan"],
        [CELLS[0], "--view", "all"],
        [CELLS[0], "--format", "xml"],
        [CELLS[0], "--labels", "/nowhere.csv"],
        [CELLS[0], "--um-per-pixel", "0"],
    ],
)
def test_a_wrong_command_line_is_status_2(arguments: list[object]) -> None:
    result = classify(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_missing_or_altered_model_is_refused_in_one_line(tmp_path: Path) -> None:
    result = classify(CELLS[0], "--model", "no-such-model")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "no-such-model" in result.stderr
    altered = tmp_path / "altered"
    shutil.copytree(Bundle.load(DEFAULT_MODEL).directory, altered)
    model = altered / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    result = classify(CELLS[0], "--model", altered)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "altered" in result.stderr


def test_threshold_moves_the_verdict() -> None:
    loose = lines(SAMPLES / "acevedo", "--view", "cell", "--threshold", "0.5")
    strict = lines(SAMPLES / "acevedo", "--view", "cell", "--threshold", "0.99")
    assert all(("low_confidence" in line["reasons"]) == (line["confidence"] < 0.99) for line in strict)
    assert all(("low_confidence" in line["reasons"]) == (line["confidence"] < 0.5) for line in loose)


def test_output_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "cells.jsonl"
    target.write_text("old")
    result = classify(CELLS[0], tmp_path / "missing.jpg", "--format", "jsonl", "--output", target)
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(target.read_text())["file"] == str(CELLS[0])

    (tmp_path / "labels.csv").write_text("filename,class\nx,a\nx,b\n")
    before = target.read_bytes()
    assert classify(CELLS[0], "--labels", tmp_path / "labels.csv", "--output", target).exit_code == 1
    assert target.read_bytes() == before

    link = tmp_path / "link.jsonl"
    link.symlink_to(target)
    assert classify(CELLS[1], "--format", "jsonl", "--output", link).exit_code == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["file"] == str(CELLS[1])

    for impossible in (tmp_path / "no" / "folder.csv", tmp_path):
        result = classify(CELLS[0], "--output", impossible)
        assert result.exit_code == 1
        assert "cannot be written" in result.stderr.splitlines()[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.jsonl", "labels.csv", "link.jsonl"]


@pytest.mark.parametrize("where", ["pipe", "/dev/full"])
def test_output_that_nobody_takes_is_no_traceback(where: str) -> None:
    command = [sys.executable, "-c", "from edge.cli import main; main()", "classify", "--format", "jsonl"]
    command += [str(SAMPLES / "acevedo")] * 20
    if where == "pipe":
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stderr is not None
        with child:
            child.stdout.read(10)
            child.stdout.close()
            said = child.stderr.read()
    else:
        with Path(where).open("wb") as out:
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=60)
        said = done.stderr
        assert done.returncode == 1
        assert said == b"Error: the results cannot be written: No space left on device\n"
    assert b"Traceback" not in said


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
    assert f"1 pictures have no label: {CELLS[1]}" in table.stderr
    assert "1 labels name pictures that were not read: never_seen.jpg" in table.stderr
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


def test_a_folder_for_explanations_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = classify(CELLS[0], "--explain", tmp_path / "file" / "why")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
