"""`leukoscope data`: what is said of labelled pictures before a training."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from smears import NEEDED, folder_a_class, samples

from edge.cli import main
from edge.datasets.taxonomy import CLASSES

CELLS = samples("acevedo")


def data(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["data", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def report(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data(*arguments, "--format", "json").stdout)
    return found


def remarks(found: dict[str, Any], tone: str) -> list[str]:
    return [each["text"] for each in found["remarks"] if each["tone"] == tone]


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def again(path: Path, quality: int = 70, factor: float = 0.5) -> bytes:
    """A picture made smaller and saved again."""
    out = io.BytesIO()
    with Image.open(path) as image:
        image.resize((round(image.width * factor), round(image.height * factor))).save(
            out, "JPEG", quality=quality
        )
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that announces 40,000 × 40,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A set with something wrong of every kind."""
    folder = tmp_path / "lab"
    for name, code in (("basophil", "BA"), ("neutrophil", "SNE"), ("monocyte", "Monocytes")):
        for number, path in enumerate(CELLS[name]):
            put(folder, f"{code}/{number}.jpg", path.read_bytes())
    first, second = CELLS["lymphocyte"][:2]
    put(folder, "LY/1.jpg", first.read_bytes())
    put(folder, "LY/copy.jpg", first.read_bytes())
    put(folder, "LY/2.jpg", second.read_bytes())
    put(folder, "monocytess/2 again.jpg", again(second))
    put(folder, "BA/both.jpg", CELLS["eosinophil"][0].read_bytes())
    put(folder, "SNE/both.jpg", CELLS["eosinophil"][0].read_bytes())
    put(folder, "weird/1.jpg", CELLS["eosinophil"][1].read_bytes())
    put(folder, "LY/broken.jpg", first.read_bytes()[:500])
    put(folder, "LY/bomb.png", bomb())
    (folder / "LY/out.jpg").symlink_to(CELLS["lymphocyte"][2])
    put(folder, "loose.jpg", CELLS["eosinophil"][2].read_bytes())
    return folder


def test_everything_that_is_wrong_is_named(mixed: Path) -> None:
    shown = data(mixed)
    assert shown.exit_code == 1, "some could not be read"
    found = report(mixed)
    assert found["schema"] == "leukoscope.data/1"
    assert {Path(each["file"]).name for each in found["unreadable"]} == {"broken.jpg", "bomb.png", "out.jpg"}
    assert [Path(each["file"]).name for each in found["copies"]] == ["copy.jpg"]
    ((one, other),) = found["contradictions"]
    assert {one["class"], other["class"]} == {"basophil", "segmented neutrophil"}
    (group,) = found["look_alikes"]
    assert [(Path(each["file"]).name, each["class"]) for each in group] == [
        ("2.jpg", "lymphocyte"), ("2 again.jpg", "monocytess"),
    ]  # fmt: skip
    assert len({each["split"] for each in group}) == 1
    assert found["unlabelled"] == {"lab": 1}
    bad = remarks(found, "bad")
    for part in (
        "is monocytess a monocyte? Nothing is trained before you say --map 'monocytess=monocyte'",
        "3 files cannot be read, and left out:",
        "1 file is under two classes and left out",
        "No eosinophil: a model that is trained on this cannot name it",
    ):
        assert any(part in text for text in bad), part
    known = remarks(found, "open")
    for part in (
        "copy of another and counted once: ",
        "1 picture is the like of another one",
        "1 group is of look-alikes under two classes",
        "Under 100 pictures of a class (basophil 6, lymphocyte 2, monocyte 6, neutrophil 6)",
        "lab: weird is no name that is known here",
        "lab: 1 picture is without a class",
        "One site only",
        "No patient or slide is named",
    ):
        assert any(part in text for text in known), (part, known)
        assert any(part in line for line in shown.stdout.splitlines())
    assert "lab: SNE → segmented neutrophil, counted as neutrophil (7)" in shown.stdout


