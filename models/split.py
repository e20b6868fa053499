"""Which picture is on which side: three ways to split, and what must stay together whichever is taken.

- `hash`: by the SHA-256 of a file's bytes, or of its group's name (`edge.datasets.labelled.part_of`). A picture
  keeps its side when others come and go.
- `class`: the same order, but each class of each site is cut at its exact shares. For small sets.
- `folders`: as the data set's own folders (`TRAIN`, `val`, `Test-A`) say.

Files of one group (a patient, a slide) and look-alikes are never on two sides. Where the way of splitting would
have it so, all go to the side that was trained on most: a picture, or its twin, may leave the test part for the
training part but never the other way, so no figure becomes better than it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, get_args

from edge.datasets.labelled import PARTS, TRAIN_SHARE, VALIDATION_SHARE, Part, place_of
from edge.datasets.taxonomy import OTHER
from edge.errors import DataError
from models.datasets import Item
from models.lookalikes import Joined

By = Literal["hash", "class", "folders"]

WAYS: tuple[By, ...] = get_args(By)


def split(items: Sequence[Item], alike: Iterable[Sequence[int]], by: By = "hash") -> list[Item]:
    """Put every picture on its side.

    Args:
        items: with the sides that their bytes or group's name give them.
        alike: groups of look-alikes, by number in `items`.
        by: the way to split.

    Returns:
        The items, in the same order.

    Raises:
        DataError: `by` is `folders`, and no folder names a side.
    """
    units = _units(items, alike)
    if by == "class":
        sides = _by_class(items, units)
    else:
        own = [item.split for item in items] if by == "hash" else _by_folders(items)
        sides = [min((own[number] for number in unit), key=PARTS.index) for unit in units]
    placed = list(items)
    for unit, side in zip(units, sides, strict=True):
        for number in unit:
            placed[number] = replace(items[number], split=side)
    return placed


def _units(items: Sequence[Item], alike: Iterable[Sequence[int]]) -> list[list[int]]:
    """What must stay together: files of one group, cells of one file, look-alikes."""
    joined = Joined(len(items))
    first: dict[tuple[str, str], int] = {}
    for number, item in enumerate(items):
        joined.join(number, first.setdefault(("file", item.digest), number))
        if item.group is not None:
            joined.join(number, first.setdefault(("group", item.group), number))
    for group in alike:
        for one, other in pairwise(group):
            joined.join(one, other)
    together = joined.groups()
    alone = set(range(len(items))).difference(*together)
    return [*together, *([number] for number in sorted(alone))]


def _by_class(items: Sequence[Item], units: Sequence[Sequence[int]]) -> list[Part]:
    """In the order of their hashes, each unit by where its middle falls among the pictures of its class."""
    strata: dict[tuple[str, str], list[int]] = {}
    for number, unit in enumerate(units):
        strata.setdefault(_stratum([items[n] for n in unit]), []).append(number)
    sides: list[Part] = ["train"] * len(units)
    for stratum in strata.values():
        stratum.sort(key=lambda number: min(_place(items[n]) for n in units[number]))
        total, before = sum(len(units[number]) for number in stratum), 0
        for number in stratum:
            middle = (before + len(units[number]) / 2) / total
            before += len(units[number])
            if middle >= TRAIN_SHARE:
                sides[number] = "validation" if middle < TRAIN_SHARE + VALIDATION_SHARE else "test"
        # Too few to fill every share: one for the test, and one to choose the best epoch by; never the largest.
        largest = max(stratum, key=lambda number: len(units[number]))
        spare = [number for number in stratum if number != largest]
        if len(stratum) > 2 and all(sides[number] != "test" for number in stratum):
            sides[spare[-1]] = "test"
        if spare and all(sides[number] != "validation" for number in stratum):
            sides[([number for number in spare if sides[number] == "train"] or spare)[-1]] = "validation"
    return sides


def _stratum(members: Sequence[Item]) -> tuple[str, str]:
    kinds = Counter((i.site, i.kind if i.label == OTHER else i.label) for i in members)
    return kinds.most_common(1)[0][0]


def _place(item: Item) -> float:
    if item.group is not None:
        return place_of(item.group.encode(errors="surrogateescape"))
    return int(item.digest[:8], 16) / 2**32


def _by_folders(items: Sequence[Item]) -> list[Part]:
    """As the folders say; of a site without a folder for validation, a part of its training pictures is that."""
    if not any(item.given for item in items):
        raise DataError("no folder is called train, validation or test: split by hash or by class")
    with_validation = {item.site for item in items if item.given == "validation"}
    sides = []
    for item in items:
        side = item.given or item.split
        if item.given == "train" and item.site not in with_validation:
            side = "train" if _place(item) < TRAIN_SHARE / (TRAIN_SHARE + VALIDATION_SHARE) else "validation"
        sides.append(side)
    return sides


def record(items: Sequence[Item], before: Sequence[Item]) -> list[dict[str, Any]]:
    """What to write down of a split: a row for each picture.

    Args:
        items: as they were split.
        before: the same, with the sides that their own bytes or group give them.
    """
    rows = []
    for item, own in zip(items, before, strict=True):
        row: dict[str, Any] = {
            "file": item.path.name,
            "site": item.site,
            "class": item.kind,
            "sha256": item.digest,
            "split": item.split,
        }
        if item.box is not None:
            row["box"] = list(item.box)
        if item.group is not None:
            row["group"] = item.group
        if item.split != own.split:
            row["by_hash"] = own.split
        rows.append(row)
    return rows
