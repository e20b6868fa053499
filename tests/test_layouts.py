"""The layouts in which labelled pictures come, hostile ones among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.datasets.labelled import LabelledFolder, Part, part_of
from edge.datasets.labels import MAX_BYTES, Labels
from edge.datasets.taxonomy import Names
from edge.datasets.voc import read as read_voc
from edge.errors import DataError, InputError
from edge.records import Box


def put(folder: Path, *names: str) -> Path:
    """Files that are named like pictures; their content is their name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return folder


def labels(folder: Path, *mapped: str) -> dict[str, str | None]:
    """The kinds of the labelled pictures by their names within the folder."""
    source = LabelledFolder(folder, Names.of(mapped))
    found = [p.name for p in source.pictures(None) if not isinstance(p.content, InputError)]
    return {os.path.relpath(name, folder): source.label(name) for name in found}


def given_parts(folder: Path) -> dict[str, Part | None]:
    return {os.path.relpath(e.picture.name, folder): e.given for e in LabelledFolder(folder).entries()}


def test_raabin_in_its_folders(tmp_path: Path) -> None:
    put(
        tmp_path,
        "Train/Basophil/1.jpg",
        "TestA/Neutrophil/2.jpg",
        "Test-B/Large-lymph/3.jpg",
        "Test-B/Lymphocyte/4.jpg",
    )
    assert labels(tmp_path) == {
        "Test-B/Large-lymph/3.jpg": "large-lymph",
        "Test-B/Lymphocyte/4.jpg": "lymphocyte",
        "TestA/Neutrophil/2.jpg": "neutrophil",
        "Train/Basophil/1.jpg": "basophil",
    }
    assert set(given_parts(tmp_path).values()) == {"train", "test"}


def test_kaggle_blood_cells_with_the_fields_beside_them(tmp_path: Path) -> None:
    deep = "dataset2-master/dataset2-master/images"
    put(
        tmp_path, f"{deep}/TRAIN/EOSINOPHIL/_0_1.jpeg", f"{deep}/TEST/LYMPHOCYTE/_0_2.jpeg",
        f"{deep}/TEST_SIMPLE/MONOCYTE/_0_3.jpeg", "dataset-master/JPEGImages/BloodImage_00000.jpg",
    )  # fmt: skip
    assert labels(tmp_path) == {
        f"{deep}/TEST/LYMPHOCYTE/_0_2.jpeg": "lymphocyte",
        f"{deep}/TEST_SIMPLE/MONOCYTE/_0_3.jpeg": "monocyte",
        f"{deep}/TRAIN/EOSINOPHIL/_0_1.jpeg": "eosinophil",
    }
    assert given_parts(tmp_path)[f"{deep}/TEST_SIMPLE/MONOCYTE/_0_3.jpeg"] == "test"


def test_acevedo_in_its_folders_with_finer_kinds_below(tmp_path: Path) -> None:
    put(
        tmp_path, "PBC_dataset_normal_DIB/basophil/BA_1.jpg", "PBC_dataset_normal_DIB/neutrophil/BNE/1.jpg",
        "PBC_dataset_normal_DIB/ig/MMY_1.jpg", "PBC_dataset_normal_DIB/odd/1.jpg",
    )  # fmt: skip
    assert list(labels(tmp_path).values()) == ["basophil", "immature granulocyte", "band neutrophil", "odd"]
    ignored = labels(tmp_path, "odd=ignore", "ig=platelet")
    assert list(ignored.values()) == ["basophil", "platelet", "band neutrophil"]


def test_folders_that_hold_folders_are_no_classes_nor_are_masks(tmp_path: Path) -> None:
    put(tmp_path, "train/images/weird/1.png", "train/images/odd/2.png", "train/masks/odd/2.png", "val/3.png")
    assert list(labels(tmp_path).values()) == ["odd", "weird"]
    put(tmp_path, "train/images/eo/4.png", "train/images/eo/masks/4.png")
    assert list(labels(tmp_path).values()) == ["eosinophil", "odd", "weird"]


