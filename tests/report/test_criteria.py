"""Acceptance criteria: read strictly, judged on limits or estimates."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.differential import limits
from edge.errors import ConfigError
from edge.records import Reason
from edge.report.criteria import EXAMPLE, MINIMUM_CELLS, Criteria, Judgement, Outcome, check, judge, read
from edge.statistics.evaluation import Evaluation, evaluate
from edge.statistics.evaluation import Outcome as Read

CLASSES = ("a", "b")


def evaluation(aa: int, ab: int, ba: int, bb: int, *, flagged: int = 0, flagged_wrong: int = 0) -> Evaluation:
    """From a table of two classes, some of the right and of the wrong ones flagged."""
    counts = {("a", "a"): aa, ("a", "b"): ab, ("b", "a"): ba, ("b", "b"): bb}
    outcomes, left = [], {True: flagged, False: flagged_wrong}
    for (label, best), count in counts.items():
        for _ in range(count):
            reasons = (Reason.UNFAMILIAR,) if left[label == best] > 0 else ()
            left[label == best] -= 1
            outcomes.append(Read(label, {name: 0.9 if name == best else 0.1 for name in CLASSES}, reasons))
    return evaluate(outcomes, CLASSES)


def criteria(tmp_path: Path, text: str) -> Criteria:
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return read(path)


def judged(tmp_path: Path, text: str, figures: Evaluation) -> tuple[Judgement, ...]:
    return judge(criteria(tmp_path, text), figures)


def test_the_example_is_valid_and_judged_on_limits() -> None:
    found = read(EXAMPLE)
    assert {c.figure for c in found.criteria} == {"recall", "accepted_and_wrong", "accepted", "kappa"}
    assert {c.judge for c in found.criteria} == {"limit"}
    assert found.minimum_cells == MINIMUM_CELLS
    assert found.sha256 == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()


def test_on_the_limit_a_good_share_of_few_cells_does_not_pass(tmp_path: Path) -> None:
    few, many = evaluation(19, 1, 0, 20), evaluation(950, 50, 0, 1000)
    text = "[recall]\nminimum_percent = 90"
    first, second = judged(tmp_path, text, few)
    assert (first.outcome, first.wanted, first.judge) == (Outcome.UNDECIDED, "recall of a ≥ 90 %", "limit")
    assert second.outcome is Outcome.UNDECIDED  # 20 of 20 reach 83.2 % only
    assert [j.outcome for j in judged(tmp_path, text, many)] == [Outcome.PASS, Outcome.PASS]
    assert judged(tmp_path, text, evaluation(17, 3, 0, 20))[0].outcome is Outcome.FAIL
    assert "95.00 % (75.1–99.9), 19 of 20" in first.found


def test_how_many_cells_would_do_is_said(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, "[accepted_and_wrong]\nmaximum_percent = 1", evaluation(50, 0, 0, 50))
    assert found.outcome is Outcome.UNDECIDED
    assert found.note == "about 370 cells would do at this share"
    assert limits(0, 370).high <= 1 < limits(0, 360).high  # the rule of three, made exact


def test_on_the_estimate_the_figure_itself_counts_but_too_few_cells_tell_nothing(tmp_path: Path) -> None:
    text = 'judged_on = "estimate"\nminimum_cells = 20\n[recall]\nminimum_percent = 95'
    first, second = judged(tmp_path, text, evaluation(19, 1, 0, 10))
    assert first.outcome is Outcome.PASS
    assert (second.outcome, second.note) == (Outcome.UNDECIDED, "20 cells are asked for")
    assert judged(tmp_path, text, evaluation(18, 2, 0, 10))[0].outcome is Outcome.FAIL


def test_a_table_may_be_judged_otherwise_and_a_class_have_its_own_bar(tmp_path: Path) -> None:
    text = (
        '[recall]\nminimum_percent = 99\njudged_on = "estimate"\n[recall.classes]\nb = 50\n'
        "[accepted]\nminimum_percent = 90\n"
    )
    found = judged(tmp_path, text, evaluation(98, 2, 40, 60, flagged=5))
    assert [(j.wanted, j.judge, j.outcome) for j in found] == [
        ("recall of b ≥ 50 %", "estimate", Outcome.PASS),
        ("recall of a ≥ 99 %", "estimate", Outcome.FAIL),
        ("accepted ≥ 90 %", "limit", Outcome.PASS),
    ]


def test_flagged_cells_count_for_recall_and_not_as_wrong(tmp_path: Path) -> None:
    figures = evaluation(500, 20, 0, 500, flagged_wrong=20)
    text = "[accepted_and_wrong]\nmaximum_percent = 1\n[recall.classes]\na = 99"
    assert [j.outcome for j in judged(tmp_path, text, figures)] == [Outcome.FAIL, Outcome.PASS]


def test_kappa_is_judged_by_its_limits(tmp_path: Path) -> None:
    text = "[kappa]\nminimum = 0.9"
    (found,) = judged(tmp_path, text, evaluation(500, 10, 10, 500))
    assert (found.outcome, found.wanted) == (Outcome.PASS, "Cohen's kappa ≥ 0.9")
    assert found.found.startswith("0.961 (")
    (found,) = judged(tmp_path, text, evaluation(10, 0, 0, 10))
    assert found.outcome is Outcome.UNDECIDED
    (found,) = judged(tmp_path, text, evaluation(40, 10, 10, 40))
    assert found.outcome is Outcome.FAIL


def test_a_class_without_cells_leaves_its_criterion_open(tmp_path: Path) -> None:
    text = '[recall]\nminimum_percent = 0\n[kappa]\nminimum = -1\njudged_on = "estimate"'
    first, second, kappa = judged(tmp_path, text, evaluation(50, 0, 0, 0))
    assert first.outcome is Outcome.PASS
    assert (second.outcome, second.note) == (Outcome.UNDECIDED, "there are none in the data")
    assert (kappa.outcome, kappa.found) == (Outcome.UNDECIDED, "not defined")


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100), st.booleans())
def test_a_pass_on_the_limit_is_a_pass_on_the_estimate(
    tmp_path_factory: pytest.TempPathFactory, right: int, wrong: int, bar: int, low: bool
) -> None:
    table = "[recall.classes]\na = {}" if low else "[accepted_and_wrong]\nmaximum_percent = {}"
    figures = evaluation(right, wrong, 0, 0)
    path = tmp_path_factory.getbasetemp() / "site.toml"
    outcomes = []
    for basis in ("limit", "estimate"):
        path.write_text(f'judged_on = "{basis}"\nminimum_cells = 1\n' + table.format(bar), "utf-8")
        outcomes.append(judge(read(path), figures)[0].outcome)
    on_limit, on_estimate = outcomes
    if on_limit is Outcome.PASS:
        assert on_estimate is Outcome.PASS
    if right + wrong:
        assert (on_limit is Outcome.FAIL) == (on_estimate is Outcome.FAIL)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "sets no criterion; the tables are [recall], [accepted_and_wrong], [accepted], [kappa]"),
        ("[kapa]\nminimum = 1", "kapa is unknown; did you mean kappa?"),
        ("[kappa]\nmin = 1", "[kappa] min is unknown; did you mean minimum?"),
        ("[kappa]", "[kappa] minimum is missing"),
        ("[kappa]\nminimum = 1.5", "[kappa] minimum is 1.5 and must be a number from -1 to 1"),
        ("[kappa]\nminimum = nan", "[kappa] minimum is nan and must be a number from -1 to 1"),
        ("[kappa]\nminimum = true", "[kappa] minimum is True and must be a number"),
        ('[accepted]\nminimum_percent = "80"', "[accepted] minimum_percent is '80' and must be a number"),
        ("[accepted]\nmaximum_percent = 80", "did you mean minimum_percent?"),
        ("accepted = 80", "accepted must be a table: a line [accepted], and below it minimum_percent"),
        ("[recall]\nclasses = 3", "[recall] classes must be a table"),
        ("[recall.classes]\na = 101", "[recall.classes] a is 101 and must be a number from 0 to 100"),
        ('judged_on = "luck"\n[kappa]\nminimum = 0', "judged_on is 'luck' and must be 'limit' or 'estimate'"),
        ("[kappa]\nminimum = 0\njudged_on = 1", "[kappa] judged_on is 1 and must be"),
        ("minimum_cells = 0\n[kappa]\nminimum = 0", "minimum_cells is 0 and must be a whole number from 1"),
        ("minimum_cells = 1.5\n[kappa]\nminimum = 0", "minimum_cells is 1.5"),
        ("[kappa", "not TOML"),
    ],
)
def test_a_mistake_is_said_in_a_sentence_that_names_file_and_key(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        criteria(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "site.toml"))
    assert why in str(caught.value)


def test_a_class_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    found = criteria(tmp_path, "[recall.classes]\nneutrophyl = 90")
    with pytest.raises(ConfigError, match=r"neutrophyl is no class of the model; did you mean neutrophil\?"):
        check(found, ("neutrophil", "monocyte"))
    with pytest.raises(ConfigError, match="is no class of the model; its classes: a, b"):
        check(found, CLASSES)
    check(found, ("neutrophyl",))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not TOML"):
        read(tmp_path / "latin.toml")
