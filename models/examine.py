"""What there is to say of some data sets before anything is trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from edge.datasets.labelled import PARTS
from edge.datasets.taxonomy import CLASSES, IGNORE, OTHER, Names
from edge.errors import DataError, InputError
from edge.pictures.parallel import cores
from models.datasets import Found, Item, find
from models.lookalikes import Look, Pair, alike, look_at
from models.split import By, split
from models.windows import inside

MANY: Final = 5
"""Times as many pictures of one class as of another from which the classes count as out of balance."""

FEW: Final = 100
"""Pictures of a class below which a model hardly learns it, and no figure of it says much."""

STEPS: Final = 3

SMALL_PX: Final = 64
"""Shorter side below which a picture shows less than the smallest model takes."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence that says what was seen and what to do: `bad` spoils a training, `open` is to be known."""

    tone: Literal["bad", "open", "good"]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """Some data sets, looked at.

    Attributes:
        found: what was found on disk; its `items` are those that can be decoded.
        items: the same items, each on its side of the split.
        sizes: height and width of each item's picture, in pixels.
        groups: look-alikes, by number in `items`.
        pairs: the pairs that connect them.
        by: the way the split was made.
    """

    found: Found
    items: tuple[Item, ...]
    sizes: tuple[tuple[int, int], ...]
    groups: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]
    by: By

    @property
    def moved(self) -> list[int]:
        """Those whose side is another than their bytes or group would give them."""
        return [
            n for n, (item, own) in enumerate(zip(self.items, self.found.items, strict=True)) if item != own
        ]

    @property
    def conflicts(self) -> list[tuple[int, ...]]:
        """Groups of look-alikes that stand under two classes."""
        return [group for group in self.groups if len({self.items[n].label for n in group}) > 1]

    @property
    def absent(self) -> list[str]:
        """Classes of the differential of which there is no picture."""
        return [name for name in CLASSES if all(item.label != name for item in self.items)]


def examine(
    folders: Sequence[Path],
    names: Names | None = None,
    by: By = "hash",
    step: Callable[[], None] | None = None,
) -> Examined:
    """Find, decode, compare and split the pictures of some data sets.

    Args:
        folders: see `edge.datasets.labelled.LabelledFolder`.
        names: how names of classes are to be understood.
        by: the way to split, see `models.split`.
        step: called `STEPS` times for each picture: when it was found, decoded and compared.

    Raises:
        DataError: a folder is missing or malformed, or holds no labelled picture.
    """
    found = find(folders, names, step=step)
    files = list({item.digest: item.path for item in found.items}.items())
    looks: dict[str, Look] = {}
    unreadable = list(found.unreadable)
    for (digest, path), look in zip(files, look_at((path for _, path in files), cores()), strict=True):
        if step:
            step()
        if isinstance(look, InputError):
            unreadable.append((str(path), str(look)))
        else:
            looks[digest] = look
    items = []
    for item in found.items:
        seen = looks.get(item.digest)
        if seen is not None and item.box and not inside(item.box, seen.height, seen.width):
            unreadable.append((str(item.path), f"{item.path}: a labelled box is outside of the picture"))
        elif seen is not None:
            items.append(item)
    if not items:
        raise DataError(
            f"{', '.join(map(str, folders))}: no labelled pictures; expected a folder a class, pictures and a CSV "
            f"of labels, or fields and Pascal VOC's XML{_why(found, unreadable)}"
        )
    found = replace(found, items=tuple(items), unreadable=tuple(unreadable))
    numbers = list(looks)
    place = {digest: number for number, digest in enumerate(numbers)}
    of_file: dict[int, list[int]] = {}
    for number, item in enumerate(items):
        of_file.setdefault(place[item.digest], []).append(number)
    alike_files, pairs = alike([looks[digest] for digest in numbers], step)
    groups = tuple(tuple(sorted(n for file in group for n in of_file[file])) for group in alike_files)
    return Examined(
        found,
        tuple(split(items, groups, by)),
        tuple((looks[item.digest].height, looks[item.digest].width) for item in items),
        groups,
        tuple(Pair(of_file[p.first][0], of_file[p.second][0], p.correlation) for p in pairs),
        by,
    )


def _why(found: Found, unreadable: Sequence[tuple[str, str]]) -> str:
    if unreadable:
        return f" ({_some([why for _, why in unreadable], 1)})"
    unlabelled = sum(found.unlabelled.values())
    return f" ({_are(unlabelled, 'picture')} without a class)" if unlabelled else ""


