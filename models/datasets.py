"""Labelled pictures on disk: what is there, which class, and on which side of the split.

A data set is a folder with a folder a class, or a folder of pictures with a `labels.csv` (columns
`filename,class`). Class folders that name none of the five white cells hold cells of *other* kinds: they
train the model to say that it does not know.

The split is a property of the file, not of a run: the first 32 bits of the SHA-256 of its bytes, as a
fraction, fall under 0.70 for training, under 0.85 for validation, else test. Byte-identical duplicates
therefore never straddle it.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import DataError

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""The five white cells of the differential, in the order of every model's outputs."""

OTHER = "other"
"""The label of every kind that is none of the classes."""

Split = Literal["train", "validation", "test"]
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture.

    Attributes:
        path: the file.
        label: one of the classes, or `OTHER`.
        kind: the class or folder name as the data set gives it.
        site: the data set's name, the folder's.
        digest: SHA-256 of the file's bytes, hexadecimal.
    """

    path: Path
    label: str
    kind: str
    site: str
    digest: str

    @property
    def split(self) -> Split:
        """Which side of the split the file is on."""
        return split_of(self.digest)


def split_of(digest: str) -> Split:
    """The side of the split that a file's SHA-256 puts it on."""
    share = int(digest[:8], 16) / 2**32
    return "train" if share < 0.70 else "validation" if share < 0.85 else "test"


def read(folder: Path) -> list[Item]:
    """All labelled pictures of a data set, each byte-identical file once.

    Raises:
        DataError: the folder is missing, holds no labelled picture, or its `labels.csv` is malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    table = folder / "labels.csv"
    pairs = _from_table(folder, table) if table.is_file() else _from_folders(folder)
    seen: dict[str, Item] = {}
    contradicting: set[str] = set()
    for path, kind in pairs:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        label = kind if kind in CLASSES else OTHER
        if digest in seen and seen[digest].label != label:
            contradicting.add(digest)
        seen.setdefault(digest, Item(path, label, kind, folder.name, digest))
    items = [item for digest, item in seen.items() if digest not in contradicting]
    if not items:
        raise DataError(f"{folder}: no labelled pictures; expected a folder a class, or images and labels.csv")
    return items


def _from_folders(folder: Path) -> Iterable[tuple[Path, str]]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in _SUFFIXES:
            yield path, path.parent.name.lower()


def _from_table(folder: Path, table: Path) -> Iterable[tuple[Path, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"filename", "class"} <= set(rows.fieldnames or ()):
            raise DataError(f"{table}: needs the columns filename and class")
        for row in rows:
            candidates = (folder / row["filename"], folder / "images" / row["filename"])
            path = next((p for p in candidates if p.is_file()), None)
            if path is None:
                raise DataError(f"{table}: line {rows.line_num}: no such picture: {row['filename']}")
            yield path, row["class"].strip().lower()


def summary(items: Sequence[Item]) -> str:
    """How many pictures of each site and class are on each side of the split, as a small table."""
    counts = Counter((item.site, item.kind, item.split) for item in items)
    lines = [f"{'site':14} {'class':14} {'train':>6} {'valid.':>6} {'test':>6}"]
    for site, kind in sorted({key[:2] for key in counts}):
        row = [counts[site, kind, side] for side in ("train", "validation", "test")]
        lines.append(f"{site:14} {kind:14} {row[0]:6} {row[1]:6} {row[2]:6}")
    return "\n".join(lines)