def test_a_person_says_what_names_mean(mixed: Path) -> None:
    found = report(mixed, "--map", "monocytess=LY", "--map", "weird=ignore")
    assert not any("monocytess" in text for text in remarks(found, "bad"))
    assert {row["kind"] for row in found["counts"]} == {
        "basophil", "segmented neutrophil", "monocyte", "lymphocyte",
    }  # fmt: skip
    assert found["unlabelled"] == {"lab": 2}
    wrong = data(mixed, "--map", "weird=nonsense")
    assert (wrong.exit_code, "nonsense is no known kind" in wrong.stderr) == (1, True)


def test_the_page_shows_the_pictures_to_look_at(mixed: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert data(mixed, "--output", page).exit_code == 1
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 4, "two that look alike, one file in two places"
    for part in (
        "Look-alikes under two classes: 1",
        "Files under two classes, left out",
        "monocytess",
        "bomb.png",
    ):
        assert part in text


def test_a_sound_set_has_little_to_remark(tmp_path: Path) -> None:
    one, two = (folder_a_class(tmp_path / name, "acevedo", "acevedo_other") for name in ("one", "two"))
    for path in two.rglob("*.jpg"):
        with Image.open(path) as image:
            turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turned.save(path, "JPEG", quality=90)
    found = report(one, two)
    assert remarks(found, "bad") == []
    assert [text.split(" ")[0] for text in remarks(found, "open")] == ["Under", "No"]
    assert found["look_alikes"] == []
    counted = {(r["site"], r["kind"], r["split"]): r["cells"] for r in found["counts"]}
    for kind in (*CLASSES, "erythroblast", "immature granulocyte"):
        for side, count in NEEDED.items():
            assert counted["one", kind, side] == count


def test_splits_by_class_and_by_folders(tmp_path: Path) -> None:
    for name, pictures in CELLS.items():
        for number, path in enumerate(pictures[:4]):
            put(
                tmp_path,
                f"{'TRAIN' if number < 3 else 'TEST'}/{name.upper()}S/{number}.jpg",
                path.read_bytes(),
            )
    found = report(tmp_path, "--split-by", "class")
    assert all(
        (row["split"], row["cells"]) in {("train", 2), ("validation", 1), ("test", 1)}
        for row in found["counts"]
    )
    assert not any("part: " in text for text in remarks(found, "bad"))
    found = report(tmp_path, "--split-by", "folders")
    tested = [row["cells"] for row in found["counts"] if row["split"] == "test"]
    assert tested == [1] * 5
    by_hash = report(tmp_path)
    assert any("split by class (--split-by class)" in text for text in remarks(by_hash, "bad"))


def test_names_from_outside_cannot_play_tricks(tmp_path: Path) -> None:
    cell = CELLS["basophil"][0].read_bytes()
    put(tmp_path, "\x1b[31m<b>eo</b>/1.jpg", CELLS["eosinophil"][0].read_bytes())
    put(tmp_path, os.fsdecode(b"basophil/\xff\n.jpg"), cell)
    put(tmp_path, "basophil/<script>.jpg", cell)
    page = tmp_path / "page.html"
    shown = data(tmp_path, "--output", page)
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "\\xff" in shown.stdout.replace("\\udcff", "\\xff")
    assert "<script>" not in page.read_text("utf-8")
    assert "<b>eo" not in page.read_text("utf-8")
    assert report(tmp_path)["cells"] == 2


def test_what_is_no_data_set_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, "loose/1.jpg", CELLS["basophil"][0].read_bytes())
    for folder, why in (("empty", "holds no pictures"), ("loose", "1 picture is without a class")):
        result = data(tmp_path / folder)
        assert result.exit_code == 1
        assert "no labelled pictures; expected a folder a class" in result.stderr
        assert why in result.stderr
    assert data().exit_code == 2
    assert data(tmp_path / "gone").exit_code == 2


def test_it_needs_no_tensorflow(tmp_path: Path) -> None:
    put(tmp_path, "basophil/1.jpg", CELLS["basophil"][0].read_bytes())
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'pydantic', 'matplotlib')))\n"
        "from edge.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "data", str(tmp_path)], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "No lymphocyte: a model that is trained on this cannot name it" in done.stdout
