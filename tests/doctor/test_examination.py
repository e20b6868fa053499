"""How an examination runs: one group after the other, each within its time, whatever happens in it."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.cli.doctor import GROUPS as NAMES
from edge.doctor import GROUPS, Mark, Patient, examine
from edge.doctor.finding import Finding, Group, good

Make = Callable[..., Group]
NOBODY = Patient(None, Path("/nowhere.toml"), missing=True)


@pytest.fixture
def group() -> Iterator[Make]:
    """Makes groups of what is to be looked at, each a module of its own."""
    made: list[str] = []

    def make(name: str, look: Callable[[Patient], Iterator[Finding]], limit_s: float = 10) -> Group:
        module = types.ModuleType(f"doctor_trial_{name}")
        module.look = look  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        made.append(module.__name__)
        return Group(name, module.__name__, limit_s)

    yield make
    for name in made:
        del sys.modules[name]


def look_well(_: Patient) -> Iterator[Finding]:
    yield good("one", "is well")
    yield good("two", "is well")


def look_wrong(_: Patient) -> Iterator[Finding]:
    yield good("one", "is well")
    raise ZeroDivisionError("nobody thought of this")


def test_groups_are_looked_at_in_turn_and_a_fault_of_one_does_not_stop_the_next(group: Make) -> None:
    groups = [group("first", look_wrong), group("second", look_well)]
    found = [(each.name, finding.check, finding.mark) for each, finding in examine(NOBODY, groups)]
    assert found == [
        ("first", "one", Mark.GOOD),
        ("first", "examination", Mark.UNSURE),
        ("second", "one", Mark.GOOD),
        ("second", "two", Mark.GOOD),
    ]


def test_what_hangs_is_given_up_and_what_it_found_before_is_kept(group: Make) -> None:
    release = threading.Event()

    def hang(_: Patient) -> Iterator[Finding]:
        yield good("one", "is well")
        release.wait()
        yield good("two", "came too late")

    try:
        groups = [group("hanging", hang, 2), group("next", look_well)]
        found = [(each.name, finding.check, finding.mark) for each, finding in examine(NOBODY, groups)]
    finally:
        release.set()
    assert found[:2] == [("hanging", "one", Mark.GOOD), ("hanging", "time", Mark.BAD)]
    assert [name for name, *_ in found[2:]] == ["next", "next"]


def test_the_command_line_knows_every_group() -> None:
    assert tuple(group.name for group in GROUPS) == NAMES


@pytest.mark.parametrize(
    "known", [group for group in GROUPS if group.name != "runtime"], ids=lambda g: g.name
)
def test_every_group_has_something_to_say_without_a_configuration(known: Group) -> None:
    findings = [finding for _, finding in examine(NOBODY, [known])]
    assert findings
    for finding in findings:
        assert (finding.mark is Mark.GOOD) == (not finding.advice), "what is not well comes with advice"
