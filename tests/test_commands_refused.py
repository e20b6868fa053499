"""Commands that cannot be carried out: each is answered, by a code, and leaves the database as it was."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from asking import START, Asker
from helpers import MORNING
from mutations import mutated_command

from edge.commands import answerer as module
from edge.commands.answerer import AT_ONCE
from edge.commands.requests import COMMANDS, LARGEST_COMMAND, LONGEST_REPLAY
from edge.records import Frame, SkipReason
from edge.store import Store


@pytest.fixture
def asker(store: Store) -> Asker:
    return Asker(store)


@pytest.fixture
def cell(asker: Asker) -> str:
    """A flagged cell of the open sample S-0."""
    return asker.flagged_cell()


@pytest.mark.parametrize(
    ("name", "payload", "at_once"),
    [
        ("snapshot", {}, 2),
        ("replay", {"from_seq": 1, "to_seq": 2}, 2),
        ("threshold", {"threshold": 0.9}, AT_ONCE),
        ("sample/finish", {}, AT_ONCE),
    ],
)
def test_too_often_is_answered_and_changes_nothing(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, name: str, payload: object, at_once: int
) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: 1000.0)
    for _ in range(at_once):
        answer = asker.ask(name, payload)
        assert answer["ok"] or answer["error"]["code"] == "refused"
    before = asker.state()
    for _ in range(3):
        assert asker.ask(name, payload)["error"]["code"] == "too_frequent"
    assert asker.state() == before
    assert asker.ask(name, {"nonsense": 1})["error"]["code"] == "malformed"
    monkeypatch.setattr(module.time, "monotonic", lambda: 1002.0)
    answer = asker.ask(name, payload)
    assert answer["ok"] or answer["error"]["code"] == "refused"


REFUSED = [
    ("sample/start", b"{}", "malformed"),
    ("sample/start", b"", "malformed"),
    ("sample/start", b"[]", "malformed"),
    ("sample/start", b"null", "malformed"),
    ("sample/start", b'"S-1"', "malformed"),
    ("sample/start", b"\xff\xfe", "malformed"),
    ("sample/start", b'{"sample": "S-1"', "malformed"),
    ("sample/start", b'{"sample": "S-1"}}', "malformed"),
    ("sample/start", b"[" * 4000, "malformed"),
    ("sample/start", b'{"a":' * 600, "malformed"),
    ("sample/start", b'{"sample": 1}', "malformed"),
    ("sample/start", b'{"sample": null}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "target": "200"}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "target": 200.5}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "target": true}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "target": 9}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "target": 1e400}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "target": NaN}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "colour": "red"}', "malformed"),
    ("sample/start", b'{"sample": "S-1", "id": ""}', "malformed"),
    ("sample/start", b'{"sample": "\\ud800"}', "malformed"),
    ("sample/start", b'{"sample": "' + b"x" * 65 + b'"}', "malformed"),
    ("sample/start", b'{"sample": "../S"}', "refused"),
    ("sample/start", b'{"sample": "S-1", "operator": "a\\u001b[31m"}', "refused"),
    ("sample/start", b'{"sample": "S-1", "operator": "' + b"x" * 65 + b'"}', "malformed"),
    ("sample/start", b'{"sample": "S-1"}' + b" " * LARGEST_COMMAND, "oversized"),
    ("sample/finish", b'{"sample": "S-9"}', "refused"),
    ("sample/finish", b"finish", "malformed"),
    ("review", b'{"cell": "c"}', "malformed"),
    ("review", b'{"cell": "c", "class": "neutrophil", "undo": true}', "malformed"),
    ("review", b'{"cell": "c", "undo": false}', "malformed"),
    ("review", b'{"cell": "c", "class": "neutrophil"}', "refused"),
    ("sample/sign", b'{"sample": "S-1"}', "malformed"),
    ("sample/sign", b'{"sample": "S-1", "operator": ""}', "malformed"),
    ("sample/sign", b'{"sample": "S-1", "operator": " "}', "refused"),
    ("sample/sign", b'{"sample": "S-1", "operator": "Ann", "undo": false}', "malformed"),
    ("sample/sign", b'{"sample": "S-1", "operator": "Ann", "undo": true}', "refused"),
    ("threshold", b"{}", "malformed"),
    ("threshold", b'{"threshold": 0.49}', "malformed"),
    ("threshold", b'{"threshold": 0.991}', "malformed"),
    ("threshold", b'{"threshold": 1}', "malformed"),
    ("threshold", b'{"threshold": NaN}', "malformed"),
    ("threshold", b'{"threshold": "0.9"}', "malformed"),
    ("threshold", b'{"threshold": 0.9, "operator": "a\\nb"}', "refused"),
    ("replay", b"{}", "malformed"),
    ("replay", b'{"from_seq": 0, "to_seq": 1}', "malformed"),
    ("replay", b'{"from_seq": 2, "to_seq": 1}', "malformed"),
    ("replay", b'{"from_seq": 1, "to_seq": 1.5}', "malformed"),
    ("replay", b'{"from_seq": 1, "to_seq": %d}' % (LONGEST_REPLAY + 1), "malformed"),
    ("replay", b'{"from_seq": 1, "to_seq": 1e300}', "malformed"),
    ("replay", b'{"from_seq": %d, "to_seq": %d}' % (2**63, 2**63), "malformed"),
    ("replay", b'{"from_seq": 1, "to_seq": 1}', "refused"),
    ("snapshot", b"{}", "refused"),
    ("snapshot", b'{"width": 4}', "malformed"),
    ("snapshot", b"\xff\xd8", "malformed"),
    ("sample", b"{}", "unknown"),
    ("sample/stop", b"{}", "unknown"),
    ("", b"{}", "unknown"),
    ("SAMPLE/START", b'{"sample": "S-1"}', "unknown"),
    ("../../status", b"{}", "unknown"),
    ("x" * 60_000, b"{}", "unknown"),
    ("a\u202eb", b"{}", "unknown"),
]


@pytest.mark.parametrize(("name", "payload", "code"), REFUSED)
def test_what_cannot_be_carried_out_is_answered_and_changes_nothing(
    asker: Asker, name: str, payload: bytes, code: str
) -> None:
    before = asker.state()
    topic, answer, correlation = asker.raw(name, payload, correlation=b"mine")
    assert answer["ok"] is False
    assert answer["error"]["code"] == code
    assert correlation == b"mine"
    assert len(json.dumps(answer)) < 1500
    known = name in COMMANDS or name in ("sample", "sample/stop")
    assert topic == "lab/leukoscope/bench/reply/" + (name if known else "unknown")
    assert asker.state() == before


def test_a_retained_command_would_come_again_at_each_connection_and_is_refused(asker: Asker) -> None:
    assert asker.ask("sample/start", START, retained=True)["error"]["code"] == "retained"
    assert asker.store.samples() == ()


def test_too_many_at_once_are_refused(asker: Asker) -> None:
    assert asker.ask("sample/start", START, busy=True)["error"]["code"] == "too_frequent"
    assert asker.store.samples() == ()


def test_correlation_data_of_any_size_is_not_sent_back(asker: Asker) -> None:
    _, answer, correlation = asker.raw("sample/start", json.dumps(START).encode(), correlation=b"x" * 60_000)
    assert (answer["error"]["code"], correlation) == ("oversized", None)
    assert asker.store.samples() == ()


@pytest.mark.parametrize(
    "topic",
    ["", "#", "a/+/b", "a/#", "$SYS/x", "$share/g/t", "lab/leukoscope/bench/status", "lab/leukoscope/bench/sample",
     "lab/leukoscope/bench/command/sample/finish", "lab/leukoscope/other/command/review", "x" * 257, "a\x00", "a\nb"],
)  # fmt: skip
def test_no_answer_goes_where_the_asker_might_not_publish_or_nobody_can(asker: Asker, topic: str) -> None:
    given, answer, _ = asker.raw("sample/start", json.dumps(START).encode(), response_topic=topic)
    assert given == "lab/leukoscope/bench/reply/sample/start"
    assert (answer["ok"], answer["error"]["code"]) == (False, "malformed")
    assert asker.store.samples() == ()


def test_what_was_refused_can_be_asked_again(asker: Asker) -> None:
    assert asker.ask("sample/finish", {"id": "q"})["error"]["code"] == "refused"
    asker.ask("sample/start", START)
    assert asker.ask("sample/finish", {"id": "q"})["ok"] is True


def test_refusals_do_not_fill_the_log(
    asker: Asker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 3600.0)
    for _ in range(50):
        asker.ask("nonsense")
    assert caplog.text.count("was refused") == 1


def test_hundreds_of_mutated_commands_change_nothing_but_what_still_means_something(
    asker: Asker, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer holds by its schema; what is not `ok` leaves the database as it was. More: bench/fuzz.py."""
    rng = random.Random(11)
    asker.instrument.shown(Frame.of(np.full((60, 80, 3), 230, np.uint8), 0, MORNING), SkipReason.EMPTY)
    good = [
        (name, json.dumps(told).encode())
        for name, told in (
            ("sample/start", {**START, "id": "q"}),
            ("sample/finish", {"sample": "S-9", "operator": "Ann"}),
            ("sample/sign", {"sample": "S-0", "operator": "Ann"}),
            ("review", {"cell": cell, "class": "neutrophil", "operator": "Ann"}),
            ("review", {"cell": cell, "undo": True}),
            ("threshold", {"threshold": 0.9, "operator": "Ann"}),
            ("replay", {"from_seq": 1, "to_seq": 1}),
            ("snapshot", {"id": "look"}),
        )
    ]
    assert {name for name, _ in good} == set(COMMANDS)
    clock = itertools.count(1000)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))  # never too often
    codes: Counter[str] = Counter()
    with closing(sqlite3.connect(asker.store.path)) as watching:
        for _ in range(700):
            name, payload = rng.choice(good)
            before = watching.execute("PRAGMA data_version").fetchone()
            answer = asker.raw(name, mutated_command(payload, rng, [each for _, each in good]))[1]
            after = watching.execute("PRAGMA data_version").fetchone()
            changes = answer["ok"] and name != "snapshot"
            assert (after != before) == changes, "the database was written to where it was done, only"
            codes["ok" if answer["ok"] else answer["error"]["code"]] += 1
    assert set(codes) == {"ok", "malformed", "oversized", "refused"}
    assert codes["ok"] < 100
