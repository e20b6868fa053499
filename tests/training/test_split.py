"""Look-alikes and splits: what shows the same is found, and stays on one side."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from smears import samples

from edge.datasets.labelled import PARTS, Part, part_of, recorded
from edge.errors import DataError
from edge.pictures.images import decode, load
from edge.records import Image as Pixels
from models.datasets import Item
from models.lookalikes import Joined, Look, alike
from models.split import record, split

PICTURES = [
    load(path) for site in ("acevedo", "acevedo_other") for files in samples(site).values() for path in files
]
FIELD = next(iter(samples("bccd").values()))[0]


def saved(image: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return decode(file.getvalue(), "again")


def resized(image: Pixels, factor: float) -> Pixels:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((round(width * factor), round(height * factor))))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "saved again": lambda image: saved(image, 85),
    "saved badly": lambda image: saved(image, 25),
    "halved": lambda image: resized(image, 0.5),
    "a third, saved": lambda image: saved(resized(image, 0.33), 80),
    "doubled": lambda image: resized(image, 2),
    "darker": lambda image: (image * 0.85).astype(np.uint8),
    "shifted": lambda image: np.roll(image, (4, -3), (0, 1)),
}


def test_no_two_cells_look_alike() -> None:
    groups, pairs = alike([Look.of(image) for image in PICTURES])
    assert (groups, pairs) == ([], [])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_looks_like_its_original_and_like_nothing_else(change: str) -> None:
    some = PICTURES[::3]
    looks = [Look.of(image) for image in (*some, *map(CHANGES[change], some))]
    groups, pairs = alike(looks)
    assert groups == [[n, n + len(some)] for n in range(len(some))]
    assert all(pair.correlation >= 0.9 for pair in pairs)


def test_fields_are_compared_as_cells_are() -> None:
    field = load(FIELD)
    assert alike([Look.of(field), Look.of(saved(field, 60))])[0] == [[0, 1]]


def test_blank_pictures_are_like_nothing() -> None:
    blank = [Look.of(np.full((50, 60, 3), level, np.uint8)) for level in (0, 0, 128, 255, 255)]
    assert alike(blank) == ([], [])
    assert alike([]) == ([], [])


def test_many_copies_are_one_group_of_spanning_pairs() -> None:
    looks = [Look.of(saved(PICTURES[0], quality)) for quality in range(40, 100)]
    groups, pairs = alike(looks)
    assert groups == [list(range(60))]
    assert len(pairs) == 59


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_what_is_joined_hangs_together(links: list[tuple[int, int]]) -> None:
    joined = Joined(20)
    sets = [{n} for n in range(20)]
    for one, other in links:
        joined.join(one, other)
        union = sets[one] | sets[other]
        for member in union:
            sets[member] = union
    assert [tuple(group) for group in joined.groups()] == sorted(
        {tuple(sorted(s)) for s in sets if len(s) > 1}
    )


def item(number: int, label: str = "basophil", site: str = "here", **more: object) -> Item:
    data = f"{site}-{label}-{number}".encode()
    group = more.get("group")
    side = part_of(data if group is None else str(group).encode())
    digest = hashlib.sha256(data).hexdigest()
    return Item(Path(f"{number}.png"), label, label, site, digest, side, **more)  # type: ignore[arg-type]


def sides(items: list[Item]) -> Counter[Part]:
    return Counter(each.split for each in items)


def on(part: Part, count: int = 1) -> list[Item]:
    return [each for each in (item(n) for n in range(500)) if each.split == part][:count]


def test_by_hash_nothing_moves_but_look_alikes() -> None:
    items = [item(n) for n in range(200)]
    assert split(items, []) == items
    trained, chosen, tested = on("train")[0], on("validation")[0], on("test")[0]
    rest = on("test", 3)[1:]
    before = [tested, chosen, trained, *rest]
    for alike_ones, side in (([0, 1, 2], "train"), ([0, 1], "validation"), ([0, 3], "test")):
        after = split(before, [alike_ones])
        assert {after[n].split for n in alike_ones} == {side}
        assert [a for n, a in enumerate(after) if n not in alike_ones] == [
            b for n, b in enumerate(before) if n not in alike_ones
        ]


def test_cells_of_one_file_and_of_one_group_stay_together() -> None:
    one, two = on("train")[0], on("test")[0]
    grouped = [item(n, group="ann") for n in range(30)]
    assert len(sides(grouped)) == 1
    after = split([two, *grouped, one], [[0, 1], [2, 31]])
    assert sides(after) == {"train": 32}


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (7, 1, 2)), (20, (14, 3, 3)),
     (1000, (700, 150, 150))],
)  # fmt: skip
def test_by_class_each_class_of_each_site_has_its_shares(count: int, wanted: tuple[int, int, int]) -> None:
    items = [
        item(n, label, site)
        for site in ("a", "b")
        for label in ("monocyte", "basophil")
        for n in range(count)
    ]
    after = split(items, [], "class")
    for at in range(0, len(items), count):
        counts = sides(after[at : at + count])
        assert tuple(counts[part] for part in PARTS) == wanted
    # The order is that of the hashes: where the shares happen to be exact, nothing moves.
    moved = sum(a.split != b.split for a, b in zip(after, items, strict=True))
    assert count < 1000 or moved < 0.05 * len(items)


def test_by_class_a_patient_is_not_divided() -> None:
    items = [item(n, group=f"patient {n // 10}") for n in range(100)]
    after = split(items, [], "class")
    assert [sides(after)[part] for part in PARTS] == [70, 10, 20]
    assert all(len(sides(after[n : n + 10])) == 1 for n in range(0, 100, 10))
    large = [item(n, group="large" if n < 95 else None) for n in range(100)]
    counts = sides(split(large, [], "class"))
    assert counts["train"] >= 95
    assert counts["validation"]


def test_by_folders_as_they_say() -> None:
    given_sides: list[Part | None] = ["train"] * 80 + ["test"] * 19 + [None]
    items = [item(n, given=side) for n, side in enumerate(given_sides)]
    after = split(items, [[0, 80]], "folders")
    assert after[80].split == after[0].split != "test", (
        "a look-alike of a training picture is no test picture"
    )
    assert {each.split for each in after[81:99]} == {"test"}
    assert after[99].split == items[99].split
    counts = sides(after[:80])
    assert set(counts) == {"train", "validation"}, "one that is missing is taken out of the training pictures"
    assert counts["validation"] < 30
    with_validation = [*items, item(200, given="validation")]
    assert sides(split(with_validation, [], "folders")[:80]) == {"train": 80}
    with pytest.raises(DataError, match="no folder is called train"):
        split([item(1)], [], "folders")


def test_the_record_says_what_moved_and_is_read_again(tmp_path: Path) -> None:
    before = [on("train")[0], on("test")[0], item(3, group="ann")]
    after = split(before, [[0, 1]])
    rows = record(after, before)
    assert [row.get("by_hash") for row in rows] == [None, "test", None]
    assert rows[2]["group"] == "ann"
    (tmp_path / "split.json").write_text(json.dumps(rows))
    assert recorded(tmp_path / "split.json") == {each.digest: each.split for each in after}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"sha256": "x"}]', '[{"sha256": "x", "split": "all"}]'])
def test_what_is_no_record_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    if text == "{}":
        assert recorded(path) == {}
    else:
        with pytest.raises(DataError, match=r"split.json (is no record of a split|names sides other)"):
            recorded(path)
