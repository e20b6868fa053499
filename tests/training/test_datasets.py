"""What is a labelled picture, which class, which side; and the windows that training draws from."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from smears import NEEDED, copies, folder_a_class, samples

from edge.datasets.labelled import part_of
from edge.datasets.taxonomy import kind_of
from edge.errors import DataError
from edge.pictures.images import load
from edge.records import Box, Frame
from edge.vision.crop import cells_of, central
from edge.vision.locate import locate
from models.datasets import CLASSES, OTHER, read, summary
from models.windows import MARGIN, cut

BASOPHIL, LYMPHOCYTE = samples("acevedo")["basophil"], samples("acevedo")["lymphocyte"]
SIZE = 48


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_folder_is_a_class_and_other_kinds_are_other(tmp_path: Path) -> None:
    items = read(folder_a_class(tmp_path / "here"))
    for item in items:
        assert item.kind == kind_of(item.path.parent.name)
        assert item.label == (item.kind if item.kind in CLASSES else OTHER)
        assert item.site == "here"
        assert item.split == part_of(item.path.read_bytes())
    assert Counter(item.label for item in items) == {
        **dict.fromkeys(CLASSES, sum(NEEDED.values())),
        OTHER: 2 * sum(NEEDED.values()),
    }


def test_labels_csv_names_the_classes_and_pictures_without_a_label_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", BASOPHIL[0].read_bytes())
    put(tmp_path / "deep" / "b.jpg", LYMPHOCYTE[0].read_bytes())
    put(tmp_path / "nobody-knows.jpg", LYMPHOCYTE[1].read_bytes())
    (tmp_path / "labels.csv").write_text("filename,class\na.jpg,Basophil\nb.jpg,platelet\n")
    assert [(item.path.name, item.label, item.kind) for item in read(tmp_path)] == [
        ("a.jpg", "basophil", "basophil"),
        ("b.jpg", OTHER, "platelet"),
    ]


def test_a_duplicate_counts_once_and_a_contradiction_not_at_all(tmp_path: Path) -> None:
    put(tmp_path / "basophil" / "1.jpg", BASOPHIL[0].read_bytes())
    put(tmp_path / "basophil" / "2.jpg", BASOPHIL[0].read_bytes())
    for kind in ("basophil", "lymphocyte"):
        put(tmp_path / kind / "which.jpg", LYMPHOCYTE[0].read_bytes())
    assert [item.path.name for item in read(tmp_path)] == ["1.jpg"]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_one_part_is_that_part_of_all(tmp_path: Path, part: str) -> None:
    folder = folder_a_class(tmp_path)
    assert read(folder, part) == [item for item in read(folder) if item.split == part]  # type: ignore[arg-type]


def test_what_is_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing is no folder"):
        read(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no labelled pictures; expected a folder a class"):
        read(tmp_path / "empty")
    put(tmp_path / "loose" / "1.jpg", BASOPHIL[0].read_bytes())
    with pytest.raises(DataError, match=r"loose: no labelled pictures"):
        read(tmp_path / "loose")
    only_train = next(data for data in copies(BASOPHIL[0]) if part_of(data) == "train")
    put(tmp_path / "small" / "basophil" / "1.jpg", only_train)
    with pytest.raises(DataError, match=r"no labelled pictures in the validation part"):
        read(tmp_path / "small", "validation")
    put(tmp_path / "bad" / "1.jpg", only_train)
    (tmp_path / "bad" / "labels.csv").write_text("colour,shape\n1.jpg,basophil\n")
    with pytest.raises(DataError, match="filename and class"):
        read(tmp_path / "bad")


def test_the_summary_counts_every_side(tmp_path: Path) -> None:
    lines = summary(read(folder_a_class(tmp_path / "here"))).splitlines()
    rows = {" ".join(line.split()[1:-3]): line.split()[-3:] for line in lines[1:]}
    assert rows == {
        name: [str(NEEDED[part]) for part in ("train", "validation", "test")]
        for name in (*CLASSES, "erythroblast", "immature granulocyte")
    }


def test_a_window_holds_what_the_device_would_see(tmp_path: Path) -> None:
    windows = cut(read(folder_a_class(tmp_path, needed={"train": 3})), SIZE)
    side = round(MARGIN * SIZE)
    assert windows.images.shape == (len(windows.items), side, side, 3)
    assert windows.boxed.mean() > 0.8, "most cells are located"
    for index, item in enumerate(windows.items):
        field = locate(Frame.of(load(item.path), 0, datetime.now(UTC)))
        cell = central(cells_of(field, size=SIZE))
        assert cell is not None
        assert windows.boxed[index] == (cell.box is not None)
        assert np.array_equal(windows.crops[index], cell.crop)
        whole = cells_of(locate(field.frame, view="cell"), view="cell", size=SIZE)[0]
        assert np.array_equal(windows.whole[index], whole.crop)
        # The middle of the window is the crop but for the rounding of where a resized pixel begins.
        rim = (side - SIZE) // 2
        middle = windows.images[index, rim : rim + SIZE, rim : rim + SIZE].astype(int)
        assert np.abs(middle - windows.crops[index]).mean() < 6


def test_of_several_cells_the_one_in_the_middle_is_labelled(tmp_path: Path) -> None:
    portrait = load(BASOPHIL[0])
    tall = np.concatenate([load(LYMPHOCYTE[0])[:180], portrait, load(LYMPHOCYTE[1])[-180:]])
    from PIL import Image

    (tmp_path / "basophil").mkdir()
    Image.fromarray(tall).save(tmp_path / "basophil" / "1.png")
    windows = cut(read(tmp_path), SIZE)
    cells = cells_of(locate(Frame.of(tall.copy(), 0, datetime.now(UTC))), size=SIZE)
    assert len(cells) > 1
    nearest = min(cells, key=lambda c: abs(c.box.centre[1] - tall.shape[0] / 2) if c.box else 0)
    assert np.array_equal(windows.crops[0], nearest.crop)


def test_unreadable_pictures_are_left_out_and_none_at_all_is_said(tmp_path: Path) -> None:
    put(tmp_path / "basophil" / "broken.jpg", BASOPHIL[0].read_bytes()[:200])
    with pytest.raises(DataError, match="none of 1 labelled pictures can be read"):
        cut(read(tmp_path), SIZE)
    put(tmp_path / "basophil" / "whole.jpg", BASOPHIL[1].read_bytes())
    assert [item.path.name for item in cut(read(tmp_path), SIZE).items] == ["whole.jpg"]


def test_the_cell_in_a_label_s_box_is_cut_located_or_not(tmp_path: Path) -> None:
    source = next(iter(samples("bccd").values()))[0]
    field = load(source)
    located = cells_of(locate(Frame.of(field.copy(), 0, datetime.now(UTC))), size=SIZE)
    white = max(located, key=lambda cell: cell.box.width if cell.box else 0)
    assert white.box is not None
    empty = Box(0, 0, 40, 30) if white.box.left > 60 else Box(field.shape[1] - 40, 0, 400, 30)
    boxes = [
        ("NEUTROPHIL", white.box),
        ("Eosinophils", empty),
        ("RBC", Box(9, 9, 9, 9)),
        ("mono", Box(9000, 9, 9, 9)),
    ]
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{b.left}</xmin><ymin>{b.top}</ymin>"
        f"<xmax>{b.left + b.width}</xmax><ymax>{b.top + b.height}</ymax></bndbox></object>"
        for name, b in boxes
    )
    put(tmp_path / "images" / "1.jpg", source.read_bytes())
    put(tmp_path / "xml" / "1.xml", f"<annotation>{objects}</annotation>".encode())
    items = read(tmp_path)
    assert [(item.label, item.box) for item in items] == [
        ("neutrophil", boxes[0][1]), ("eosinophil", boxes[1][1]), ("monocyte", boxes[3][1]),
    ]  # fmt: skip
    assert len({item.split for item in items}) == 1
    windows = cut(items, SIZE)
    assert [item.label for item in windows.items] == ["neutrophil", "eosinophil"], (
        "a box outside shows nothing"
    )
    assert np.array_equal(windows.crops[0], white.crop)
    assert not np.array_equal(windows.crops[1], white.crop)
    assert np.array_equal(windows.crops, windows.whole), "a field is never one cell, whole"

    from models.examine import examine

    seen = examine([tmp_path])
    assert [item.label for item in seen.items] == ["neutrophil", "eosinophil"]
    assert ["outside of the picture" in why for _, why in seen.found.unreadable] == [True]
