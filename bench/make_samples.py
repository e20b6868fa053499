"""Choose the sample pictures that the package ships: `make_samples.py DATA_FOLDER`.

Repeatable: of the test split (which no model saw), in the order of the files' hashes, the first of each
class whose cell lies whole and free among free red cells. Rewrites the pictures and the labels.csv in
`edge/samples`; the attribution beside them is written by hand.
"""

import csv
import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.pictures.images import load
from edge.records import Image
from edge.sources.sprites import NEUTRAL, background, cut, nuclear

SAMPLES = Path(__file__).parent.parent / "edge" / "samples"
TEST_SPLIT_FROM = 0.85
WARM_WHITE = (254, 228, 202)
ACEVEDO = {"basophil": 6, "eosinophil": 6, "lymphocyte": 6, "monocyte": 6, "neutrophil": 6}
OTHER = {"erythroblast": 4, "ig": 4}
FIELDS = {"eosinophil": 1, "lymphocyte": 2, "monocyte": 1, "neutrophil": 2}


def test_split(folder: Path) -> Iterator[Path]:
    """The files held out from all training, in the order of their hashes."""
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jpg")}
    for path, digest in sorted(hashes.items(), key=lambda item: item[1]):
        if int(digest[:8], 16) / 2**32 >= TEST_SPLIT_FROM:
            yield path


def shows_a_free_cell(image: Image) -> bool:
    """Whether the middle cell can be cut out and is the only one, beside red cells on the usual white."""
    white = background(image)
    cuttings = cut(image)
    if cuttings.white is None or len(cuttings.red) < 3 or np.abs(white - WARM_WHITE).max() > 4:
        return False
    own = np.count_nonzero(nuclear(cuttings.white.light / NEUTRAL))
    return bool(np.count_nonzero(nuclear(image / white)) < 1.2 * own)


def choose(source: Path, folder: str, counts: dict[str, int]) -> None:
    """Copy the first fitting pictures of each class, a folder a class, and write their labels."""
    rows = []
    for kind, count in counts.items():
        fitting = (path for path in test_split(source / folder / kind) if shows_a_free_cell(load(path)))
        rows += [(path, kind) for path, _ in zip(fitting, range(count), strict=False)]
    copy(folder, rows)


def choose_fields(source: Path) -> None:
    """Copy the first fields of each class of white cell."""
    with (source / "bccd" / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = {row["filename"]: row["class"] for row in csv.DictReader(file)}
    left, rows = dict(FIELDS), []
    for path in test_split(source / "bccd" / "images"):
        kind = labels.get(path.name, "")
        if left.get(kind):
            left[kind] -= 1
            rows.append((path, kind))
    copy("bccd", rows)
    shutil.copyfile(source / "bccd" / "LICENSE", SAMPLES / "bccd" / "LICENSE")


def copy(folder: str, rows: list[tuple[Path, str]]) -> None:
    """Put pictures and labels.csv into a folder of samples, in place of what was there."""
    target = SAMPLES / folder
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.jpg"):
        old.unlink()
    with (target / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("filename", "class"))
        for path, kind in rows:
            shutil.copyfile(path, target / path.name)
            table.writerow((path.name, kind))
    print(f"{target}: {len(rows)} pictures, {sum(path.stat().st_size for path, _ in rows) // 1000} kB")


if __name__ == "__main__":
    data = Path(sys.argv[1])
    choose(data, "acevedo", ACEVEDO)
    choose(data, "acevedo_other", OTHER)
    choose_fields(data)
