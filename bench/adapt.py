"""What `leukoscope adapt` gains on a site, over random choices of the cells that it learns from.

    python bench/adapt.py [--model NAME|DIR] [--draws 10] [--cells 20] FOLDER...

Of each class twenty cells are drawn, or half of them where the site has fewer than forty; all other cells of the
folder are the test. Other kinds are divided likewise. Everything is fitted on the drawn cells alone, as the command
does it. Printed are means and standard deviations over the draws, in percent of the test cells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edge.adaptation.cells import SiteCell, read_cells
from edge.adaptation.fit import Plan, adapt, outcome
from edge.datasets.labelled import LabelledFolder
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.statistics.evaluation import Evaluation, evaluate


def draw(cells: tuple[SiteCell, ...], count: int, seed: int) -> tuple[list[SiteCell], list[SiteCell]]:
    """Cells to learn from, and the rest."""
    random = np.random.default_rng(seed)
    chosen: set[int] = set()
    for kind in sorted({cell.kind for cell in cells}):
        places = random.permutation([n for n, cell in enumerate(cells) if cell.kind == kind])
        chosen.update(places[: min(count, (len(places) + 1) // 2)].tolist())
    return [cells[n] for n in sorted(chosen)], [c for n, c in enumerate(cells) if n not in chosen]


def figures(found: Evaluation) -> list[float]:
    """Right, accepted, accepted and wrong, other kinds flagged, in percent; expected calibration error."""
    others = [rate.count for rate in found.other_kinds.values()]
    total = sum(rate.total for rate in found.other_kinds.values())
    rates = (found.accuracy, found.accepted, found.accepted_and_wrong)
    flagged = 100 * sum(others) / total if total else float("nan")
    return [*(100 * rate.count / rate.total for rate in rates), flagged, 100 * (found.ece or 0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("folders", nargs="+", type=Path)
    asked = parser.parse_args()
    bundle = Bundle.load(asked.model)
    parent = bundle.manifest
    names = ("right", "accepted", "accepted and wrong", "other kinds flagged", "calibration error")
    for folder in asked.folders:
        found = read_cells(LabelledFolder(folder), bundle, folds=5, most=10**9)
        before, after, learned = [], [], 0
        for seed in range(asked.draws):
            training, test = draw(found.cells, asked.cells, seed)
            learned = len(training)
            fitted = adapt(parent, training, folder.resolve().name, Plan()).within(parent)
            before.append(figures(evaluate([outcome(parent, c) for c in test], parent.classes)))
            after.append(figures(evaluate([outcome(fitted, c) for c in test], parent.classes)))
        print(
            f"{bundle.name} on {folder.name}: {learned} cells learned from, {len(test)} tested on, ", end=""
        )
        print(f"{asked.draws} draws; trained on {', '.join(parent.record['trained_on'])}")
        for at, name in enumerate(names):
            if np.isnan(after[0][at]):
                continue  # no other kinds in the folder
            ends = [
                f"{np.mean(v):6.2f} ± {np.std(v):.2f}"
                for v in (np.array(before)[:, at], np.array(after)[:, at])
            ]
            print(f"  {name:20} {ends[0]} -> {ends[1]}")


if __name__ == "__main__":
    main()
