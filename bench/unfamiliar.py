"""Which measure best tells what a model does not know.

    python bench/unfamiliar.py BUNDLE --known DIR --other DIR --site DIR

Every measure gets the limit that 99 % of the known cells of the validation part pass, and is then tried on the other
kinds' test part and on whole sites. For kinds and sites that the bundle's training saw, the figures say how well it
remembers; for those left out of it, what it would do with the next surprise. On sites, a cell is accepted where the
measure passes it and its calibrated probability is 0.85 at least.

- other: the probability of the output trained on other kinds (Hendrycks et al. 2019, arXiv:1812.04606)
- energy: −log Σ exp of the classes' logits (Liu et al. 2020, arXiv:2010.03759)
- mahalanobis: to the nearest class, with one covariance (Lee et al. 2018, arXiv:1807.03888)
- neighbours: cosine distance to the 10th nearest training cell (Sun et al. 2022, arXiv:2204.06507)
- flips: one minus the best probability, averaged over the crop and three mirrored ones
- spread: how far the four disagree; a joined name flags what either of its measures flags
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.datasets.labelled import LabelledFolder, Part
from edge.errors import InputError
from edge.inference.bundle import Bundle
from edge.inference.calibration import distance_of, other_of
from edge.inference.classify import Classifier
from edge.inference.manifest import Manifest
from edge.pictures.images import decode
from edge.records import Frame, Image
from edge.vision.crop import cells_of, central
from edge.vision.locate import locate

Floats = NDArray[np.float32]
KEPT, CONFIDENCE = 0.99, 0.85
_JOINED = (("mahalanobis", "other"), ("neighbours", "other"), ("energy", "other"), ("flips", "other"))


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Embeddings of four views of each cell, 4 × n × width; n kinds; and n numbers of classes, −1 for other kinds."""

    views: Floats
    kinds: NDArray[np.str_]
    targets: NDArray[np.int64]

    def of(self, mask: NDArray[np.bool_]) -> Cells:
        """Some of them."""
        return Cells(self.views[:, mask], self.kinds[mask], self.targets[mask])


def read(classifier: Classifier, folder: Path, part: Part | None, most: int | None = None) -> Cells:
    """Embed the labelled cells of a folder, or an even choice of at most about `most` of them."""
    source, views, kinds = LabelledFolder(folder), [], []
    pictures = list(source.pictures(part))
    for number, picture in enumerate(pictures[:: max(1, len(pictures) // most if most else 1)]):
        try:
            image = decode(picture.data(), picture.name)
        except InputError:
            continue
        field = locate(Frame.of(image, number, datetime.now(UTC)))
        size, stain = classifier.input_size, classifier.match_stain
        cell = central(cells_of(field, size=size, match_stain=stain), picture.box)
        kind = source.label(picture.name)
        if cell is not None and kind is not None:
            views.append([classifier.embed(view) for view in _mirrored(cell.crop)])
            kinds.append(kind)
    classes = {name: index for index, name in enumerate(classifier.bundle.classes)}
    targets = np.array([classes.get(kind, -1) for kind in kinds])
    return Cells(np.asarray(views, np.float32).transpose(1, 0, 2), np.array(kinds), targets)


def _mirrored(crop: Image) -> tuple[Image, ...]:
    ways: tuple[Callable[[Image], Image], ...] = (
        lambda c: c,
        lambda c: c[:, ::-1],
        lambda c: c[::-1],
        lambda c: c.transpose(1, 0, 2),
    )
    return tuple(np.ascontiguousarray(way(crop)) for way in ways)


def probabilities(manifest: Manifest, embeddings: Floats) -> Floats:
    """Calibrated, ... × classes."""
    logits = (embeddings @ manifest.head.weights + manifest.head.bias)[..., : len(manifest.classes)]
    powers = np.exp((logits - logits.max(-1, keepdims=True)) / manifest.temperature)
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)


def measures(manifest: Manifest, cells: Cells, memory: Floats) -> dict[str, Floats]:
    """Every measure of every cell; larger is stranger."""
    plain = cells.views[0]
    logits = (plain @ manifest.head.weights + manifest.head.bias)[:, : len(manifest.classes)]
    shown = probabilities(manifest, cells.views)
    unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    found = {
        "other": other_of(manifest.head, plain, len(manifest.classes)),
        "energy": -np.logaddexp.reduce(logits, axis=1),
        "mahalanobis": distance_of(manifest.familiarity, plain),
        "neighbours": 1 - np.partition(unit @ memory.T, -10, axis=1)[:, -10],
        "flips": 1 - shown.mean(0).max(1),
        "spread": np.abs(shown - shown.mean(0)).sum(-1).mean(0),
    }
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def main() -> None:
    """Print one table of kinds and one of sites."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    for name in ("known", "other", "site"):
        parser.add_argument(f"--{name}", type=Path, action="append", default=[], required=name == "known")
    told = parser.parse_args()
    classifier = Classifier(Bundle.load(told.bundle))
    manifest = classifier.bundle.manifest
    trained = np.concatenate([read(classifier, folder, "train", 1500).views[0] for folder in told.known])
    memory = trained / np.linalg.norm(trained, axis=1, keepdims=True)
    held = [read(classifier, folder, "validation") for folder in told.known]
    each = [measures(manifest, cells, memory) for cells in held]
    limits = {name: float(np.quantile(np.concatenate([e[name] for e in each]), KEPT)) for name in each[0]}

    def flags(cells: Cells) -> dict[str, NDArray[np.bool_]]:
        found = {name: value > limits[name] for name, value in measures(manifest, cells, memory).items()}
        return found | {f"{a} + {b}": found[a] | found[b] for a, b in _JOINED}

    tried = [read(classifier, folder, "test") for folder in told.other]
    kinds = {str(kind): cells.of(cells.kinds == kind) for cells in tried for kind in np.unique(cells.kinds)}
    known = {f"{f.name} (known)": read(classifier, f, "test") for f in told.known}
    _table(
        "flagged, percent",
        {n: {k: 100 * v.mean() for k, v in flags(c).items()} for n, c in (known | kinds).items()},
    )
    rows = {}
    for folder in told.site:
        cells = read(classifier, folder, None)
        shown = probabilities(manifest, cells.views[0])
        sure, wrong = shown.max(1) >= CONFIDENCE, shown.argmax(1) != cells.targets
        for name, flagged in {"probability alone": ~sure, **flags(cells)}.items():
            accepted = sure & ~flagged
            row = rows.setdefault(f"{folder.name}: accepted", {})
            row[name] = 100 * accepted.mean()
            row = rows.setdefault(f"{folder.name}: accepted and wrong", {})
            row[name] = 100 * (accepted & wrong).mean()
    if rows:
        _table("of all cells, percent", rows)


def _table(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n| {title} | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[column]:.1f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
