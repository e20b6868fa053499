"""How well white cells are found and the red cells measured, against what people annotated.

    python bench/locate.py --data FOLDER [--output DIR]

FOLDER holds `bccd` (images, and annotations in Pascal VOC XML) and `txl_pbc` (images, and labels in YOLO text:
0 white cell, 1 red cell). A white cell is found where a box of ours overlaps its box by at least 0.3
(intersection over union), one box for one cell, the best pairs first. The ruler is compared in fields whose
scale came from red cells and in which at least three annotated red cells lie whole.

Figures go to the terminal, and to DIR as `locate.json`; DIR also gets `locate-failures.jpg`, a sheet of every
field with a missed cell or a false find: annotated white cells green, found ones blue.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from edge.pictures.images import decode
from edge.records import Box, Frame, Image, ScaleSource
from edge.vision.locate import locate
from edge.vision.scale import RED_CELL_UM

OVERLAP = 0.3
BORDER_PX = 3  # annotated boxes of cut cells end up to this far from the border
LEAST_RED_CELLS = 3
TILE_PX, COLUMNS, CAPTION_PX = 180, 8, 15
GREEN, BLUE = (0, 190, 0), (30, 60, 255)


@dataclass(frozen=True)
class Annotated:
    """A picture and where people saw its white and red cells."""

    path: Path
    image: Image
    white: tuple[Box, ...]
    red: tuple[Box, ...]
    decode_ms: float


@dataclass(frozen=True)
class Reading:
    """One picture as it was read. `ruler` is our red cells' width over the annotated one, where both are known."""

    file: str
    missed: tuple[Box, ...]
    false: tuple[Box, ...]
    found: int
    ruler: float | None
    decode_ms: float
    locate_ms: float


def pictures(folder: Path, pattern: str) -> Iterator[tuple[Path, Image, float]]:
    """Path, pixels and milliseconds of processor time to decode each picture, in name order."""
    for path in sorted((folder / "images").glob(pattern)):
        data = path.read_bytes()
        began = time.thread_time()
        image = decode(data, str(path))
        yield path, image, 1e3 * (time.thread_time() - began)


