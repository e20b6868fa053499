"""Figures against ones worked out by hand or by definition."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datasets.labelled import LabelledFolder, part_of
from edge.datasets.labels import Labels
from edge.errors import DataError
from edge.pictures.output import evaluation_text
from edge.records import Reason
from edge.statistics.evaluation import BINS, THRESHOLDS, Outcome, evaluate
from edge.statistics.rates import Kappa

CLASSES = ("a", "b", "c")


def outcome(label: str, best: str, confidence: float, *reasons: Reason) -> Outcome:
    rest = (1 - confidence) / 2
    return Outcome(label, {name: confidence if name == best else rest for name in CLASSES}, reasons)


HAND = [
    outcome("a", "a", 0.9),
    outcome("a", "a", 0.9),
    outcome("a", "b", 0.95),
    outcome("b", "b", 0.8, Reason.LOW_CONFIDENCE),
    outcome("b", "b", 0.99),
    outcome("c", "a", 0.6, Reason.LOW_CONFIDENCE, Reason.UNFAMILIAR),
    outcome("blast", "c", 0.97),
    outcome("blast", "c", 0.97, Reason.UNFAMILIAR),
    outcome("platelet", "b", 0.5, Reason.LOW_CONFIDENCE),
]


def test_figures_worked_out_by_hand() -> None:
    report = evaluate(HAND, CLASSES, without_cell=2)
    assert report.pictures == 6
    assert report.without_cell == 2
    assert report.confusion == ((2, 1, 0), (0, 2, 0), (1, 0, 0))
    assert (report.accuracy.count, report.accuracy.total) == (4, 6)
    assert report.accuracy.percent == pytest.approx(66.667, abs=0.001)
    assert report.accuracy.low == pytest.approx(22.28, abs=0.01)  # the published exact limits of 4 of 6
    assert report.accuracy.high == pytest.approx(95.67, abs=0.01)
    assert (report.accepted.count, report.accuracy_accepted.count, report.accepted_and_wrong.count) == (
        4,
        3,
        1,
    )
    assert report.reasons == {"low_confidence": 2, "unfamiliar": 1}
    first, second, third = report.by_class
    assert (first.precision, first.recall, first.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (second.precision, second.recall, second.f1) == pytest.approx((2 / 3, 1, 0.8))
    assert (third.precision, third.recall, third.f1) == (None, 0, 0)
    assert report.macro_f1 == pytest.approx((2 / 3 + 0.8 + 0) / 3)
    assert [(kind, rate.count, rate.total) for kind, rate in report.other_kinds.items()] == [
        ("blast", 1, 2),
        ("platelet", 1, 1),
    ]


def test_calibration_by_hand() -> None:
    report = evaluate([outcome("a", "a", 0.9)] * 3 + [outcome("b", "a", 0.9)], CLASSES)
    filled = [b for b in report.reliability if b.count]
    assert len(report.reliability) == BINS
    assert [(b.count, b.confidence, b.accuracy) for b in filled] == [(4, pytest.approx(0.9), 0.75)]
    assert filled[0].low < 0.9 <= filled[0].high
    assert report.ece == pytest.approx(0.15)


def test_an_edge_of_a_bin_belongs_to_the_bin_below() -> None:
    report = evaluate([Outcome("a", {"a": 1.0, "b": 0.0, "c": 0.0}, ())], CLASSES)
    assert report.reliability[-1].count == 1
    assert report.ece == 0


def test_coverage_moves_the_threshold_and_keeps_the_other_reasons() -> None:
    report = evaluate(HAND, CLASSES)
    at = dict(zip(THRESHOLDS, report.coverage, strict=True))
    assert at[0.50].accepted == pytest.approx(5 / 6)  # the unfamiliar one stays flagged
    assert at[0.50].accuracy == pytest.approx(4 / 5)
    assert at[0.85].accepted == pytest.approx(4 / 6)
    assert at[0.99].accepted == pytest.approx(1 / 6)
    assert at[0.99].accepted_and_wrong == 0
    shares = [point.accepted for point in report.coverage]
    assert shares == sorted(shares, reverse=True)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(CLASSES), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)),
        max_size=40,
    )
)
def test_auc_is_the_chance_that_a_member_scores_higher(rows: list[tuple[str, int, int, int]]) -> None:
    """Mann and Whitney: pairs of one member and one other, a tie counting half."""
    outcomes = [Outcome(label, {"a": x / 5, "b": y / 5, "c": z / 5}, ()) for label, x, y, z in rows]
    for name, figures in zip(CLASSES, evaluate(outcomes, CLASSES).by_class, strict=True):
        members = [o.probabilities[name] for o in outcomes if o.label == name]
        others = [o.probabilities[name] for o in outcomes if o.label != name]
        wins = [(m > o) + (m == o) / 2 for m, o in itertools.product(members, others)]
        if not wins:
            assert figures.auc is None
            assert figures.roc == ()
            continue
        assert figures.auc == pytest.approx(sum(wins) / len(wins))
        xs, ys = zip(*figures.roc, strict=True)
        area = sum((x2 - x1) * (y1 + y2) / 2 for x1, x2, y1, y2 in zip(xs, xs[1:], ys, ys[1:], strict=False))
        assert area == pytest.approx(figures.auc)  # leaving out points on a line changes nothing
        assert (xs[0], ys[0], xs[-1], ys[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize("outcomes", [[], HAND[-3:], HAND[:1]])
def test_few_or_no_pictures_are_no_error(outcomes: list[Outcome]) -> None:
    report = evaluate(outcomes, CLASSES)
    json.dumps(report.fields(), allow_nan=False)
    assert "accuracy" in evaluation_text(report)


def test_the_text_holds_every_figure_and_is_aligned() -> None:
    text = evaluation_text(evaluate(HAND, CLASSES))
    for part in (
        "66.67 % (22.3–95.7), 4 of 6",
        "2 low_confidence, 1 unfamiliar",
        "0.8000",
        "blast",
        "1 of 2",
    ):
        assert part in text
    for block in text.split("\n\n"):
        assert len({len(line) for line in block.strip().splitlines()}) == 1


def write_csv(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, "utf-8")
    return path


def test_labels_are_found_by_the_end_of_a_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "\ufeffCLASS,FileName,note\nA,x.jpg,1\nb,site/x.jpg,2\nc,gone.jpg,3\n")
    labels = Labels.read(path)
    assert labels.of("/data/x.jpg") == "a"
    assert labels.of("cells.zip/site/x.jpg") == "b"
    assert labels.of("y.jpg") is None
    assert labels.unused() == ["gone.jpg"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs the columns filename and class"),
        ("colour,shape\na,b\n", "needs the columns filename and class"),
        ("filename,class\nx.jpg,a\nx.jpg,b\n", "calls x.jpg both a and b"),
        ("filename,class\n" + "x" * 200_000 + ",a\n", "cannot be read"),
    ],
)
def test_labels_that_make_no_sense(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        Labels.read(write_csv(tmp_path, text))


def test_labels_short_lines_and_repeats_do_no_harm(tmp_path: Path) -> None:
    labels = Labels.read(write_csv(tmp_path, "filename,class\nx.jpg,a\nx.jpg,A\ny.jpg\n\nz.jpg,\n"))
    assert labels.of("x.jpg") == "a"
    assert labels.of("y.jpg") is None


def test_the_split_is_of_bytes_and_has_its_shares() -> None:
    rng = random.Random(3)
    parts = [part_of(rng.randbytes(8)) for _ in range(20_000)]
    shares = [parts.count(part) / len(parts) for part in ("train", "validation", "test")]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.015)
    assert part_of(b"") == "test"  # e3b0c442 / 2^32 = 0.889
    assert part_of(b"abc") == "validation"  # ba7816bf / 2^32 = 0.728


def test_a_folder_of_classes_and_one_with_a_csv(tmp_path: Path) -> None:
    for name in ("Neutrophil/1.png", "Neutrophil/deep/2.png", "ig/3.png", "loose.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    folder = LabelledFolder(tmp_path)
    found = {picture.name: folder.label(picture.name) for picture in folder.pictures(None)}
    assert {Path(name).name: label for name, label in found.items()} == {
        "1.png": "neutrophil",
        "2.png": "neutrophil",
        "3.png": "immature granulocyte",
    }
    assert sum(len(list(folder.pictures(part))) for part in ("train", "validation", "test")) == 3

    write_csv(tmp_path, "filename,class\nloose.png,ig\n")
    folder = LabelledFolder(tmp_path)
    assert [(Path(p.name).name, folder.label(p.name)) for p in folder.pictures(None)] == [
        ("loose.png", "immature granulocyte")
    ]
    with pytest.raises(DataError, match="no folder of labelled"):
        LabelledFolder(tmp_path / "labels.csv")


def test_kappa_worked_out_by_hand() -> None:
    # Cohen's own kind of example: 20 and 15 agreed, 5 and 10 not; observed 0.7, by chance 0.5.
    kappa = Kappa.of(np.array([[20, 5], [10, 15]]))
    assert kappa is not None
    assert kappa.value == pytest.approx(0.4)
    assert kappa.chance == pytest.approx(0.5)
    assert (kappa.observed.count, kappa.observed.total) == (35, 50)
    # Exact limits of 35 of 50 are 55.39 and 82.14 %.
    assert (kappa.low, kappa.high) == pytest.approx((0.1079, 0.6428), abs=2e-4)


def test_kappa_of_full_agreement_still_has_a_lower_limit() -> None:
    kappa = Kappa.of(np.diag([10, 10]))
    assert kappa is not None
    assert kappa.value == kappa.high == 1
    assert kappa.low == pytest.approx(2 * 0.025 ** (1 / 20) - 1)


@pytest.mark.parametrize("confusion", [[[0, 0], [0, 0]], [[7, 0], [0, 0]]])
def test_kappa_is_not_defined_where_chance_explains_all(confusion: list[list[int]]) -> None:
    assert Kappa.of(np.array(confusion)) is None


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3))
def test_kappa_lies_within_its_limits(confusion: list[list[int]]) -> None:
    kappa = Kappa.of(np.array(confusion))
    if kappa is not None:
        assert kappa.low <= kappa.value + 1e-12
        assert kappa.value <= kappa.high + 1e-12
        assert kappa.high <= 1 + 1e-12
