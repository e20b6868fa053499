"""Lists of labels as machines and offices write them: read as meant, or refused in a sentence, never half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.datasets.labelled import PARTS, LabelledFolder, part_of
from edge.datasets.labels import Labels
from edge.errors import DataError


def labels(folder: Path, text: str, encoding: str = "utf-8") -> Labels:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return Labels.read(path)


@pytest.mark.parametrize(
    "written", ["./img/1.jpg", "img/./1.jpg", ".\\img\\1.jpg", ".//img/1.jpg", "img/1.jpg"]
)
def test_a_step_on_the_spot_loses_no_label(tmp_path: Path, written: str) -> None:
    found = labels(tmp_path, f"filename,class\n{written},monocyte\n")
    assert found.of("/data/img/1.jpg") == "monocyte"
    assert found.unused() == []


def test_names_with_dots_stay_as_they_are(tmp_path: Path) -> None:
    found = labels(tmp_path, "filename,class\na./1.jpg,monocyte\nb.c/../1.jpg,basophil\n")
    assert found.of("x/a./1.jpg") == "monocyte"
    assert "b.c/../1.jpg" in found.unused()


@pytest.mark.parametrize(
    "rows",
    ["a\\1.jpg,monocyte\na/1.jpg,basophil", "./1.jpg,monocyte\n1.jpg,basophil", "001,monocyte\n1,basophil"],
)
def test_two_names_of_one_picture_must_agree(tmp_path: Path, rows: str) -> None:
    with pytest.raises(DataError, match="both monocyte and basophil"):
        labels(tmp_path, f"filename,class\n{rows}\n")
    assert labels(tmp_path, f"filename,class\n{rows}\n".replace("basophil", "monocyte")).names() == {
        "monocyte"
    }


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_said_instead_of_matching_nothing(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match="UTF-8"):
        labels(tmp_path, "filename,class\n1.jpg,monocyte\n", encoding)


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffilename;class\r\n1.jpg;monocyte\r\n",
        '"filename"\t"class"\r"1.jpg"\t"monocyte"\r',
        'note,filename,class\n"two\nlines, and ""quotes""",1.jpg,monocyte\n',
        "filename,class\n\n,\n1.jpg , Monocyte \n1.jpg,monocyte\n",
    ],
)
def test_a_list_as_an_office_writes_it(tmp_path: Path, text: str) -> None:
    assert labels(tmp_path, text).of("x/1.jpg") == "monocyte"


def picture(path: Path, shade: int) -> None:
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["", "P1", "P2", "P3", "P9"])), min_size=2, max_size=12
    )
)
def test_no_bytes_are_on_two_sides_whatever_groups_they_are_filed_under(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("set")
    rows = ["filename,class,patient"]
    for number, (shade, patient) in enumerate(files):
        picture(folder / f"{number}.png", shade)
        rows.append(f"{number}.png,monocyte,{patient}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    sides: dict[bytes, set[str]] = {}
    count = 0
    for part in PARTS:
        for each in LabelledFolder(folder).pictures(part):
            sides.setdefault(each.data(), set()).add(part)
            count += 1
    assert count == len(files)
    assert all(len(each) == 1 for each in sides.values())


def test_a_copy_under_another_patient_is_where_its_original_is(tmp_path: Path) -> None:
    """Names that fall on two sides by themselves."""
    by_side = {part_of(f"P{number}".encode()): f"P{number}" for number in range(50)}
    for name in ("1.png", "2.png"):
        picture(tmp_path / name, 7)
    (tmp_path / "labels.csv").write_text(
        f"filename,class,patient\n1.png,monocyte,{by_side['train']}\n2.png,monocyte,{by_side['test']}\n"
    )
    assert len(list(LabelledFolder(tmp_path).pictures("train"))) == 2
    assert list(LabelledFolder(tmp_path).pictures("test")) == []
