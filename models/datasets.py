"""Labelled pictures on disk: what is there, which class, and on which side of the split.

A data set is a folder in one of the layouts of `edge.datasets.layouts`. Kinds that are none of the five white cells
are cells of *other* kinds: they train the model to say that it does not know.

The split is a property of the file's bytes, or of its group's name, not of a run (`edge.datasets.labelled.part_of`):
byte-identical duplicates never straddle it, and every command means the same cells by `test`.
`models.split` has other ways to split, and keeps look-alikes together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.datasets.labelled import PARTS, Entry, LabelledFolder, Part
from edge.datasets.taxonomy import CLASSES, OTHER, Names, among
from edge.errors import DataError, InputError
from edge.records import Box
from edge.text import printable

__all__ = ["CLASSES", "OTHER", "Found", "Item", "find", "read", "summary"]


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture, or one labelled cell of a field.

    Attributes:
        path: the file.
        label: one of the classes, or `OTHER`.
        kind: what it is by the finest name of `edge.datasets.taxonomy` that the data set gives.
        site: the data set's name, the folder's.
        digest: SHA-256 of the file's bytes, hexadecimal.
        split: which side of the split the file is on.
        box: where in the picture the labelled cell is; None where it is the one nearest the middle.
        group: the patient or slide that it is of, where the data set tells.
        given: the side that the data set's own folders put it on, where they do.
    """

    path: Path
    label: str
    kind: str
    site: str
    digest: str
    split: Part
    box: Box | None = None
    group: str | None = None
    given: Part | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in some data sets.

    Attributes:
        items: each labelled picture once.
        copies: byte-identical copies that were left out, each with the file that was kept.
        contradictions: files that stand under two classes, all of them left out: nobody knows which is right.
        unreadable: what could not be read, and why.
        unlabelled: by site, pictures without a class, or with one that was said to be left out.
        names: by site, how a name was written → the kind it stands for (None for none) → pictures.
        doubts: by site, names that may mean a class, and the class.
        unknown: by site, names that are not known and resemble no class.
    """

    items: tuple[Item, ...]
    copies: tuple[tuple[Path, Item], ...]
    contradictions: tuple[tuple[Item, ...], ...]
    unreadable: tuple[tuple[str, str], ...]
    unlabelled: Mapping[str, int]
    names: Mapping[str, Counter[tuple[str, str | None]]]
    doubts: Mapping[str, Mapping[str, str]]
    unknown: Mapping[str, Sequence[str]]


def find(
    folders: Iterable[Path],
    names: Names | None = None,
    record: Mapping[str, Part] | None = None,
    step: Callable[[], None] | None = None,
) -> Found:
    """Find all labelled pictures of some data sets, each byte-identical file once over all of them.

    Args:
        folders: see `edge.datasets.labelled.LabelledFolder`.
        names: how names of classes are to be understood.
        record: sides of the split by SHA-256, from an earlier training.
        step: called for each picture.

    Raises:
        DataError: a folder is missing or its labels are malformed.
    """
    by_file: dict[tuple[str, Box | None], list[Item]] = {}
    unreadable: list[tuple[str, str]] = []
    unlabelled: Counter[str] = Counter()
    written: dict[str, Counter[tuple[str, str | None]]] = {}
    doubts: dict[str, dict[str, str]] = {}
    unknown: dict[str, list[str]] = {}
    for folder in folders:
        source = LabelledFolder(folder, names, record)
        site = folder.name or folder.resolve().name
        doubts.setdefault(site, {}).update(source.doubts())
        unknown.setdefault(site, []).extend(source.unknown())
        counts = written.setdefault(site, Counter())
        for entry in source.entries():
            if step:
                step()
            if entry.written is not None:
                counts[entry.written, entry.kind] += 1
            try:
                item = _item(entry, site, source)
            except InputError as error:
                unreadable.append((entry.picture.name, str(error)))
                continue
            if item is None:
                unlabelled[site] += 1
            else:
                by_file.setdefault((item.digest, item.box), []).append(item)
    certain = [same for same in by_file.values() if len({item.label for item in same}) == 1]
    return Found(
        tuple(same[0] for same in certain),
        tuple((item.path, same[0]) for same in certain for item in same[1:]),
        tuple(tuple(same) for same in by_file.values() if len({item.label for item in same}) > 1),
        tuple(unreadable),
        unlabelled,
        written,
        {site: found for site, found in doubts.items() if found},
        {site: found for site, found in unknown.items() if found},
    )


def _item(entry: Entry, site: str, source: LabelledFolder) -> Item | None:
    if isinstance(entry.picture.content, InputError):
        raise entry.picture.content
    if entry.kind is None:
        return None
    data = entry.picture.data()
    return Item(
        Path(entry.picture.content) if isinstance(entry.picture.content, Path) else Path(entry.picture.name),
        among(entry.kind, CLASSES) or OTHER,
        entry.kind,
        site,
        hashlib.sha256(data).hexdigest(),
        source.part(entry, data),
        entry.picture.box,
        entry.group,
        entry.given,
    )


def read(
    folder: Path,
    part: Part | None = None,
    names: Names | None = None,
    record: Mapping[str, Part] | None = None,
) -> list[Item]:
    """The labelled pictures of one data set, each byte-identical file once.

    A picture that stands under two classes is left out: nobody knows which is right.

    Args:
        folder: see `edge.datasets.labelled.LabelledFolder`.
        part: only those on one side of the split; None for all.
        names: how names of classes are to be understood.
        record: sides of the split by SHA-256, from an earlier training (`edge.datasets.labelled.recorded`).

    Raises:
        DataError: the folder is missing, its labels are malformed, a name in it may mean a class but is not
            known to, or it holds no labelled picture (in that part).
    """
    LabelledFolder(folder, names).settle()
    found = find([folder], names, record)
    items = [item for item in found.items if part in (None, item.split)]
    if not items:
        where = f" in the {part} part" if part else ""
        raise DataError(
            f"{folder}: no labelled pictures{where}; expected a folder a class, or pictures and labels.csv"
        )
    return items


def summary(items: Sequence[Item]) -> str:
    """How many pictures of each site and kind are on each side of the split, as a small table."""
    counts = Counter((printable(item.site), printable(item.kind), item.split) for item in items)
    rows = sorted({key[:2] for key in counts})
    wide = [max(14, *(len(row[column]) for row in rows)) for column in (0, 1)]
    lines = [f"{'site':{wide[0]}} {'class':{wide[1]}} {'train':>6} {'valid.':>6} {'test':>6}"]
    for site, kind in rows:
        row = [counts[site, kind, side] for side in PARTS]
        lines.append(f"{site:{wide[0]}} {kind:{wide[1]}} {row[0]:6} {row[1]:6} {row[2]:6}")
    return "\n".join(lines)