def test_a_list_of_something_else_beside_folders_of_classes_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "eo/1.png", "neutrophil images/2.png")
    (tmp_path / "slides.csv").write_text("name,type\nslide 7,smear\n")
    assert list(labels(tmp_path).values()) == ["eosinophil", "neutrophil images"]
    assert LabelledFolder(tmp_path).doubts() == {"neutrophil images": "neutrophil"}
    (tmp_path / "labels.csv").write_text("name,type\n2.png,monocyte\n")
    assert labels(tmp_path) == {"neutrophil images/2.png": "monocyte"}


@pytest.mark.parametrize(
    "name", ["images", "TRAIN", "Test-B", "dataset2-master", "White Blood Cells", "JPEGImages", "7"]
)
def test_a_folder_of_everything_is_no_class(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/weird/1.png", f"{name}/2.png")
    assert labels(tmp_path) == {f"{name}/weird/1.png": "weird"}


@pytest.mark.parametrize("name", ["sickle cells", "platelet images", "old data of Köln"])
def test_a_folder_of_something_is_a_kind(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/1.png", "eo/2.png")
    assert labels(tmp_path)[f"{name}/1.png"] == name.lower()


def test_every_side_that_folders_may_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    put(
        data,
        *(f"{name}/eo/1.png" for name in ("Training", "valid", "dev_set", "test-2", "trainer", "contest")),
    )
    assert given_parts(data) == {
        "Training/eo/1.png": "train",
        "contest/eo/1.png": None,
        "dev_set/eo/1.png": "validation",
        "test-2/eo/1.png": "test",
        "trainer/eo/1.png": None,
        "valid/eo/1.png": "validation",
    }


def test_doubtful_names_stop_what_reads_them(tmp_path: Path) -> None:
    put(tmp_path, "neutrophill/1.png", "monocyte/2.png", "weird/3.png")
    folder = LabelledFolder(tmp_path)
    assert folder.doubts() == {"neutrophill": "neutrophil"}
    assert folder.unknown() == ["weird"]
    with pytest.raises(DataError, match=r"is neutrophill a neutrophil\? Say --map 'neutrophill=neutrophil'"):
        folder.settle()
    LabelledFolder(tmp_path, Names.of(["neutrophill=NE"])).settle()


@pytest.mark.parametrize(
    "header", ["filename,class", "Image,Category", "File Name;Label", "image_path\tcell_type", "id,label"]
)
def test_columns_by_their_common_names(tmp_path: Path, header: str) -> None:
    put(tmp_path, "a.png", "b.png")
    cut = next(c for c in ",;\t" if c in header)
    (tmp_path / "train.csv").write_text(f"{header}\na.png{cut}EO\nb.png{cut}Monocytes\n")
    assert labels(tmp_path) == {"a.png": "eosinophil", "b.png": "monocyte"}


def test_names_without_suffix_by_number_and_of_another_machine(tmp_path: Path) -> None:
    put(tmp_path, "JPEGImages/BloodImage_00000.jpg", "JPEGImages/BloodImage_00012.jpg", "JPEGImages/none.jpg")
    for rows in (
        ",Image,Category\n0,0,NEUTROPHIL\n1,12,EO\n2,13,MO\n",
        "name,label\nBloodImage_00000,NEUTROPHIL\nBloodImage_00012,EO\n",
        "path,label\n/home/x/set/BloodImage_00000.jpg,NE\n/home/x/set/BloodImage_00012.jpg,EO\n",
        "path,label\nC:\\set\\JPEGImages\\BloodImage_00000.jpg,NE\nC:\\set\\x\\BloodImage_9.jpg,EO\n"
        "C:\\set\\JPEGImages\\BloodImage_00012.jpg,EO\n",
    ):
        (tmp_path / "labels.csv").write_text(rows)
        assert labels(tmp_path) == {
            "JPEGImages/BloodImage_00000.jpg": "neutrophil",
            "JPEGImages/BloodImage_00012.jpg": "eosinophil",
        }, rows


@pytest.mark.parametrize("column", ["patient", "Slide ID", "group"])
def test_a_group_is_on_one_side_whatever_its_files(tmp_path: Path, column: str) -> None:
    names = [f"{n}.png" for n in range(40)]
    put(tmp_path, *names)
    rows = [f"{name},eo,{'ann' if n % 2 else ''}" for n, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join([f"file,class,{column}", *rows]))
    source = LabelledFolder(tmp_path)
    grouped = {entry.group for entry in source.entries()}
    assert grouped == {"ann", None}
    sides = {entry.group: set[Part]() for entry in source.entries()}
    for entry in source.entries():
        sides[entry.group].add(source.part(entry, entry.picture.data()))
    assert sides["ann"] == {part_of(b"ann")}
    assert sides[None] == {"train", "validation", "test"}


def test_a_record_of_sides_comes_before_the_hash(tmp_path: Path) -> None:
    import hashlib

    put(tmp_path, "eo/1.png")
    digest = hashlib.sha256(b"eo/1.png").hexdigest()
    for side in ("train", "test"):
        source = LabelledFolder(tmp_path, record={digest: side})  # type: ignore[dict-item]
        assert len(list(source.pictures(side))) == 1  # type: ignore[arg-type]


VOC = """<annotation><filename>{file}</filename><size><width>640</width></size>{objects}</annotation>"""
OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    "<part><name>head</name></part></object>"
)


def test_a_field_has_a_label_for_each_white_cell(tmp_path: Path) -> None:
    put(tmp_path, "JPEGImages/1.jpg", "JPEGImages/2.jpg")
    objects = [
        ("RBC", 0, 0, 9, 9),
        ("Neutrophils", 10, 20, 40, 60),
        ("EO", 1.5, 2, 3, 4),
        ("Platelets", 1, 1, 2, 2),
    ]
    xml = VOC.format(file="C:\\x\\1.jpg", objects="".join(OBJECT.format(*each) for each in objects))
    put(tmp_path, "Annotations/1.xml", "Annotations/2.xml")
    (tmp_path / "Annotations/1.xml").write_text(xml)
    (tmp_path / "Annotations/2.xml").write_text(
        VOC.format(file="", objects=OBJECT.format("mono", 0, 0, 5, 5))
    )
    source = LabelledFolder(tmp_path)
    found = [(os.path.relpath(p.name, tmp_path), source.label(p.name), p.box) for p in source.pictures(None)]
    assert found == [
        ("JPEGImages/1.jpg#2", "neutrophil", Box(10, 20, 30, 40)),
        ("JPEGImages/1.jpg#3", "eosinophil", Box(2, 2, 2, 2)),
        ("JPEGImages/2.jpg#1", "monocyte", Box(0, 0, 5, 5)),
    ]
    part = part_of(b"JPEGImages/1.jpg")
    assert [p.box for p in source.pictures(part)][:2] == [Box(10, 20, 30, 40), Box(2, 2, 2, 2)], (
        "one file, one side"
    )


def test_fields_without_a_class_say_what_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "images/1.jpg", "a/1.xml")
    (tmp_path / "a/1.xml").write_text(VOC.format(file="1.jpg", objects=OBJECT.format("WBC", 0, 0, 5, 5)))
    with pytest.raises(
        DataError, match=r"no object in its XML names a class .*called WBC.*: put a labels.csv"
    ):
        LabelledFolder(tmp_path)
    (tmp_path / "labels.csv").write_text("filename,class\n1.jpg,EO\n")
    assert labels(tmp_path) == {"images/1.jpg": "eosinophil"}


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    "<annotation><filename>&c;</filename></annotation>"
)
OUTSIDE = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (BOMB.encode(), "is refused: it declares a document type"),
        (BOMB.replace("?>", ' encoding="UTF-16"?>', 1).encode("utf-16"), "is refused"),
        (OUTSIDE.encode(), "is refused"),
        (b"<annotation>" + b"x" * 5_000_000, "too large for an annotation"),
        (b"<annotation><object>", "is no Pascal VOC annotation"),
        (b"\xff\xfe\x00garbage", "is no Pascal VOC annotation"),
        (b"", "is no Pascal VOC annotation"),
        (b"<annotation><object><name>eo</name></object></annotation>", "object/bndbox/xmin' is missing"),
        (VOC.format(file="", objects=OBJECT.format("eo", "one", 0, 1, 1)).encode(), "could not convert"),
        (b"<a>" * 300_000, "over 20 deep"),
    ],
)
def test_hostile_annotations_end_in_a_sentence(tmp_path: Path, xml: bytes, why: str) -> None:
    path = tmp_path / "1.xml"
    path.write_bytes(xml)
    with pytest.raises(DataError, match=why):
        read_voc(path)


