"""A parent and what was fitted to a site → a new bundle that names its parent, written whole or not at all."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.adaptation.cells import SiteCell
from edge.adaptation.fit import Change, Fitted, Plan
from edge.errors import BundleError
from edge.inference.bundle import Bundle
from edge.inference.card import write_card
from edge.inference.classify import Classifier, raw_probabilities
from edge.inference.manifest import pack
from edge.pictures.images import decode
from edge.statistics.evaluation import Evaluation

FILES: Final = frozenset(("model.tflite", "manifest.json", "README.md"))

_OF_THE_PARENT: Final[tuple[str, ...]] = ("trained_on", "measured", "gate", "parent", "adapted")


@dataclass(frozen=True, slots=True)
class Identity:
    """What the new bundle is called.

    Attributes:
        name: its name.
        version: its version.
        site: the name of the site's folder.
    """

    name: str
    version: str
    site: str


def write(
    parent: Bundle,
    fitted: Fitted,
    changes: Sequence[Change],
    cells: Sequence[SiteCell],
    plan: Plan,
    identity: Identity,
    output: Path,
) -> Bundle:
    """Write the bundle; the same inputs make the same bytes.

    Args:
        parent: the bundle that was adapted.
        fitted: what `fit.adapt` made of the cells.
        changes: what `fit.cross_validate` found, the site first.
        cells: that it was fitted on.
        plan: how it was fitted.
        identity: what it is called.
        output: its folder; a bundle there is replaced, see `check_output`.

    Raises:
        BundleError: the folder is taken, or the parent's manifest lacks something or contradicts itself.
        OSError: it cannot be written.
    """
    check_output(output, parent)
    with _replacing(output) as workplace:
        (workplace / "model.tflite").write_bytes(parent.model)
        try:
            record = _record(parent, fitted, changes, cells, plan, identity)
            write_card(workplace / "README.md", record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # what `Bundle` does not look at
            raise BundleError(
                f"{parent.directory}: its manifest lacks what a model card tells, or tells it otherwise: {error}"
            ) from error
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (workplace / "manifest.json").write_text(text, "utf-8", "backslashreplace")
        Bundle.load(workplace)
    return Bundle.load(output)


def check_output(output: Path, parent: Bundle) -> None:
    """Make sure that nothing but an older bundle would be replaced.

    Raises:
        BundleError: `output` is something else, or the parent's own folder.
    """
    if output.resolve() == parent.directory.resolve():
        raise BundleError(f"{output} is the parent's own folder; choose another --output")
    if output.exists() and not (output.is_dir() and {path.name for path in output.iterdir()} <= FILES):
        raise BundleError(f"{output} exists and is not just a bundle; choose another --output")


def figures(found: Evaluation) -> dict[str, Any]:
    """An evaluation in short, in percent, as manifests keep it; the calibration error is 0 to 1."""
    others = sum(rate.total for rate in found.other_kinds.values())
    flagged = sum(rate.count for rate in found.other_kinds.values())
    return {
        "cells": found.pictures,
        "right": _rounded(found.accuracy.percent),
        "accepted": _rounded(found.accepted.percent),
        "accepted_wrong": _rounded(found.accepted_and_wrong.percent),
        "ece": _rounded(found.ece),
        "recall": {name: _rounded(found.recall(name).percent) for name in found.classes},
        "others": others,
        "others_flagged": _rounded(100 * flagged / others) if others else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _record(
    parent: Bundle,
    fitted: Fitted,
    changes: Sequence[Change],
    cells: Sequence[SiteCell],
    plan: Plan,
    identity: Identity,
) -> dict[str, Any]:
    """The new manifest: the parent's, but for what was fitted and what was measured of the parent."""
    record = copy.deepcopy(parent.manifest.record)
    inherited = {key: record.pop(key) for key in _OF_THE_PARENT if key in record}
    calibration, familiarity = record["calibration"], fitted.familiarity
    inherited["calibration"] = {key: calibration[key] for key in ("temperature", "threshold")}
    manifest = (parent.directory / "manifest.json").read_bytes()
    calibration["temperature"] = fitted.temperature
    calibration["unfamiliar"] |= {
        "distance_limit": familiarity.distance_limit,
        "other_limit": familiarity.other_limit,
        "means": pack(familiarity.means),
    }
    record["head"] = {"weights": pack(fitted.head.weights), "bias": pack(fitted.head.bias)}
    record["golden"]["probabilities"] = _golden(parent, fitted)
    kinds = Counter(cell.kind for cell in cells if cell.site == identity.site)
    return record | {
        "name": identity.name,
        "version": identity.version,
        "trained_on": [*inherited["trained_on"], identity.site],
        "measured": [],
        "parent": {
            "name": parent.name,
            "version": parent.version,
            "sha256": parent.sha256,
            "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
            **inherited,
        },
        "adapted": {
            "site": identity.site,
            "cells": dict(sorted(kinds.items())),
            "kept": [change.site for change in changes[1:]],
            "pull": plan.pull,
            "folds": plan.folds,
            "cross_validation": [
                {"site": change.site, "before": figures(change.before), "after": figures(change.after)}
                for change in changes
            ],
        },
    }


def _golden(parent: Bundle, fitted: Fitted) -> list[float]:
    """What the new head says of the parent's golden crop."""
    classifier = Classifier(parent)
    crop = decode(parent.manifest.golden.png, f"{parent.directory}: the golden crop")
    if crop.shape != (classifier.input_size, classifier.input_size, 3):
        raise BundleError(f"{parent.directory}: the golden crop does not have the size of the input")
    said = raw_probabilities(fitted.within(parent.manifest), classifier.embed(crop))
    return [round(float(p), 5) for p in said]


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """A folder that takes the place of `output` when the block ends without an error."""
    output.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    before = workplace.with_name(workplace.name + "-before")
    try:
        yield workplace
        workplace.chmod(0o755)
        if output.exists():
            output.rename(before)
        workplace.rename(output)
    except BaseException:
        if before.exists() and not output.exists():
            before.rename(output)
        raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
