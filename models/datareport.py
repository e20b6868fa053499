"""What was seen in some data sets, as text, as JSON, and as a page with the pictures that people should look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from edge.datasets.labelled import PARTS
from edge.datasets.taxonomy import CLASSES, among
from edge.errors import InputError
from edge.pictures.images import load
from edge.records import Image
from edge.report.document import Block, Document, Gallery, Heading, Paragraph, Picture, Table, Tone
from edge.text import printable
from models.datasets import Item, summary
from models.examine import Examined, remarks

SCHEMA: Final = "leukoscope.data/1"

_MOST_GROUPS: Final = 100  # groups of look-alikes on the page
_MOST_ALIKE: Final = 8  # pictures of one group
_MOST_FILES: Final = 20  # names in a list of the text; all are in the JSON and on the page
_THUMB_PX: Final = 128

_WAYS: Final = {
    "hash": "by the SHA-256 of each file, or of its patient's or slide's name",
    "class": "at its exact shares within each class, in the order of the SHA-256",
    "folders": "as the data sets' own folders say",
}


def brief(seen: Examined) -> str:
    """The counts and the remarks, for the beginning of a training."""
    return f"{summary(seen.items)}\n{_remarks(seen)}"


def text(seen: Examined) -> str:
    """Everything, for a terminal."""
    cells = "labelled cell" if len(seen.items) == 1 else "labelled cells"
    parts = [f"{len(seen.items):,} {cells}, split {_WAYS[seen.by]}.\n", summary(seen.items) + "\n"]
    parts.append(
        "size in pixels, width × height\n" + "".join(f"  {printable(line)}\n" for line in _sizes(seen))
    )
    read_as = [
        printable(f"  {site}: {name} → {kind}{of} ({count:,})") + "\n"
        for site, name, kind, of, count in _names(seen)
    ]
    if read_as:
        parts.append("names that stand for another\n" + "".join(read_as))
    for title, names in _lists(seen):
        shown = "".join(f"  {printable(name)}\n" for name in names[:_MOST_FILES])
        more = f"  … and {len(names) - _MOST_FILES:,} more\n" if len(names) > _MOST_FILES else ""
        parts.append(f"{title}\n{shown}{more}")
    return "\n".join([*parts, _remarks(seen)])


def _remarks(seen: Examined) -> str:
    marks = {"bad": "!", "open": "·", "good": "✓"}
    return "".join(f"{marks[r.tone]} {printable(r.text)}\n" for r in remarks(seen))


def record(seen: Examined, folders: Sequence[Path]) -> dict[str, Any]:
    """Everything, for a program."""
    counts = Counter((i.site, i.label, i.kind, i.split) for i in seen.items)
    sizes = Counter((i.site, size) for i, size in zip(seen.items, seen.sizes, strict=True))
    found = seen.found
    return {
        "schema": SCHEMA,
        "folders": [str(folder) for folder in folders],
        "split_by": seen.by,
        "cells": len(seen.items),
        "counts": [
            {"site": site, "class": label, "kind": kind, "split": side, "cells": count}
            for (site, label, kind, side), count in sorted(counts.items())
        ],
        "sizes": [
            {"site": site, "width": width, "height": height, "cells": count}
            for (site, (height, width)), count in sorted(sizes.items())
        ],
        "names": [
            {"site": site, "written": name, "kind": kind, "cells": count}
            for site, names in found.names.items()
            for (name, kind), count in sorted(names.items(), key=lambda each: each[0][0])
        ],
        "unreadable": [{"file": name, "why": why} for name, why in found.unreadable],
        "unlabelled": dict(found.unlabelled),
        "copies": [{"file": str(path), "of": str(item.path)} for path, item in found.copies],
        "contradictions": [
            [{"file": str(i.path), "class": i.kind} for i in same] for same in found.contradictions
        ],
        "look_alikes": [
            [
                {"file": str(seen.items[n].path), "class": seen.items[n].kind, "split": seen.items[n].split,
                 "by_hash": found.items[n].split}
                for n in group
            ]
            for group in seen.groups
        ],
        "remarks": [{"tone": r.tone, "text": r.text} for r in remarks(seen)],
    }  # fmt: skip


def document(seen: Examined, folders: Sequence[Path], made_at: datetime) -> Document:
    """Everything, as a page, with the pictures that should be looked at."""
    tones: dict[str, Tone] = {"bad": "bad", "open": "open", "good": "good"}
    blocks: list[Block] = [Paragraph(r.text, tones[r.tone]) for r in remarks(seen)]
    blocks += [Heading("Cells by site, class and side"), _counts(seen)]
    blocks += [Paragraph(f"Split {_WAYS[seen.by]}; patients, slides and look-alikes are never on two sides.")]
    blocks += [Heading("Sizes in pixels, width × height"), *(Paragraph(line) for line in _sizes(seen))]
    rows = tuple((site, name, kind + of, f"{count:,}") for site, name, kind, of, count in _names(seen))
    if rows:
        blocks += [
            Heading("Names that stand for another"),
            Table(("site", "written", "is", "cells"), rows, "lllr"),
        ]
    conflicts = seen.conflicts
    for title, groups in (
        ("Look-alikes under two classes", conflicts),
        ("Look-alikes of one class", [group for group in seen.groups if group not in conflicts]),
    ):
        if groups:
            blocks.append(Heading(f"{title}: {len(groups):,}"))
            blocks += [_gallery(seen, group) for group in groups[:_MOST_GROUPS]]
    if seen.found.contradictions:
        blocks.append(Heading("Files under two classes, left out"))
        blocks += [
            Gallery(tuple(_picture(i, "bad", i.kind) for i in same))
            for same in seen.found.contradictions[:_MOST_GROUPS]
        ]
    for title, names in _lists(seen):
        blocks += [Heading(f"{title}: {len(names):,}"), *(Paragraph(name) for name in names)]
    return Document("Data report", ", ".join(map(str, folders)), made_at, tuple(blocks))


def _counts(seen: Examined) -> Table:
    counts = Counter((i.site, i.kind, i.split) for i in seen.items)
    kinds = sorted({key[:2] for key in counts})
    sides = [[counts[site, kind, side] for side in PARTS] for site, kind in kinds]
    most = max(map(sum, sides))
    rows = [(*key, *map("{:,}".format, (*row, sum(row)))) for key, row in zip(kinds, sides, strict=True)]
    shades = tuple((0.0,) * 5 + (sum(row) / most,) for row in sides)
    return Table(("site", "kind", *PARTS, "all"), tuple(rows), "llrrrr", shades=shades)


def _sizes(seen: Examined) -> list[str]:
    """For each site the commonest sizes, and how many have each."""
    by_site: dict[str, Counter[tuple[int, int]]] = {}
    for item, size in zip(seen.items, seen.sizes, strict=True):
        by_site.setdefault(item.site, Counter())[size] += 1
    lines = []
    for site, sizes in sorted(by_site.items()):
        common = ", ".join(
            f"{width} × {height} ({count:,})" for (height, width), count in sizes.most_common(3)
        )
        rest = f" and {len(sizes) - 3:,} others" if len(sizes) > 3 else ""
        lines.append(f"{site}: {common}{rest}")
    return lines


def _names(seen: Examined) -> list[tuple[str, str, str, str, int]]:
    """Site, name as written, kind, the class that it counts as where that differs, cells."""
    rows = []
    for site, names in seen.found.names.items():
        for (name, kind), count in sorted(names.items(), key=lambda each: each[0][0]):
            counted = among(kind, CLASSES) if kind else None
            of = f", counted as {counted}" if counted not in (None, kind) else ""
            if of or name.strip().lower() != kind:
                rows.append((site, name, kind or "left out", of, count))
    return rows


def _lists(seen: Examined) -> list[tuple[str, list[str]]]:
    """Lists of files that somebody may have to do something about, those that are not empty."""
    found = seen.found
    lists = [
        ("cannot be read", [why for _, why in found.unreadable]),
        (
            "under two classes, left out",
            [", ".join(f"{i.path} ({i.kind})" for i in same) for same in found.contradictions],
        ),
        ("copies, counted once", [f"{path} = {item.path}" for path, item in found.copies]),
        ("look-alikes", [" ~ ".join(_told(seen, n) for n in group) for group in seen.groups]),
    ]
    return [(title, names) for title, names in lists if names]


def _told(seen: Examined, number: int) -> str:
    item, own = seen.items[number], seen.found.items[number]
    side = item.split if item.split == own.split else f"{own.split} → {item.split}"
    return f"{item.path} ({item.kind}, {side})"


def _gallery(seen: Examined, group: Sequence[int]) -> Gallery:
    classes = {seen.items[n].label for n in group}
    tone: Tone = "bad" if len(classes) > 1 else "plain"
    return Gallery(
        tuple(
            _picture(seen.items[n], tone, seen.items[n].kind, _told(seen, n).rpartition(", ")[2].rstrip(")"))
            for n in group[:_MOST_ALIKE]
        )
    )


def _picture(item: Item, tone: Tone, *words: str) -> Picture:
    try:
        thumb = _thumb(load(item.path), item)
    except InputError:  # gone since it was examined
        thumb = None
    return Picture(thumb, (f"{item.site}/{item.path.name}", *words), tone)


def _thumb(image: Image, item: Item) -> bytes:
    if item.box is not None:
        left, top, width, height = item.box
        cut = image[top : top + height, left : left + width]
        image = cut if cut.size else image
    factor = _THUMB_PX / max(image.shape[:2])
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    jpeg: np.ndarray[Any, np.dtype[np.uint8]] = cv2.imencode(".jpg", small[..., ::-1])[1]
    return jpeg.tobytes()
