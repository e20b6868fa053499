"""Labelled pictures on disk: what is there, which class, and on which side of the split.

A data set is a folder with a folder a class, or a folder of pictures with a `labels.csv` (columns
`filename,class`). Class folders that name none of the five white cells hold cells of *other* kinds: they
train the model to say that it does not know.

The split is a property of the file's bytes, not of a run (`edge.labelled.part_of`): byte-identical
duplicates never straddle it, and every command means the same cells by `test`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DataError, InputError
from edge.labelled import LabelledFolder, Part, part_of

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""The five white cells of the differential, in the order of every model's outputs."""

OTHER = "other"
"""The label of every kind that is none of the classes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture.

    Attributes:
        path: the file.
        label: one of the classes, or `OTHER`.
        kind: the class or folder name as the data set gives it.
        site: the data set's name, the folder's.
        digest: SHA-256 of the file's bytes, hexadecimal.
        split: which side of the split the file is on.
    """

    path: Path
    label: str
    kind: str
    site: str
    digest: str
    split: Part


def read(folder: Path, part: Part | None = None) -> list[Item]:
    """The labelled pictures of a data set, each byte-identical file once.

    A picture that stands under two classes is left out: nobody knows which is right.

    Args:
        folder: see `edge.labelled.LabelledFolder`.
        part: only those on one side of the split; None for all.

    Raises:
        DataError: the folder is missing, holds no labelled picture (in that part), or its `labels.csv` is malformed.
    """
    source = LabelledFolder(folder)
    seen: dict[str, Item] = {}
    contradicting: set[str] = set()
    for picture in source.pictures(part):
        kind = source.label(picture.name)
        if kind is None or isinstance(picture.content, InputError):
            continue
        data = picture.data()
        digest = hashlib.sha256(data).hexdigest()
        label = kind if kind in CLASSES else OTHER
        if digest in seen and seen[digest].label != label:
            contradicting.add(digest)
        seen.setdefault(digest, Item(Path(picture.name), label, kind, folder.name, digest, part_of(data)))
    items = [item for digest, item in seen.items() if digest not in contradicting]
    if not items:
        where = f" in the {part} part" if part else ""
        raise DataError(
            f"{folder}: no labelled pictures{where}; expected a folder a class, or pictures and labels.csv"
        )
    return items


def summary(items: Sequence[Item]) -> str:
    """How many pictures of each site and class are on each side of the split, as a small table."""
    counts = Counter((item.site, item.kind, item.split) for item in items)
    lines = [f"{'site':14} {'class':14} {'train':>6} {'valid.':>6} {'test':>6}"]
    for site, kind in sorted({key[:2] for key in counts}):
        row = [counts[site, kind, side] for side in ("train", "validation", "test")]
        lines.append(f"{site:14} {kind:14} {row[0]:6} {row[1]:6} {row[2]:6}")
    return "\n".join(lines)
