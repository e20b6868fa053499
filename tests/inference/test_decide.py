"""A cell is accepted where nothing speaks against it, and flagged with every reason that does."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from helpers import decided
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.inference.bundle import Bundle, zoo
from edge.inference.decide import OperatingPoint, decide
from edge.records import Prediction, Quality, Reason, Verdict

POINT = OperatingPoint(threshold=0.85, margin=0.8, sharpness=0.1, contrast=0.3, brightness=60)
GOOD = Quality(sharpness=0.3, contrast=1.5, brightness=220)


def prediction(
    best: float = 0.95,
    second: float = 0.03,
    *,
    unfamiliarity: float = 0.2,
    quality: Quality = GOOD,
    cut_off: bool = False,
) -> Prediction:
    cell = replace(decided().cell, quality=quality, cut_off=cut_off)
    probabilities = {"lymphocyte": second, "monocyte": best, "neutrophil": 1 - best - second}
    return Prediction(cell, probabilities, unfamiliarity, 1.0)


@pytest.mark.parametrize("holds", list(product([False, True], repeat=len(Reason))))
def test_every_combination_of_reasons(holds: tuple[bool, ...]) -> None:
    held = dict(zip(Reason, holds, strict=True))
    # A margin of its own for each case, so that each of the first two reasons comes alone as well.
    best = 0.84 if held[Reason.LOW_CONFIDENCE] else 0.90
    point = replace(POINT, margin=0.85 if held[Reason.AMBIGUOUS] else 0.7)
    decision = decide(
        prediction(
            best,
            0.06,
            unfamiliarity=1.01 if held[Reason.UNFAMILIAR] else 1.0,
            quality=replace_quality(sharpness=0.05) if held[Reason.POOR_IMAGE] else GOOD,
            cut_off=held[Reason.CUT_OFF],
        ),
        point,
    )
    assert decision.reasons == tuple(reason for reason in Reason if held[reason])
    assert decision.verdict is (Verdict.FLAGGED if any(holds) else Verdict.ACCEPTED)
    assert decision.cell_class == "monocyte"
    assert decision.confidence == best


@pytest.mark.parametrize(
    "odd",
    [
        {"best": float("nan"), "second": float("nan")},
        {"unfamiliarity": float("nan")},
        {"quality": GOOD._replace(sharpness=float("nan"))},
        {"quality": GOOD._replace(contrast=float("nan"))},
        {"quality": GOOD._replace(brightness=float("nan"))},
    ],
)
def test_a_number_that_is_none_accepts_nothing(odd: dict[str, Any]) -> None:
    assert decide(prediction(**odd), POINT).verdict is Verdict.FLAGGED


def replace_quality(**changes: float) -> Quality:
    return GOOD._replace(**changes)


@pytest.mark.parametrize("changes", [{"sharpness": 0.09}, {"contrast": 0.29}, {"brightness": 59.0}])
def test_each_way_to_be_a_poor_image(changes: dict[str, float]) -> None:
    assert decide(prediction(quality=replace_quality(**changes)), POINT).reasons == (Reason.POOR_IMAGE,)


def test_a_cell_exactly_on_every_limit_is_accepted() -> None:
    on_it = prediction(0.875, 0.125, unfamiliarity=1.0, quality=Quality(0.1, 0.3, 60))
    point = replace(POINT, threshold=0.875, margin=0.75)
    assert decide(on_it, point).verdict is Verdict.ACCEPTED


@settings(deadline=None)
@given(st.floats(0.34, 1.0), st.floats(0.5, 0.99), st.floats(0.5, 0.99))
def test_a_higher_threshold_never_accepts_more(best: float, one: float, other: float) -> None:
    lower, higher = sorted((one, other))
    seen = prediction(best, (1 - best) / 2)
    strict = decide(seen, replace(POINT, threshold=higher, margin=0.0))
    lenient = decide(seen, replace(POINT, threshold=lower, margin=0.0))
    assert strict.verdict is Verdict.FLAGGED or lenient.verdict is Verdict.ACCEPTED
    assert (Reason.LOW_CONFIDENCE in strict.reasons) == (best < higher)


@pytest.mark.parametrize("threshold", [0.5, 0.85, 0.99])
def test_a_threshold_in_the_interval_is_taken(threshold: float) -> None:
    bundle = Bundle.load()
    point = OperatingPoint.of(bundle, threshold)
    assert point.threshold == threshold
    assert point == replace(OperatingPoint.of(bundle), threshold=threshold)


@pytest.mark.parametrize("threshold", [0.0, 0.499, 0.991, 1.0, float("nan")])
def test_a_threshold_outside_of_it_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"0\.50 to 0\.99"):
        OperatingPoint.of(Bundle.load(), threshold)


@pytest.mark.parametrize("directory", zoo(), ids=lambda path: path.name)
def test_the_operating_point_is_the_manifests(directory: object) -> None:
    bundle = Bundle.load(str(directory))
    point, calibration = OperatingPoint.of(bundle), bundle.manifest.record["calibration"]
    assert (point.threshold, point.margin) == (calibration["threshold"], calibration["margin"])
    assert {name: getattr(point, name) for name in calibration["poor_image"]} == calibration["poor_image"]
