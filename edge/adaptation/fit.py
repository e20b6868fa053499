"""Embedded cells of a site → head, temperature and familiarity for it, and how well they do on cells not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.adaptation.cells import SiteCell
from edge.datasets.labelled import place_of
from edge.errors import DataError
from edge.inference.calibration import Embedded, distance_of, other_of, temperature
from edge.inference.classify import judge
from edge.inference.decide import OperatingPoint, decide
from edge.inference.manifest import Familiarity, Head, Manifest
from edge.inference.refit import PULL, refit
from edge.records import Prediction
from edge.statistics.evaluation import Evaluation, Outcome, evaluate

_KNOWN_KEPT: Final = 0.9875  # of the site's known cells pass each of the two limits, and so about 97.5 % both
_MOST_OTHER: Final = 0.5  # but what is more likely than not of another kind never passes, as in `calibration`


@dataclass(frozen=True, slots=True)
class Plan:
    """How to adapt.

    Attributes:
        folds: parts that the cells are split into, 3 or more; each in turn is kept from the fit.
        pull: see `inference.refit`.
        step: called after each of `refits` fits.
    """

    folds: int = 5
    pull: float = PULL
    step: Callable[[], None] = lambda: None

    @property
    def refits(self) -> int:
        """How many fits adaptation and cross-validation take together at most."""
        return (self.folds + 1) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What is the site's own in its bundle."""

    head: Head
    temperature: float
    familiarity: Familiarity

    def within(self, parent: Manifest) -> Manifest:
        """The parent's manifest with these in place of its own, for `judge`; its `record` stays the parent's."""
        return replace(parent, head=self.head, temperature=self.temperature, familiarity=self.familiarity)


@dataclass(frozen=True, slots=True)
class Change:
    """Cells of one folder before and after, after by cross-validation.

    Attributes:
        site: the folder's name.
        before: the parent's figures.
        after: of each cell, by a fit that did not see it.
    """

    site: str
    before: Evaluation
    after: Evaluation

    @property
    def better(self) -> bool:
        """Whether more cells are right, or as many and fewer accepted and wrong."""
        before, after = self.before, self.after
        gained = after.accuracy.count - before.accuracy.count
        return gained > 0 or (
            gained == 0 and after.accepted_and_wrong.count < before.accepted_and_wrong.count
        )


def adapt(parent: Manifest, cells: Sequence[SiteCell], site: str, plan: Plan) -> Fitted:
    """Fit everything on cells of a site, and on kept ones of the parent's.

    Temperature and limits are those of the site's cells out of fold: each as judged by a head, and by means of
    classes, that it had no part in. None becomes less than the parent's.

    Args:
        parent: the manifest to begin with.
        cells: of the site, with known ones of at least two units; and cells of other folders, for rehearsal,
            which count in the head as much as the site's, however many there are.
        site: which cells are the site's, by `SiteCell.site`.
        plan: how.

    Raises:
        DataError: the model's embeddings of the cells are nothing that a head can be fitted to.
    """
    classes = len(parent.classes)
    logits, distances, others, targets = [], [], [], []
    for training, held in splits(cells, plan.folds, parent.classes):
        known = [cell for cell in held if cell.site == site and cell.kind in parent.classes]
        if not known:
            continue
        head = _head(parent, training, site, plan)
        shape = _shape(parent, [cell for cell in training if cell.site == site])
        plain = _plain(known)
        logits.append(plain @ head.weights + head.bias)
        distances.append(distance_of(shape, plain))
        others.append(other_of(head, plain, classes))
        targets.append(_targets(parent, known))
    every = np.concatenate(logits)
    # Logits that are their own embeddings: those of each fold come from another head.
    themselves = Head(np.eye(every.shape[1], dtype=np.float32), np.zeros(every.shape[1], np.float32))
    found = parent.familiarity
    shape = _shape(parent, [cell for cell in cells if cell.site == site])
    warmth = temperature(themselves, Embedded(every, np.concatenate(targets)), classes)
    return Fitted(
        _head(parent, cells, site, plan),
        # So few cells may all be right out of fold: that is no proof that the model can be surer than it was.
        round(max(warmth, parent.temperature), 5),
        replace(
            shape,
            distance_limit=_limit(found.distance_limit, np.concatenate(distances)),
            other_limit=_limit(found.other_limit, np.minimum(np.concatenate(others), _MOST_OTHER)),
        ),
    )


