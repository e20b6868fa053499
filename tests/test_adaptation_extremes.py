"""Adapting to cells that tell nothing, or of which a model makes nothing: a bundle that is sound, or a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import decided

from edge.adaptation.cells import SiteCell
from edge.adaptation.fit import Plan, adapt, cross_validate
from edge.errors import DataError
from edge.inference.bundle import Bundle
from edge.inference.manifest import Manifest


@pytest.fixture(scope="module")
def parent() -> Manifest:
    return Bundle.load().manifest


def cells(parent: Manifest, each: int = 6) -> list[SiteCell]:
    random = np.random.default_rng(1)
    width = len(parent.head.weights)
    return [
        SiteCell(
            "north", kind, f"{kind}-{at}", random.normal(size=(4, width)).astype(np.float32), decided().cell
        )
        for kind in parent.classes
        for at in range(each)
    ]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_cells_that_all_look_the_same_make_nothing_better_and_nothing_unsound(
    parent: Manifest, value: float
) -> None:
    same = [replace(cell, views=np.full_like(cell.views, value)) for cell in cells(parent)]
    (change,) = cross_validate(parent, same, "north", Plan(folds=3))
    assert not change.better or change.after.accuracy.count <= len(same) / 5 + 1
    fitted = adapt(parent, same, "north", Plan(folds=3))
    numbers = (fitted.head.weights, fitted.head.bias, fitted.familiarity.means)
    assert all(np.isfinite(each).all() for each in numbers)
    assert 0 < fitted.temperature < 10


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_makes_no_numbers_of_a_cell_is_said_to(parent: Manifest, value: float) -> None:
    site = cells(parent)
    site[3] = replace(site[3], views=np.full_like(site[3].views, value))
    with pytest.raises(DataError, match="nothing that a head can be fitted to"):
        adapt(parent, site, "north", Plan(folds=3))
