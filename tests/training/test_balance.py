"""A balanced folder: as many training pictures of each class, copies where their originals are, nothing drawn twice."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from smears import copies, folder_a_class, samples

from edge.cli import main
from edge.datasets.labelled import PARTS, LabelledFolder, part_of
from edge.errors import DataError, InputError
from edge.pictures.images import load
from edge.records import Box
from models.balance import altered, balance, group_of, growth
from models.datasets import CLASSES, Item, read
from models.examine import examine
from models.split import split

RARE = {"basophil": 3, "immature granulocyte": 2}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training pictures of each class, of some fewer; four for validation, two for the test."""
    folder = folder_a_class(tmp_path_factory.mktemp("data") / "uneven")
    for name, kept in {"basophil": 3, "ig": 2}.items():
        training = [
            path for path in sorted((folder / name).iterdir()) if part_of(path.read_bytes()) == "train"
        ]
        for path in training[kept:]:
            path.unlink()
    return folder


@pytest.fixture(scope="module")
def even(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("balanced") / "even"
    balance(read(uneven), output)
    return output


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_class_and_kind_has_as_many_training_pictures_and_the_other_sides_stay(
    uneven: Path, even: Path
) -> None:
    before, after = (Counter((item.kind, item.split) for item in read(folder)) for folder in (uneven, even))
    for kind in {kind for kind, _ in before}:
        assert before[kind, "train"] == RARE.get(kind, 8)
        assert after[kind, "train"] == 8
        for part in ("validation", "test"):
            assert before[kind, part] == after[kind, part] > 0
    assert [(each.pictures, each.copies) for each in growth(read(uneven)) if each.name in RARE] == [
        (3, 5),
        (2, 6),
    ]


def test_originals_come_along_byte_for_byte_on_their_side(uneven: Path, even: Path) -> None:
    originals = {item.digest: item for item in read(uneven)}
    found = {item.digest: item for item in read(even)}
    for digest, item in originals.items():
        assert (found[digest].label, found[digest].split) == (item.label, item.split)
    assert len(found) == len(originals) + sum(each.copies for each in growth(originals.values()))
    assert {path.name for path in even.iterdir()} == {*PARTS, "labels.csv"}


@pytest.mark.parametrize("by", ["hash", "class", "folders"])
def test_no_copy_is_on_another_side_than_its_original_however_it_is_split(even: Path, by: str) -> None:
    sides = defaultdict(set)
    source = {row["filename"]: row["source"] for row in rows(even)}
    for item in split(read(even), [], by):  # type: ignore[arg-type]
        sides[source[item.path.relative_to(even).as_posix()]].add(item.split)
    assert len(sides) < len(source)
    assert all(len(parts) == 1 for parts in sides.values())


def test_the_folder_next_to_its_source_changes_no_side(uneven: Path, even: Path) -> None:
    own = {item.digest: item.split for item in read(uneven)}
    both = examine([uneven, even]).items
    assert {item.digest: item.split for item in both if item.digest in own} == own
    assert all(item.split == "train" for item in both if item.digest not in own)


def test_every_command_that_reads_a_side_sees_no_copy_but_in_training(even: Path) -> None:
    for part in PARTS:
        names = [Path(picture.name).name for picture in LabelledFolder(even).pictures(part)]
        assert names
        assert any("-copy" in name for name in names) == (part == "train")


def test_pictures_are_copied_equally_often_and_each_copy_is_another(even: Path) -> None:
    often = Counter(
        row["source"]
        for row in rows(even)
        if row["class"] == "basophil" and row["filename"].startswith("train/")
    )
    assert sorted(often.values()) == [2, 3, 3]
    of_one = [
        load(even / row["filename"]).astype(int)
        for row in rows(even)
        if row["source"] == often.most_common(1)[0][0]
    ]
    pairs = [(a, b) for a in range(len(of_one)) for b in range(a)]
    assert all(np.abs(of_one[a] - of_one[b]).mean() > 1 for a, b in pairs)
    assert all(np.abs(np.median(one, (0, 1)) - np.median(of_one[0], (0, 1))).max() < 8 for one in of_one)


def test_the_seed_decides_every_byte(uneven: Path, even: Path, tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    for seed in (1, 2):
        balance(read(uneven), tmp_path / str(seed), seed=seed)
    assert contents(tmp_path / "1") == contents(even)
    assert contents(tmp_path / "2") != contents(even)


def test_a_number_may_be_named_and_larger_classes_stay(uneven: Path, tmp_path: Path) -> None:
    balance(read(uneven), tmp_path / "five", to=5)
    counts = Counter((item.kind, item.split) for item in read(tmp_path / "five"))
    assert {kind: counts[kind, "train"] for kind, _ in counts} == {
        **dict.fromkeys((*CLASSES, "erythroblast"), 8),
        "basophil": 5,
        "immature granulocyte": 5,
    }


def test_a_patients_pictures_stay_together_and_their_copies_with_them(tmp_path: Path) -> None:
    (tmp_path / "grouped").mkdir()
    lines = ["filename,class,patient"]
    for name, pictures in samples("acevedo").items():
        for number, data in enumerate(islice(copies(pictures[0]), 4 if name == "basophil" else 9)):
            (tmp_path / "grouped" / f"{name}{number}.jpg").write_bytes(data)
            lines.append(f"{name}{number}.jpg,{name},{'Ada' if number % 2 else 'Zoë'}")
    (tmp_path / "grouped" / "labels.csv").write_text("\n".join(lines), "utf-8")
    items = examine([tmp_path / "grouped"], by="class").items
    assert {item.split for item in items} == {"train", "validation"}
    balance(items, tmp_path / "even")
    sides = defaultdict(set)
    for item in read(tmp_path / "even"):
        assert item.group is not None
        sides[item.group.split(".")[0]].add(item.split)
    assert {item.group: {item.split} for item in items} == sides


def test_the_groups_name_falls_on_the_side_of_its_original() -> None:
    for number in range(50):
        for side in PARTS:
            item = Item(Path("a.jpg"), "basophil", "basophil", "here", f"{number:064x}", side)
            assert part_of(group_of(item).encode()) == side
    kept = next(name for name in ("a", "b", "c", "d") if part_of(name.encode()) == "train")
    item = Item(Path("a.jpg"), "basophil", "basophil", "here", "0" * 64, "train", group=kept)
    assert group_of(item) == kept


def test_a_copy_is_turned_a_little_and_zoomed_a_little() -> None:
    size = 201
    y, x = np.mgrid[:size, :size] - size // 2
    bar = np.full((size, size, 3), 230, np.uint8)
    bar[(np.abs(y) < 6) & (np.abs(x) < 60)] = 40
    bar[(np.abs(y + 20) < 6) & (np.abs(x - 20) < 6)] = 40  # above and to the right
    turns, lengths, flips = [], [], []
    for seed in range(300):
        made = altered(bar, np.random.default_rng(seed))
        assert made.shape == bar.shape
        assert made.min() >= 40, "nothing new comes in from the edge"
        dark = np.argwhere(made[..., 0] < 135) - size // 2
        spread = np.cov(dark.T)
        values, vectors = np.linalg.eigh(spread)
        along = vectors[:, 1] * np.sign(vectors[1, 1])
        turns.append(np.degrees(np.arctan2(along[0], along[1])))
        lengths.append(np.sqrt(values[1]))
        flips.append(bool((dark[:, 1][dark[:, 0] < -12]).mean() < 0))
    assert -17 < min(turns) < -11
    assert 11 < max(turns) < 17
    middle = (min(lengths) + max(lengths)) / 2
    assert 0.88 < min(lengths) / middle < 0.93
    assert 1.07 < max(lengths) / middle < 1.12
    assert 0.4 < np.mean(flips) < 0.6


def test_a_foreign_class_name_makes_no_path(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    training = [data for data in copies(samples("acevedo")["basophil"][0]) if part_of(data) == "train"][:3]
    for number, data in enumerate(training):
        (source / f"{number}.jpg").write_bytes(data)
    (source / "labels.csv").write_text(
        "filename,class\n0.jpg,../../escaped\n1.jpg,basophil\n2.jpg,basophil\n"
    )
    balance(read(source), tmp_path / "even")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "even"}
    assert Counter(item.kind for item in read(tmp_path / "even")) == {"../../escaped": 2, "basophil": 2}


def test_what_cannot_be_done_is_said_and_leaves_nothing(uneven: Path, tmp_path: Path) -> None:
    items = read(uneven)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="full holds something already"):
        balance(items, tmp_path / "full")
    boxed = Item(Path("a.jpg"), "basophil", "basophil", "here", "0" * 64, "train", Box(1, 1, 9, 9))
    with pytest.raises(DataError, match="cells that an XML marks in fields"):
        balance([*items, boxed], tmp_path / "boxed")
    with pytest.raises(DataError, match="no picture is on the training side: split by class"):
        balance([item for item in items if item.split != "train"], tmp_path / "nothing")
    lost = Item(tmp_path / "lost.jpg", "basophil", "basophil", "here", "0" * 64, "train")
    with pytest.raises(InputError, match=r"lost\.jpg cannot be read"):
        balance([*items, lost], tmp_path / "lost")
    assert {path.name for path in tmp_path.iterdir()} == {"full"}


def test_the_command_balances_and_says_how(uneven: Path, even: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "even"
    done = CliRunner().invoke(main, ["balance", str(uneven), "--output", str(output)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{output}\n"
    table = {" ".join(line.split()[:-3]): line.split()[-3:] for line in done.stderr.splitlines()[1:]}
    assert table["basophil"] == ["3", "5", "8"]
    assert table["neutrophil"] == ["8", "0", "8"]
    assert rows(output) == rows(even)
    report = CliRunner().invoke(main, ["data", str(output), "--format", "json"])
    assert json.loads(report.stdout)["unreadable"] == []
    again = CliRunner().invoke(main, ["balance", str(uneven), "--output", str(output)])
    assert (again.exit_code, again.stdout) == (1, "")
    inside = CliRunner().invoke(main, ["balance", str(uneven), "--output", str(uneven / "even")])
    assert "is inside" in inside.stderr
    assert not (uneven / "even").exists()


def test_the_command_warns_of_a_class_that_would_be_learned_by_heart(uneven: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["balance", str(uneven), "--output", str(tmp_path / "out"), "--to", "23"])
    assert done.exit_code == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines() if "by heart" in line] == [
        "immature granulocyte"
    ]