def bccd(folder: Path) -> Iterator[Annotated]:
    """Pictures with Pascal VOC annotations: corners in pixels."""
    for path, image, ms in pictures(folder, "*.jpg"):
        cells: dict[str, list[Box]] = {"WBC": [], "RBC": [], "Platelets": []}
        root = ElementTree.parse(folder / "annotations" / f"{path.stem}.xml").getroot()
        for cell in root.iter("object"):
            left, top, right, bottom = (
                int(cell.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            cells[cell.findtext("name", "")].append(Box(left, top, right - left, bottom - top))
        yield Annotated(path, image, tuple(cells["WBC"]), tuple(cells["RBC"]), ms)


def txl_pbc(folder: Path, pattern: str) -> Iterator[Annotated]:
    """Pictures with YOLO labels: class, centre, width and height relative to the picture."""
    for path, image, ms in pictures(folder, pattern):
        cells: dict[str, list[Box]] = {"0": [], "1": [], "2": []}
        size = np.array([image.shape[1], image.shape[0]])
        for line in (folder / "labels" / f"{path.stem}.txt").read_text().splitlines():
            kind, *place = line.split()
            centre, extent = np.array(place, float).reshape(2, 2) * size
            cells[kind].append(
                Box(*np.round(np.concatenate([centre - extent / 2, extent])).astype(int).tolist())
            )
        yield Annotated(path, image, tuple(cells["0"]), tuple(cells["1"]), ms)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (a.width * a.height + b.width * b.height - both)


def unmatched(found: Sequence[Box], truth: Sequence[Box]) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """The annotated boxes that nothing found, and the found ones that nobody annotated."""
    pairs = sorted(
        ((overlap(f, t), i, j) for i, f in enumerate(found) for j, t in enumerate(truth)), reverse=True
    )
    taken, met = set[int](), set[int]()
    for share, i, j in pairs:
        if share >= OVERLAP and i not in taken and j not in met:
            taken.add(i)
            met.add(j)
    missed = tuple(t for j, t in enumerate(truth) if j not in met)
    return missed, tuple(f for i, f in enumerate(found) if i not in taken)


def red_width(red: Iterable[Box], width: int, height: int) -> float | None:
    """The median width of the annotated red cells that lie whole in the picture, in pixels."""
    whole = [
        (box.width + box.height) / 2
        for box in red
        if min(box.left, box.top, width - box.left - box.width, height - box.top - box.height) > BORDER_PX
    ]
    return statistics.median(whole) if len(whole) >= LEAST_RED_CELLS else None


def read(picture: Annotated) -> tuple[Reading, tuple[Box, ...]]:
    """Locate the white cells of one picture and compare; also the boxes found."""
    frame = Frame.of(picture.image, 0, datetime.now(UTC), picture.path.name)
    began = time.thread_time()
    field = locate(frame, view="field")
    spent = 1e3 * (time.thread_time() - began)
    height, width = picture.image.shape[:2]
    annotated = red_width(picture.red, width, height)
    ruler = None
    if annotated and field.scale and field.scale.source is ScaleSource.RED_CELLS:
        ruler = RED_CELL_UM / field.scale.um_per_pixel / annotated
    missed, false = unmatched(field.boxes, picture.white)
    name = picture.path.name
    return Reading(name, missed, false, len(field.boxes), ruler, picture.decode_ms, spent), field.boxes


def tile(picture: Annotated, reading: Reading, found: Iterable[Box]) -> Image:
    """A failed picture with both kinds of boxes, its name and what failed."""
    image = picture.image.copy()
    line = max(2, image.shape[1] // 110)
    for boxes, colour in ((picture.white, GREEN), (found, BLUE)):
        for box in boxes:
            corner = box.left + box.width, box.top + box.height
            cv2.rectangle(image, (box.left, box.top), corner, colour, line)
    scale = TILE_PX / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    framed = np.full((TILE_PX + CAPTION_PX, TILE_PX + 4, 3), 255, np.uint8)
    framed[CAPTION_PX : CAPTION_PX + small.shape[0], : small.shape[1]] = small
    what = [f"-{len(reading.missed)}"] * bool(reading.missed) + [f"+{len(reading.false)}"] * bool(
        reading.false
    )
    caption = f"{picture.path.stem} {' '.join(what)}"
    cv2.putText(framed, caption, (2, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def sheet(tiles: Sequence[Image]) -> Image:
    """All tiles on one picture, row by row."""
    blank = np.full_like(tiles[0], 255)
    padded = [*tiles, *[blank] * (-len(tiles) % COLUMNS)]
    rows = [np.hstack(padded[i : i + COLUMNS]) for i in range(0, len(padded), COLUMNS)]
    return np.vstack(rows)


def summary(readings: Sequence[Reading]) -> dict[str, Any]:
    """The figures of one source."""
    missed, false = (sum(len(getattr(r, kind)) for r in readings) for kind in ("missed", "false"))
    cells = sum(r.found for r in readings) - false + missed
    ruler = np.array([r.ruler for r in readings if r.ruler is not None])
    return {
        "fields": len(readings),
        "white_cells": cells,
        "found": cells - missed,
        "found_share": (cells - missed) / cells,
        "missed": missed,
        "false": false,
        "false_per_100_fields": 100 * false / len(readings),
        "ruler_fields": len(ruler),
        "ruler_median": float(np.median(ruler)),
        "ruler_within_10_percent": float(np.mean(np.abs(ruler - 1) <= 0.1)),
        "ruler_within_20_percent": float(np.mean(np.abs(ruler - 1) <= 0.2)),
        "decode_ms": statistics.median(r.decode_ms for r in readings),
        "locate_ms": statistics.median(r.locate_ms for r in readings),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with bccd and txl_pbc")
    parser.add_argument("--output", type=Path, help="a folder for locate.json and locate-failures.jpg")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # a frame a thread is how the program reads; and the figures are those of one core

    sources = {
        "bccd": bccd(options.data / "bccd"),
        "raabin": txl_pbc(options.data / "txl_pbc", "raabin_*"),
        "bcd": txl_pbc(options.data / "txl_pbc", "bcd_*"),
    }
    figures: dict[str, dict[str, Any]] = {}
    failures: dict[str, list[dict[str, Any]]] = {}
    tiles = []
    for name, annotated in sources.items():
        readings = []
        for picture in annotated:
            reading, found = read(picture)
            readings.append(reading)
            if reading.missed or reading.false:
                tiles.append(tile(picture, reading, found))
        if not readings:
            raise SystemExit(f"no pictures of {name} in {options.data}")
        figures[name] = summary(readings)
        failures[name] = [asdict(r) for r in readings if r.missed or r.false]
    print(f"{'':<24}" + "".join(f"{name:>10}" for name in figures))
    for row in figures["bccd"]:
        values = (figures[name][row] for name in figures)
        print(f"{row:<24}" + "".join(f"{v:10d}" if isinstance(v, int) else f"{v:10.3f}" for v in values))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        record = {"overlap": OVERLAP, "figures": figures, "failures": failures}
        (options.output / "locate.json").write_text(json.dumps(record, indent=1) + "\n")
        if tiles:
            drawn = cv2.cvtColor(sheet(tiles), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(options.output / "locate-failures.jpg"), drawn, [cv2.IMWRITE_JPEG_QUALITY, 60])


if __name__ == "__main__":
    main()
