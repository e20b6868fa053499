"""How far look-alikes are from cells that are only similar: `python bench/lookalikes.py --data FOLDER…`.

Prints, for every way to change a picture, how many bits of its hash change and how well its fine detail still
correlates; then, for pictures as they are, the correlation of every pair whose hashes are near, and the best pairs
by name, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from edge.errors import InputError
from edge.pictures.images import decode, load
from edge.records import Image as Pixels
from models import lookalikes
from models.datasets import find
from models.lookalikes import Look, alike, look_at

SAMPLE = 300
SHOWN = 25


def saved(image: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return decode(file.getvalue(), "again")


def resized(image: Pixels, factor: float) -> Pixels:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((round(width * factor), round(height * factor))))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG quality 50": lambda image: saved(image, 50),
    "JPEG quality 20": lambda image: saved(image, 20),
    "half as wide": lambda image: resized(image, 0.5),
    "a third as wide": lambda image: resized(image, 0.33),
    "twice as wide": lambda image: resized(image, 2),
    "a fifth darker": lambda image: (image * 0.8).astype(np.uint8),
    "shifted by 10 and 6 pixels": lambda image: np.roll(image, (10, -6), (0, 1)),
    "2 % cut off each side": lambda image: image[
        tuple(slice(n // 50, n - n // 50) for n in image.shape[:2])
    ].copy(),
    "turned by 5°": lambda image: np.asarray(Image.fromarray(image).rotate(5, Image.Resampling.BICUBIC)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    items = find(parser.parse_args().data).items
    print(
        f"{len(items):,} pictures\n\n| change | bits that differ: median, most | correlation: least, median | found |"
    )
    print("| --- | --- | --- | --- |")
    draw = np.random.default_rng(1)
    sample = [load(items[n].path) for n in draw.choice(len(items), min(SAMPLE, len(items)), replace=False)]
    before = [Look.of(image) for image in sample]
    for name, change in CHANGES.items():
        after = [Look.of(np.ascontiguousarray(change(image))) for image in sample]
        bits = [int((a.bits != b.bits).sum()) for a, b in zip(before, after, strict=True)]
        like = [lookalikes.correlation_of(a.detail, b.detail) for a, b in zip(before, after, strict=True)]
        found = np.mean([alike([a, b])[0] != [] for a, b in zip(before, after, strict=True)])
        print(
            f"| {name} | {np.median(bits):.0f}, {max(bits)} | {min(like):.3f}, {np.median(like):.3f} | {found:.1%} |"
        )

    began = time.monotonic()
    looks = [look for look in look_at((item.path for item in items), 2) if not isinstance(look, InputError)]
    decoded = time.monotonic()
    alike(looks)
    print(f"\ndecoding {decoded - began:.0f} s, comparing {time.monotonic() - decoded:.1f} s")
    signs = np.array([look.bits for look in looks], np.float32) * 2 - 1
    bits_of = (lookalikes.BITS - signs @ signs.T) / 2
    rows, columns = np.nonzero(np.triu(bits_of <= lookalikes.NEAR, 1))
    pairs = sorted(
        (
            (lookalikes.correlation_of(looks[a].detail, looks[b].detail), a, b)
            for a, b in zip(rows, columns, strict=True)
        ),
        reverse=True,
    )
    counts = np.histogram([pair[0] for pair in pairs], np.arange(-0.5, 1.05, 0.1).round(1))
    print(
        "pairs with near hashes, by correlation: "
        + ", ".join(f"{c:.1f}: {n}" for n, c in zip(*counts, strict=False))
    )
    for like, a, b in pairs[:SHOWN]:
        print(
            f"{like:.3f} {bits_of[a, b]:2.0f} {items[a].site}/{items[a].path.name} {items[b].site}/{items[b].path.name}"
        )


if __name__ == "__main__":
    main()