def test_boxes_without_extent_and_lost_pictures_are_named(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "1.xml", "2.xml", "3.xml")
    boxes = [
        ("eo", 5, 5, 5, 9),
        ("eo", "nan", 0, 1, 1),
        ("eo", -1, 0, 1, 1),
        ("eo", 0, 0, "1e999", 1),
        ("mo", 0, 0, 4, 4),
    ]
    (tmp_path / "1.xml").write_text(
        VOC.format(file="1.jpg", objects="".join(OBJECT.format(*b) for b in boxes))
    )
    (tmp_path / "2.xml").write_text(
        VOC.format(file="../../etc/passwd", objects=OBJECT.format("eo", 0, 0, 1, 1))
    )
    (tmp_path / "3.xml").write_text(BOMB)
    source = LabelledFolder(tmp_path)
    errors = [str(p.content) for p in source.pictures(None) if isinstance(p.content, InputError)]
    assert sum("has no extent" in error for error in errors) == 4
    assert any("its picture passwd is not there" in error for error in errors)
    assert any("3.xml is refused" in error for error in errors)
    assert list(labels(tmp_path).values()) == ["monocyte"]


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    put(tmp_path / "secret", "1.png")
    data = put(tmp_path / "data", "eo/1.png")
    (data / "eo/2.png").symlink_to(tmp_path / "secret/1.png")
    (data / "eo/3.png").symlink_to(data / "eo/1.png")
    (data / "mo").symlink_to(tmp_path / "secret")
    (tmp_path / "link").symlink_to(data)
    for folder in (data, tmp_path / "link"):
        found = {Path(p.name).name: p.content for p in LabelledFolder(folder).pictures(None)}
        assert set(found) == {"1.png", "2.png", "3.png"}
        assert "is a link out of" in str(found["2.png"])
        assert isinstance(found["2.png"], InputError)
        assert isinstance(found["3.png"], Path)


