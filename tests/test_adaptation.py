"""Adapting, on embeddings whose right answer is known: nothing of a cell is in the fit that judges it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers import decided

from edge.adaptation.cells import SiteCell
from edge.adaptation.fit import Change, Plan, adapt, cross_validate, outcome, splits
from edge.adaptation.report import check
from edge.errors import DataError
from edge.inference.bundle import Bundle
from edge.inference.manifest import Familiarity, Head, Manifest

WIDTH = 24
CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


@pytest.fixture(scope="module")
def parent() -> Manifest:
    """A model that knows five classes along five axes, and other kinds along a sixth."""
    shipped = Bundle.load().manifest
    familiarity = Familiarity(
        np.zeros(WIDTH, np.float32), np.eye(WIDTH, dtype=np.float32), 4 * np.eye(5, WIDTH, dtype=np.float32), 7.0, 0.5
    )  # fmt: skip
    head = Head(2 * np.eye(WIDTH, 6, dtype=np.float32), np.zeros(6, np.float32))
    return replace(
        shipped, classes=CLASSES, others=("other",), head=head, temperature=1.0, familiarity=familiarity
    )


def cells(
    seed: int, each: int, *, site: str = "north", shift: int = 0, spread: float = 1.0
) -> list[SiteCell]:
    """Cells of every class, and of another kind; `shift` turns the axes on which this site shows them."""
    random = np.random.default_rng(seed)
    made = []
    for number, kind in enumerate((*CLASSES, "erythroblast")):
        for at in range(each):
            views = random.normal(scale=spread, size=(4, WIDTH)).astype(np.float32)
            views[:, (number + shift) % WIDTH] += 4
            made.append(SiteCell(site, kind, f"{site}-{kind}-{at}", views, decided().cell))
    return made


def test_a_site_that_shows_its_cells_otherwise_is_learned(parent: Manifest) -> None:
    site = cells(1, 20, shift=8)
    (change,) = cross_validate(parent, site, "north", Plan())
    assert change.before.accuracy.count < 50
    assert change.after.accuracy.count > 85
    assert change.better
    fitted = adapt(parent, site, "north", Plan()).within(parent)
    fresh = [outcome(fitted, cell) for cell in cells(2, 100, shift=8)]
    right = np.mean([o.best == o.label for o in fresh if o.label in CLASSES])
    assert right == pytest.approx((change.after.accuracy.percent or 0) / 100, abs=0.08)
    flagged = [bool(o.reasons) for o in fresh if o.label == "erythroblast"]
    assert np.mean(flagged) > 0.9
    passed = [o for o in fresh if o.label in CLASSES and "unfamiliar" not in o.reasons]
    assert len(passed) / 500 > 0.93


def test_labels_that_mean_nothing_gain_nothing(parent: Manifest) -> None:
    """What looked at its own label would come out far above chance here."""
    random = np.random.default_rng(3)
    kinds = np.repeat(CLASSES, 30)
    site = [
        SiteCell("north", str(kind), str(at), random.normal(size=(4, WIDTH)).astype(np.float32), decided().cell)
        for at, kind in enumerate(kinds)
    ]  # fmt: skip
    (change,) = cross_validate(parent, site, "north", Plan(pull=0.01))
    assert change.after.accuracy.count / 150 == pytest.approx(0.2, abs=0.12)
    assert change.after.accepted_and_wrong.count < 20


def test_the_parents_limits_are_never_drawn_in_and_its_places_stay(parent: Manifest) -> None:
    fitted = adapt(parent, cells(4, 10, spread=0.1), "north", Plan())
    found = fitted.familiarity
    assert found.distance_limit == parent.familiarity.distance_limit
    assert found.other_limit == parent.familiarity.other_limit
    assert np.array_equal(found.means[:5], parent.familiarity.means)
    assert found.means.shape == (10, WIDTH)
    wide = adapt(parent, cells(4, 10, spread=3), "north", Plan()).familiarity
    assert wide.distance_limit > parent.familiarity.distance_limit


def test_a_class_that_the_site_does_not_show_is_still_known(parent: Manifest) -> None:
    site = [cell for cell in cells(5, 20, shift=8) if cell.kind != "basophil"]
    fitted = adapt(parent, site, "north", Plan())
    assert fitted.familiarity.means.shape == (9, WIDTH)
    as_before = [outcome(fitted.within(parent), cell) for cell in cells(6, 40) if cell.kind == "basophil"]
    assert np.mean([each.best == "basophil" for each in as_before]) > 0.8


def test_rehearsed_cells_are_kept_and_measured_by_themselves(parent: Manifest) -> None:
    site, old = cells(7, 20, shift=2), cells(8, 40, site="south")
    alone = adapt(parent, site, "north", Plan()).within(parent)
    changes = cross_validate(parent, [*site, *old], "north", Plan())
    assert [change.site for change in changes] == ["north", "south"]
    assert changes[1].before.pictures == 200
    both = adapt(parent, [*site, *old], "north", Plan()).within(parent)

    def right(manifest: Manifest, seed: int, name: str, shift: int) -> float:
        judged = [outcome(manifest, c) for c in cells(seed, 60, site=name, shift=shift) if c.kind in CLASSES]
        return float(np.mean([each.best == each.label for each in judged]))

    assert right(both, 9, "south", 0) > right(alone, 9, "south", 0) + 0.1
    # Twice as many cells of the old site weigh no more than the new one's.
    mirrored = cells(8, 20, site="south")
    fewer = adapt(parent, [*site, *mirrored], "north", Plan()).within(parent)
    assert right(both, 10, "north", 2) == pytest.approx(right(fewer, 10, "north", 2), abs=0.08)


def test_a_model_without_an_output_for_other_kinds_learns_from_the_classes_only(parent: Manifest) -> None:
    head = Head(parent.head.weights[:, :5], parent.head.bias[:5])
    fewer = replace(parent, others=(), head=head)
    site = cells(11, 20, shift=8)
    known = [cell for cell in site if cell.kind in CLASSES]
    fitted, same = adapt(fewer, site, "north", Plan()), adapt(fewer, known, "north", Plan())
    assert np.array_equal(fitted.head.weights, same.head.weights)
    assert fitted.head.weights.shape == (WIDTH, 5)


def test_folds_are_fair_and_tear_no_patient_apart() -> None:
    site = [replace(cell, unit=f"patient {at % 7}") for at, cell in enumerate(cells(12, 14))]
    held = [part for _, part in splits(site, 5, CLASSES)]
    assert sorted(id(cell) for part in held for cell in part) == sorted(map(id, site))
    homes = [{cell.unit for cell in part} for part in held]
    assert all(not first & second for at, first in enumerate(homes) for second in homes[:at])
    loose = cells(13, 10)
    for training, part in splits(loose, 5, CLASSES):
        assert not {id(cell) for cell in training} & {id(cell) for cell in part}
        assert set(Counter(cell.kind for cell in part).values()) == {2}
    shuffled = [loose[at] for at in np.random.default_rng(0).permutation(len(loose))]
    for (_, one), (_, other) in zip(splits(loose, 5, CLASSES), splits(shuffled, 5, CLASSES), strict=True):
        assert {cell.unit for cell in one} == {cell.unit for cell in other}


def test_every_fold_has_known_cells_however_the_other_kinds_fall(parent: Manifest) -> None:
    """Each known cell's patient is followed by two of other kinds: dealt by hash they might share a fold."""
    few = cells(14, 3)
    known = [replace(c, unit=f"p{at % 3}") for at, c in enumerate(few) if c.kind in CLASSES]
    site = [*known, *(replace(c, unit=f"q{at}") for at, c in enumerate(few) if c.kind not in CLASSES)]
    for _, held in splits(site, 3, CLASSES):
        assert any(cell.kind in CLASSES for cell in held)
    (change,) = cross_validate(parent, site, "north", Plan(folds=3))
    assert change.after.pictures == 15


def test_too_little_is_refused_and_little_is_told() -> None:
    enough = cells(15, 20)
    assert check(enough, CLASSES, "north", 5) == []
    some = [c for c in enough if c.kind != "basophil"]
    few = [*some[:20], *some[20:27], *some[60:80]]
    absent, short = check(few, CLASSES, "north", 5)
    assert absent.startswith("no basophil, no monocyte is")
    assert "lymphocyte (7)" in short
    with pytest.raises(DataError, match=r"two classes with at least 5 cells .* there are 20 basophil"):
        check([c for c in enough if c.kind in ("basophil", "erythroblast")], CLASSES, "north", 5)
    one_slide = [replace(cell, unit="slide") for cell in enough]
    with pytest.raises(DataError, match="1 pictures cannot be split into 5"):
        check(one_slide, CLASSES, "north", 5)


def test_better_is_more_right_or_as_many_with_less_harm(parent: Manifest) -> None:
    site = cells(16, 12, shift=8)
    (change,) = cross_validate(parent, site, "north", Plan())
    assert not Change("north", change.after, change.before).better
    assert not Change("north", change.after, change.after).better