def remarks(seen: Examined) -> list[Remark]:
    """What a person should know or do, worst first."""
    bad = [Remark("bad", text) for text in (*_misread(seen.found), *_lacking(seen))]
    known_of = [Remark("open", text) for text in (*_repeated(seen), *_uneven(seen), *_unsaid(seen))]
    return [*bad, *known_of] or [Remark("good", "Nothing to remark.")]


def _misread(found: Found) -> Iterable[str]:
    for site, doubts in found.doubts.items():
        for name, meant in doubts.items():
            yield (
                f"{site}: is {name} a {meant}? Nothing is trained before you say --map '{name}={meant}', "
                f"or ={OTHER} for another kind, or ={IGNORE} to leave it out."
            )
    if found.unreadable:
        yield (
            f"{_count(len(found.unreadable), 'file')} cannot be read, and left out: "
            f"{_some([name for name, _ in found.unreadable])}."
        )
    if found.contradictions:
        names = [str(item.path) for same in found.contradictions for item in same]
        yield (
            f"{_are(len(found.contradictions), 'file')} under two classes and left out, as nobody knows "
            f"which is right: {_some(names)}."
        )


def _lacking(seen: Examined) -> Iterable[str]:
    if len(seen.absent) == len(CLASSES):
        yield "No picture of any of the five classes: nothing can be trained on this alone."
        return
    for name in seen.absent:
        yield f"No {name}: a model that is trained on this cannot name it, and will flag it or call it something else."
    sides = Counter((item.label, item.split) for item in seen.items)
    for name in CLASSES:
        empty = [side for side in PARTS if not sides[name, side]]
        if name not in seen.absent and empty:
            how = (
                "add pictures" if seen.by == "class" else "split by class (--split-by class), or add pictures"
            )
            yield f"No {name} in the {' and the '.join(empty)} part: {how}."


def _repeated(seen: Examined) -> Iterable[str]:
    if seen.found.copies:
        yield (
            f"{_are(len(seen.found.copies), 'file')} byte for byte a copy of another and counted once: "
            f"{_some([str(path) for path, _ in seen.found.copies])}."
        )
    if seen.groups:
        more = sum(map(len, seen.groups)) - len(seen.groups)
        yield (
            f"{_are(more, 'picture')} the like of another one: saved again, resized, or the next shot of the same "
            f"cell. Look-alikes are kept on one side, for which {len(seen.moved) if seen.by == 'hash' else 'some'} "
            "left the side of their hash."
        )
    if seen.conflicts:
        names = [str(seen.items[n].path) for group in seen.conflicts for n in group]
        yield (
            f"{_are(len(seen.conflicts), 'group')} of look-alikes under two classes: {_some(names)}. "
            "Look at them, and take out what is wrong."
        )


def _uneven(seen: Examined) -> Iterable[str]:
    counts = Counter(item.label for item in seen.items if item.label != OTHER)
    if not counts:
        return
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many >= MANY * few:
        yield (
            f"Out of balance: {many / few:.0f} times as many of {most} as of {least}. Training weighs rare classes "
            "more, yet more pictures of them help better."
        )
    rare = [f"{name} {counts[name]:,}" for name in CLASSES if 0 < counts[name] < FEW]
    if rare:
        yield f"Under {FEW} pictures of a class ({', '.join(rare)}): figures for it will have wide limits."
    small = sum(min(size) < SMALL_PX for size in seen.sizes)
    if small:
        yield f"{_are(small, 'picture')} under {SMALL_PX} pixels wide or high: too few to tell chromatin by."


def _unsaid(seen: Examined) -> Iterable[str]:
    for site, names in seen.found.unknown.items():
        yield (
            f"{site}: {_some(names)} is no name that is known here, and counts as a kind of its own that is none "
            "of the five; --map NAME=CLASS says otherwise."
        )
    for site, count in seen.found.unlabelled.items():
        yield f"{site}: {_are(count, 'picture')} without a class and left out."
    if all(item.label != OTHER for item in seen.items):
        yield (
            "No cells of other kinds (immature granulocytes, erythroblasts, platelets): a model that has never "
            "seen any will be surer of them than it should."
        )
    if len({item.site for item in seen.items}) == 1:
        yield "One site only: figures from it say nothing about another microscope."
    if all(item.group is None for item in seen.items):
        yield (
            "No patient or slide is named (columns patient, slide or group of a CSV): test figures will hold for "
            "more cells of the same patients."
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _are(number: int, what: str) -> str:
    return f"{_count(number, what)} {'is' if number == 1 else 'are'}"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
