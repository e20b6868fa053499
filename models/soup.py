"""One model out of several trainings of the same network: the mean of their weights.

Trainings that went on from one start with other pictures or other chance lie in one basin, and the middle of
it reads other microscopes better than any of them (Wortsman et al. 2022, arXiv:2203.05482, "model soups").
Averages of models that started from chance are worthless: measure before you ship one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edge.errors import DataError

_SIDES = ("train", "validation", "test")


def average(runs: Sequence[Path], output: Path, match_stain: bool | None = None) -> Path:
    """Average the models of several trainings.

    Args:
        runs: folders that `train` wrote, of one architecture and with the same outputs.
        output: folder for `model.keras`, `labels.json`, `plan.json` and `split.json`.
        match_stain: how the average is to be fed; needed where the trainings differ in it.

    Returns:
        The averaged model's path.

    Raises:
        DataError: a folder is no training, or they are not of one kind.
    """
    first, *others = runs
    labels, plans = ([_record(run / name) for run in runs] for name in ("labels.json", "plan.json"))
    if match_stain is not None:
        plans = [{**plan, "match_stain": match_stain} for plan in plans]
    for name in ("architecture", "size", "match_stain"):
        if len({json.dumps(plan.get(name)) for plan in plans}) > 1:
            raise DataError(f"the trainings differ in {name}: " + ", ".join(str(p.get(name)) for p in plans))
    for run, theirs in zip(others, labels[1:], strict=True):
        if theirs != labels[0]:
            raise DataError(f"{run} names other outputs than {first}: their order must be the same")
    model = _load(first)
    weights = [
        [np.asarray(array) for array in (model if run == first else _load(run)).get_weights()] for run in runs
    ]
    if len({tuple(array.shape for array in arrays) for arrays in weights}) > 1:
        raise DataError("the trainings do not have the same weights")
    model.set_weights([np.mean(arrays, axis=0) for arrays in zip(*weights, strict=True)])
    output.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("labels.json", labels[0]),
        ("plan.json", {**plans[0], "start": None, "average_of": [run.name for run in runs]}),
        ("split.json", _joined([_record(run / "split.json") for run in runs])),
    ):
        (output / name).write_text(json.dumps(content, indent=0), "utf-8")
    model.save(output / "model.keras")
    return output / "model.keras"


def _joined(splits: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every picture that any training saw, on the side where it was learned from most."""
    rows: dict[str, dict[str, Any]] = {}
    for row in (row for split in splits for row in split):
        known = rows.setdefault(row["sha256"], row)
        if _SIDES.index(row["split"]) < _SIDES.index(known["split"]):
            rows[row["sha256"]] = row
    return list(rows.values())


def _record(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent} is no finished training: {path.name}: {error}") from error


def _load(run: Path) -> Any:
    try:
        return keras.models.load_model(run / "model.keras", compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{run / 'model.keras'}: Keras cannot load it: {why}") from error
