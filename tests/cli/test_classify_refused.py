"""`leukoscope classify` where something is wrong: pictures, names, options, models, and where the output goes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from classifying import CELLS, SAMPLES, classify, lines
from click.testing import Result
from PIL import Image as Pillow

from edge.inference.bundle import DEFAULT_MODEL, Bundle


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
    assert re.search(rf"\berrors {len(expected)}[,;]", result.stderr)
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
            timeout=250,
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
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=250)
        said = done.stderr
        assert done.returncode == 1
        assert said == b"Error: the results cannot be written: No space left on device\n"
    assert b"Traceback" not in said


def test_a_folder_for_explanations_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = classify(CELLS[0], "--explain", tmp_path / "file" / "why")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
