"""Two samples and two readers: against SciPy, against the truth in simulated samples, and by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mirrored import Bench, bench
from scipy import stats

from dashboard.agreement import agree, compare, difference_limits, first_and_second, fisher, holm, readers_of
from dashboard.mirror import Mirror
from dashboard.samplereport import FORMATS, Format, gather, lacking, rendered
from dashboard.samplestable import csv_text
from edge.differential import CANNOT_TELL, differential, limits
from edge.records import Reason
from edge.report import sample as on_device
from edge.report.export import json_text

LOW = Reason.LOW_CONFIDENCE
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with Mirror(tmp_path / "mirror.sqlite") as opened:
        yield opened


def two_readers(device: Bench) -> list[str]:
    """Six flagged basophils that Ann and Bob read, four of them alike."""
    device.start("S-1")
    device.cells("S-1", ["neutrophil"] * 20 + ["monocyte"] * 5)
    flagged = device.cells("S-1", ["basophil"] * 6, LOW)
    anns = ["basophil", "basophil", "monocyte", "monocyte", "basophil", CANNOT_TELL]
    bobs = ["basophil", "basophil", "monocyte", "monocyte", "monocyte", "basophil"]
    for cell, ann, bob in zip(flagged, anns, bobs, strict=True):
        device.review(cell, ann, "Ann")
        device.review(cell, bob, "Bob")
    device.review(flagged[0], "monocyte", "Ann")  # thinks again …
    device.review(flagged[0], None, "Ann")  # … and better of it
    device.say("S-1")
    return flagged


@pytest.mark.parametrize(
    "table", [(3, 97, 9, 91), (0, 100, 6, 94), (60, 40, 45, 55), (0, 0, 3, 4), (5, 0, 5, 0), (1, 0, 0, 1)]
)
def test_fishers_p_is_scipys(table: tuple[int, int, int, int]) -> None:
    expected = stats.fisher_exact([table[:2], table[2:]])[1]
    assert fisher(*table) == pytest.approx(expected, rel=1e-6)


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize(("first", "second"), [(0.6, 0.5), (0.06, 0.06), (0.01, 0.08), (0.5, 0.55)])
def test_limits_of_a_difference_hold_the_truth(first: float, second: float) -> None:
    """Of all pairs of samples of 50 cells, each at its probability: none is left to chance."""
    cells = 50
    bounds = [limits(count, cells) for count in range(cells + 1)]
    chances = [stats.binom.pmf(range(cells + 1), cells, share) for share in (first, second)]
    held = 0.0
    for a, b in itertools.product(range(cells + 1), repeat=2):
        between = difference_limits(100 * a / cells, bounds[a], 100 * b / cells, bounds[b])
        held += chances[0][a] * chances[1][b] * (between.low <= 100 * (second - first) <= between.high)
    assert held >= 0.95


def test_a_class_that_only_one_sample_has_and_a_sample_without_cells() -> None:
    one = differential({"neutrophil": 50, "monocyte": 50}, flagged=0)
    other = differential({"neutrophil": 90, "other_white_cell": 10}, flagged=0)
    by_class = {each.cell_class: each for each in compare(one, other)}
    assert list(by_class) == ["neutrophil", "monocyte", "other_white_cell"]
    assert by_class["neutrophil"].points == pytest.approx(40)
    assert by_class["monocyte"].counts == (50, 0)
    assert by_class["other_white_cell"].percents == (0.0, 10.0)
    empty = compare(one, differential({"neutrophil": 0}, flagged=3))
    assert [(each.points, each.between, each.p) for each in empty] == [(None, None, 1.0)] * 2


def test_two_persons_over_the_cells_that_both_have_read(device: Bench, mirror: Mirror) -> None:
    flagged = two_readers(device)
    mirror.apply_all(device.sent)
    readings = mirror.readings_of("bench-1", "S-1")
    cells = mirror.cells("bench-1", "S-1", limit=1000)
    assert readers_of(readings) == ("Ann", "Bob")
    both = agree(cells, readings, "Ann", "Bob")
    assert both.classes == ("basophil", "cannot_tell", "monocyte")
    assert both.confusion == ((2, 0, 1), (1, 0, 0), (0, 0, 2))
    assert both.differing == (flagged[4], flagged[5])
    assert both.kappa is not None
    assert both.kappa.value == pytest.approx((4 / 6 - 15 / 36) / (1 - 15 / 36))
    with_device = agree(cells, readings, None, "Bob")
    assert with_device.classes == ("basophil", "monocyte")
    assert with_device.confusion == ((3, 3), (0, 0))
    assert agree(cells, readings, "Ann", "Nobody").kappa is None


def test_first_and_second_reading(device: Bench, mirror: Mirror) -> None:
    device.start("S-1")
    alone, changed, taken_back = device.cells("S-1", ["basophil"] * 3, LOW)
    device.review(alone, "basophil", "Ann")
    device.review(alone, "monocyte", "Ann")
    device.review(changed, "basophil", "Ann")
    device.review(changed, "monocyte", "Bob")
    device.review(changed, "eosinophil", "Cem")
    device.review(taken_back, "monocyte", "Ann")
    device.review(taken_back, "basophil", "Bob")
    device.review(taken_back, None, "Bob")
    mirror.apply_all(device.sent)
    pairs = {
        cell: [each and (each.operator, each.reading) for each in first_and_second(said)]
        for cell, said in mirror.readings_of("bench-1", "S-1").items()
    }
    assert pairs == {
        alone: [("Ann", "basophil"), None],
        changed: [("Ann", "basophil"), ("Cem", "eosinophil")],
        taken_back: [("Ann", "monocyte"), None],
    }
    assert first_and_second(()) == (None, None)


def test_the_report_is_the_devices_own(device: Bench, mirror: Mirror) -> None:
    two_readers(device)
    device.finish()
    mirror.apply_all(device.sent)
    here = json.loads(json_text(gather(mirror, "bench-1", "S-1", made_at=NOW)))
    there = json.loads(json_text(on_device.gather(device.store, "S-1", device="bench-1", made_at=NOW)))
    # A signature's withdrawal and whose word finished a sample are in no message; all that counts is.
    audits = here.pop("audit"), there.pop("audit")
    assert here == there
    assert [each["action"] for each in audits[0] if each["action"] != "review"] == [
        "sample/start",
        "sample/finish",
    ]
    assert len(audits[0]) == len(audits[1])


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_the_report_holds_its_result(device: Bench, mirror: Mirror, form: Format) -> None:
    two_readers(device)
    mirror.apply_all(device.sent)
    file = rendered(gather(mirror, "bench-1", "S-1", made_at=NOW), form, mirror, "Incomplete: 3 messages")
    assert len(file) > 500
    if form == "pdf":
        assert file.startswith(b"%PDF")
    else:
        assert b"S-1" in file
    if form == "html":
        assert b"Incomplete: 3 messages" in file
        assert file.count(b"data:image/jpeg") >= 25


def test_a_report_of_a_copy_with_gaps_says_so(device: Bench, mirror: Mirror) -> None:
    two_readers(device)
    mirror.apply_all(device.sent[:5] + device.sent[8:])
    assert "3 messages of bench-1 did not arrive" in lacking(mirror, "bench-1", "S-1")
    mirror.apply_all(device.sent)
    assert lacking(mirror, "bench-1", "S-1") == ""


def test_the_list_as_csv_runs_nothing(device: Bench, mirror: Mirror) -> None:
    device.start("S-1", operator="=HYPERLINK(1)")
    device.cells("S-1", ["neutrophil"] * 3)
    device.say("S-1")
    mirror.apply_all(device.sent)
    text = csv_text(mirror.search())
    assert '"\'=HYPERLINK(1)"' in text
    header, line = text.removeprefix("\ufeff").split("\r\n")[:2]
    assert header.split(",")[-2:] == ['"neutrophil"', '"neutrophil_percent"']
    assert line.split(",")[-2:] == ['"3"', '"100.0"']