def test_names_that_are_no_utf_8_are_read_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, "mo/1.png", os.fsdecode(b"odd\xe9/\xff.png"))
    assert {os.fsencode(name): kind for name, kind in labels(tmp_path).items()} == {
        b"mo/1.png": "monocyte",
        b"odd\xe9/\xff.png": os.fsdecode(b"odd\xe9"),
    }


def test_a_csv_that_is_no_list_of_labels_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "labels.csv"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match="the limit is 64,000,000"):
        Labels.read(huge)
    huge.write_text("file,class\n" + "".join(f"{n}.png,{n}\n" for n in range(1002)))
    with pytest.raises(DataError, match=r"names over 1000 classes: is class the right column\?"):
        Labels.read(huge)
    huge.write_text("file,class,patient\na.png,eo,1\na.png,eo,2\n")
    with pytest.raises(DataError, match=r"puts a.png with both 1 and 2"):
        Labels.read(huge)


def test_two_lists_of_labels_are_one_too_many(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,class\n1.png,eo\n")
    (tmp_path / "notes.csv").write_text("weight,height\n1,2\n")
    with pytest.raises(DataError, match=r"holds a.csv and b.csv: call one labels.csv"):
        LabelledFolder(tmp_path)
    (tmp_path / "b.csv").unlink()
    assert labels(tmp_path) == {"1.png": "eosinophil"}
