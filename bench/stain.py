"""What stain sites show: densities of nuclei and red cells, and how many fields have enough of both to be matched.

    python bench/stain.py FOLDER…

Each FOLDER is a labelled data set. The reference in `edge/vision/stain.py` is the median over Acevedo's
validation part; it is a constant that every bundle with a matched stain depends on, and does not follow the data.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edge.pictures.images import load
from edge.records import Frame
from edge.vision.locate import locate
from edge.vision.stain import stain_map, stains_of
from models.datasets import read


def main(folders: list[Path]) -> None:
    """Print a line a folder."""
    print(
        f"{'site':16} {'fields':>6} {'matched':>8}  nucleus R G B (spread)          red cell R G B (spread)"
    )
    for folder in folders:
        fields = [locate(Frame.of(load(i.path), 0, datetime.now(UTC))) for i in read(folder, "validation")]
        anchors = [found for found in map(stains_of, fields) if found]
        matched = sum(stain_map(field) is not None for field in fields) / len(fields)
        shown = (
            "  ".join(_anchor([np.asarray(a[which]) for a in anchors]) for which in (0, 1))
            if anchors
            else "-"
        )
        print(f"{folder.name:16} {len(fields):6} {matched:8.1%}  {shown}")


def _anchor(vectors: list[np.ndarray]) -> str:
    middle, spread = np.median(vectors, axis=0), np.std(vectors, axis=0)
    return " ".join(f"{m:6.3f}" for m in middle) + "  (" + " ".join(f"{s:.2f}" for s in spread) + ")"


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
