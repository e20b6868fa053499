"""The table of architectures in docs/models.md: `python bench/architectures.py BUNDLE…`.

Figures come from the manifests, which `leukoscope convert` wrote, view `auto`; times are the model's alone, one
thread, taken in turns within one run, as multiples of the fastest: a loaded machine slows them all.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge.inference.bundle import Bundle

ROUNDS, CALLS = 30, 5


def times(bundles: list[Bundle]) -> list[float]:
    """The median milliseconds of one invocation of each, taken in turns."""
    interpreters = [bundle.interpreter() for bundle in bundles]
    random = np.random.default_rng(0)
    crops = [
        random.integers(0, 256, (b.manifest.input_size, b.manifest.input_size, 3), np.uint8) for b in bundles
    ]
    taken: list[list[float]] = [[] for _ in bundles]
    for _ in range(ROUNDS):
        for interpreter, crop, one in zip(interpreters, crops, taken, strict=True):
            interpreter.invoke(crop)
            began = time.perf_counter()
            for _ in range(CALLS):
                interpreter.invoke(crop)
            one.append(1e3 * (time.perf_counter() - began) / CALLS)
    return [statistics.median(one) for one in taken]


def _figures(measured: list[dict[str, Any]], site: str) -> str:
    row = next((m for m in measured if m["site"] == site and m["view"] == "auto"), None)
    if row is None:
        return "–"
    if not row["cells"]:
        return f"{row['others_flagged']:.1f}"
    return f"{row['right']:.1f} / {row['accepted']:.1f} / {row['accepted_wrong']:.2f}"


def main(folders: list[Path]) -> None:
    """Print a row a bundle; of each site right / accepted / accepted and wrong, of other kinds the share flagged."""
    bundles = [Bundle.load(folder) for folder in folders]
    took = times(bundles)
    sites = ("acevedo", "acevedo_other", "bccd", "tecom")
    print("| architecture | input | MB | time | " + " | ".join(sites) + " |")
    print("| --- | ---: | ---: | ---: |" + " ---: |" * len(sites))
    for bundle, ms in zip(bundles, took, strict=True):
        record = bundle.manifest.record
        cells = " | ".join(_figures(record["measured"], site) for site in sites)
        print(
            f"| `{bundle.name}` | {bundle.manifest.input_size} | {record['bytes'] / 1e6:.2f} | "
            f"{ms / min(took):.1f} | {cells} |"
        )
    print(f"\nThe fastest takes {min(took):.2f} ms here.")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
