"""Small labelled data sets on disk, made from the packaged samples."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from PIL import Image

import edge
from edge.datasets.labelled import Part, part_of

SAMPLES = Path(edge.__file__).parent / "samples"

NEEDED: Mapping[Part, int] = {"train": 8, "validation": 4, "test": 2}
"""Pictures of each class on each side of the split."""


@cache
def samples(site: str) -> dict[str, tuple[Path, ...]]:
    """The packaged pictures of a site by class."""
    found: dict[str, tuple[Path, ...]] = {}
    with (SAMPLES / site / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["class"]] = (*found.get(row["class"], ()), SAMPLES / site / row["filename"])
    return found


def copies(picture: Path) -> Iterator[bytes]:
    """A picture turned by thirty angles: no two look alike, and they fall on every side of the split."""
    return (_turned(picture, turn) for turn in range(30))


@cache
def _turned(picture: Path, turn: int) -> bytes:
    with Image.open(picture) as image:
        pixels = image.convert("RGB")
    file = io.BytesIO()
    turned = pixels.rotate(12 * turn, Image.Resampling.BICUBIC, fillcolor=pixels.getpixel((2, 2)))
    turned.save(file, "JPEG", quality=92)
    return file.getvalue()


def folder_a_class(folder: Path, *sites: str, needed: Mapping[Part, int] = NEEDED) -> Path:
    """Write a data set with a folder a class and as many pictures of each on each side as are needed."""
    for site in sites or ("acevedo", "acevedo_other"):
        for name, pictures in samples(site).items():
            into = folder / name
            into.mkdir(parents=True, exist_ok=True)
            have: Counter[Part] = Counter()
            for number, data in enumerate(_in_turn(pictures)):
                part = part_of(data)
                if have[part] < needed.get(part, 0):
                    have[part] += 1
                    (into / f"{number:03}.jpg").write_bytes(data)
                if have == Counter(needed):
                    break
            assert have == Counter(needed), f"too few copies of {name}: {have}"
    return folder


def _in_turn(pictures: tuple[Path, ...]) -> Iterator[bytes]:
    for turn in range(30):
        for picture in pictures:
            yield _turned(picture, turn)