def cross_validate(
    parent: Manifest, cells: Sequence[SiteCell], site: str, plan: Plan, without_cell: int = 0
) -> tuple[Change, ...]:
    """Judge each cell by what was fitted, in all its parts, on the other folds.

    Args:
        parent: the manifest to begin with.
        cells: see `adapt`.
        site: see `adapt`.
        plan: how.
        without_cell: pictures of the site in which no cell was found, before and after.

    Returns:
        The site's change, then that of each other folder in name order.
    """
    before = [outcome(parent, cell) for cell in cells]
    after: dict[int, Outcome] = {}
    for training, held in splits(cells, plan.folds, parent.classes):
        fitted = adapt(parent, training, site, plan).within(parent)
        after.update({id(cell): outcome(fitted, cell) for cell in held})
    folders = [site, *sorted({cell.site for cell in cells} - {site})]
    changes = []
    for name in folders:
        there = [number for number, cell in enumerate(cells) if cell.site == name]
        lost = without_cell if name == site else 0
        changes.append(
            Change(
                name,
                evaluate([before[n] for n in there], parent.classes, without_cell=lost),
                evaluate([after[id(cells[n])] for n in there], parent.classes, without_cell=lost),
            )
        )
    return tuple(changes)


def outcome(manifest: Manifest, cell: SiteCell) -> Outcome:
    """What a device with this manifest says of a cell, beside its label."""
    probabilities, unfamiliarity = judge(manifest, cell.views[0])
    named = dict(zip(manifest.classes, probabilities.tolist(), strict=True))
    limits = manifest.limits
    point = OperatingPoint(
        manifest.threshold, manifest.margin, limits.sharpness, limits.contrast, limits.brightness
    )
    decision = decide(Prediction(cell.cell, named, unfamiliarity, 0.0), point)
    return Outcome(cell.kind, named, decision.reasons)


def splits(
    cells: Sequence[SiteCell], folds: int, classes: Sequence[str]
) -> Iterator[tuple[list[SiteCell], list[SiteCell]]]:
    """Cells to fit on and cells kept from it, for each fold in turn.

    The units are dealt out like cards, sorted by folder and kind and then by a hash: each fold gets its share of
    every kind, and it is the same on every machine. Other kinds come last, so that every fold has known cells
    where there are as many units of them.
    """
    kinds: dict[tuple[str, str], tuple[bool, str]] = {}
    for cell in cells:
        unit, kind = (cell.site, cell.unit), (cell.kind not in classes, cell.kind)
        kinds[unit] = min(kinds.get(unit, kind), kind)
    order = sorted(kinds, key=lambda unit: (unit[0], kinds[unit], place_of(unit[1].encode()), unit[1]))
    fold = {unit: number % folds for number, unit in enumerate(order)}
    for number in range(min(folds, len(order))):
        inside = [fold[cell.site, cell.unit] == number for cell in cells]
        yield (
            [cell for cell, held in zip(cells, inside, strict=True) if not held],
            [cell for cell, held in zip(cells, inside, strict=True) if held],
        )


def _head(parent: Manifest, cells: Sequence[SiteCell], site: str, plan: Plan) -> Head:
    """The head, from all views of the cells; kept cells weigh as much as the site's where there are any."""
    used = [cell for cell in cells if cell.kind in parent.classes or parent.others]
    ours = np.array([cell.site == site for cell in used])
    shares = np.where(ours, 1 / max(1, ours.sum()), 1 / max(1, (~ours).sum()))
    views = len(used[0].views)
    embeddings = np.concatenate([cell.views for cell in used])
    try:
        if not np.isfinite(embeddings).all():
            raise ArithmeticError("some of its numbers are infinite or none")
        head = refit(
            parent.head,
            embeddings,
            np.repeat(_targets(parent, used), views),
            np.repeat(shares, views),
            plan.pull,
        )
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise DataError(
            f"{site}: what the model makes of these cells is nothing that a head can be fitted to: {error}; "
            "adapt another model, or convert it anew with a normalisation layer before its last one"
        ) from error
    plan.step()
    return head


def _shape(parent: Manifest, cells: Sequence[SiteCell]) -> Familiarity:
    """The parent's familiarity, to which each class of the site adds its mean as one more place of known cells."""
    known = parent.familiarity
    classes = [[cell for cell in cells if cell.kind == name] for name in parent.classes]
    places = [(_plain(each) - known.centre).mean(axis=0) @ known.whitening for each in classes if each]
    return replace(known, means=np.concatenate([known.means, places]).astype(np.float32))


def _limit(parents: float, found: NDArray[np.float32]) -> float:
    return round(max(parents, float(np.quantile(found, _KNOWN_KEPT))), 5)


def _plain(cells: Sequence[SiteCell]) -> NDArray[np.float32]:
    return np.stack([cell.views[0] for cell in cells])


def _targets(parent: Manifest, cells: Sequence[SiteCell]) -> NDArray[np.int64]:
    """The output of each cell: its class, or the first that stands for other kinds."""
    place = {name: number for number, name in enumerate(parent.classes)}
    return np.array([place.get(cell.kind, len(place)) for cell in cells], np.int64)
