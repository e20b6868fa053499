"""Commands from the broker's clients: what is believed, what is answered, what is done once."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from helpers import MORNING, decided
from mutations import mutated_command

from edge.assembly import make_reader
from edge.commands import answerer as module
from edge.commands.answerer import AT_ONCE, Answerer
from edge.commands.desk import Author, Desk
from edge.commands.instrument import Instrument
from edge.commands.requests import COMMANDS, LARGEST_COMMAND, LONGEST_REPLAY
from edge.config import Settings
from edge.inference.bundle import Bundle
from edge.records import Frame, Reason, SkipReason
from edge.store import Store
from edge.wire.messages import Request, Stamp
from edge.wire.payloads import PAYLOADS, json_schema

REPLY = jsonschema.Draft202012Validator(json_schema(PAYLOADS["reply"]))
BUNDLE = Bundle.load("cnn-int8")
SETTINGS = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
START = {"sample": "S-1", "target": 200, "operator": "Ann"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


class Asker:
    """Asks one device."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.desk = Desk(store, device="bench", classes=("neutrophil",), target=100)
        self.instrument = Instrument(make_reader(SETTINGS, BUNDLE), store, view="auto")
        self.answerer = Answerer(self.desk, self.instrument, prefix="lab/leukoscope", stamp=self._stamp)
        self._replies = 0

    def _stamp(self) -> Stamp:
        self._replies += 1
        return Stamp("bench", self.store.boot_id, self.store.last_seq, f"r{self._replies}")

    def raw(self, name: str, payload: bytes, **more: Any) -> tuple[str, dict[str, Any], bytes | None]:
        request = Request(name, payload, len(payload), **more)
        topic, text, correlation, _ = self.answerer.answer(request, at=MORNING)
        answer = json.loads(text)
        REPLY.validate(answer)
        return topic, answer, correlation

    def ask(self, name: str, payload: object = None, **more: Any) -> dict[str, Any]:
        data = b"" if payload is None else json.dumps(payload).encode()
        return self.raw(name, data, **more)[1]

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the database holds."""
        with closing(sqlite3.connect(self.store.path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}


@pytest.fixture
def asker(store: Store) -> Asker:
    return Asker(store)


@pytest.fixture
def cell(asker: Asker) -> str:
    """A flagged cell of the open sample S-0."""
    with asker.store.write() as write:
        sample = asker.desk.start(write, "S-0", target=None, author=Author("", "cli"), at=MORNING)
        ticket = write.ticket()
        flagged = decided("monocyte", reasons=(Reason.AMBIGUOUS,))
        write.cell(ticket, flagged, sample=sample.id, model="m", model_sha256="ab")
    return ticket.id


def test_a_sample_is_started_and_finished(asker: Asker) -> None:
    topic, answer, correlation = asker.raw("sample/start", json.dumps(START).encode(), correlation=b"\x00c1")
    assert (topic, correlation) == ("lab/leukoscope/bench/reply/sample/start", b"\x00c1")
    assert (answer["ok"], answer["command"], answer["request"]) == (True, "sample/start", None)
    assert (answer["sample"]["sample"], answer["sample"]["target"]) == ("S-1", 200)
    assert answer["sample"]["state"] == "open"
    answer = asker.ask("sample/finish", {"id": "q1", "operator": "Bob"})
    assert (answer["ok"], answer["request"], answer["sample"]["state"]) == (True, "q1", "finished")
    assert [(e.action, e.author, e.via) for e in asker.store.audit("S-1")] == [
        ("sample/start", "Ann", "mqtt"),
        ("sample/finish", "Bob", "mqtt"),
    ]


def test_an_empty_payload_finishes_whichever_sample_is_open(asker: Asker) -> None:
    asker.ask("sample/start", START)
    assert asker.ask("sample/finish")["sample"]["sample"] == "S-1"


def test_an_act_without_a_name_has_an_author_too(asker: Asker) -> None:
    asker.ask("sample/start", {"sample": "S-1"})
    asker.ask("sample/finish", {"operator": "  "})
    assert {entry.author for entry in asker.store.audit("S-1")} == {"a client without a name"}
    assert asker.store.samples()[0].operator == ""


def test_a_cell_is_reviewed_and_the_review_withdrawn(asker: Asker, cell: str) -> None:
    answer = asker.ask("review", {"cell": cell, "class": "lymphocyte", "operator": "Ann"})
    assert (answer["ok"], answer["review"]["reviewed"]) == (True, "lymphocyte")
    assert asker.store.tally("S-0").accepted == {"lymphocyte": 1}
    answer = asker.ask("review", {"cell": cell, "undo": True, "operator": "Ann"})
    assert (answer["ok"], answer["review"]["reviewed"], answer["review"]["reading"]) == (True, None, None)
    assert asker.store.tally("S-0").flagged == 1


def test_a_sample_is_signed_and_the_signature_withdrawn(asker: Asker, cell: str) -> None:
    ask = {"sample": "S-0", "operator": "Ann"}
    assert "open" in asker.ask("sample/sign", ask)["error"]["message"]
    asker.ask("sample/finish")
    assert "1 flagged cell waits" in asker.ask("sample/sign", ask)["error"]["message"]
    asker.ask("review", {"cell": cell, "class": "cannot_tell"})
    answer = asker.ask("sample/sign", ask)
    assert (answer["ok"], answer["sample"]["signed_by"]) == (True, "Ann")
    assert answer["sample"]["signed_at"] == "2026-01-31T10:20:30.123Z"
    assert asker.ask("review", {"cell": cell, "undo": True})["error"]["code"] == "refused"
    answer = asker.ask("sample/sign", {**ask, "undo": True})
    assert (answer["ok"], answer["sample"]["signed_by"], answer["sample"]["signed_at"]) == (True, None, None)
    assert asker.ask("review", {"cell": cell, "undo": True})["ok"] is True


@pytest.mark.usefixtures("cell")
def test_a_threshold_is_set_for_the_next_cells_and_after_a_restart(asker: Asker) -> None:
    answer = asker.ask("threshold", {"threshold": 0.95, "operator": "Ann"})
    assert (answer["ok"], answer["threshold"]) == (True, 0.95)
    assert asker.instrument.threshold == 0.95
    assert [(e.action, e.author, e.detail) for e in asker.store.audit("S-0")][1:] == [
        ("threshold", "Ann", "from 0.85 to 0.95")
    ]
    again = Asker(asker.store)
    again.instrument.open(device="bench", at=MORNING)
    assert again.instrument.threshold == 0.95


def test_stored_messages_come_again_as_they_were(asker: Asker) -> None:
    store = asker.store
    asker.ask("sample/start", START)
    with store.write() as write:
        for number in range(1, 11):
            ticket = write.ticket()
            write.message(ticket, "cell/accepted", json.dumps({"number": number, "thumbnail": "data:x"}))
    before = store.pending(0, 100)
    store.published(list(range(1, 11)), at=MORNING)
    store.drop_pictures([4])
    with closing(sqlite3.connect(store.path)) as beside:
        beside.execute("DELETE FROM delivery WHERE seq IN (1, 2, 7)")
        beside.commit()
    answer = asker.ask("replay", {"from_seq": 1, "to_seq": 8, "operator": "Ann"})
    assert (answer["ok"], answer["replay"]) == (
        True,
        {"from_seq": 1, "to_seq": 8, "messages": 5, "missing": [[1, 2], [7, 7]], "missing_messages": 3,
         "without_picture": 1},
    )  # fmt: skip
    again = store.pending(0, 100)
    assert [row.seq for row in again] == [3, 4, 5, 6, 8]
    assert [row for row in again if row.seq != 4] == [row for row in before if row.seq in (3, 5, 6, 8)]
    assert json.loads(again[1].payload) == {"number": 4}
    answer = asker.ask("replay", {"from_seq": 9, "to_seq": 500})
    assert (answer["replay"]["to_seq"], answer["replay"]["messages"]) == (10, 2)
    assert store.last_seq == 10, "a repeat is nothing new"
    rows = asker.state()["audit"]
    assert [row[5:] for row in rows if row[4] == "replay"] == [
        (None, "1 to 8: 5 messages"),
        (None, "9 to 10: 2 messages"),
    ]


def test_a_snapshot_is_answered_and_writes_nothing(asker: Asker) -> None:
    assert asker.ask("snapshot")["error"]["message"] == "the camera has shown nothing yet"
    pixels = np.full((1200, 1600, 3), 230, np.uint8)
    asker.instrument.shown(Frame.of(pixels, 0, MORNING), SkipReason.EMPTY)
    before = asker.state()
    answer = asker.ask("snapshot", {"id": "look"})
    shown = answer["snapshot"]
    assert (answer["ok"], answer["request"], shown["skipped"], shown["boxes"]) == (True, "look", "empty", [])
    assert (shown["width"], shown["height"]) == (960, 720)
    assert asker.state() == before


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


def test_what_commands_say_is_what_their_schemas_allow() -> None:
    for name, sent in (
        ("sample/start", START),
        ("sample/finish", {}),
        ("sample/sign", {"sample": "S-1", "operator": "Ann", "undo": True}),
        ("review", {"cell": "c", "class": "neutrophil"}),
        ("threshold", {"threshold": 0.5}),
        ("replay", {"from_seq": 1, "to_seq": 10}),
        ("snapshot", {"id": "x"}),
    ):
        jsonschema.validate(sent, json_schema(COMMANDS[name], closed=True))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**sent, "more": 1}, json_schema(COMMANDS[name], closed=True))
    assert len(COMMANDS) == 7


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


@pytest.mark.parametrize("topic", ["answers/7", "lab/leukoscope/bench/reply/me", "lab/other", "ä/ö"])
def test_the_answer_goes_where_it_is_wanted(asker: Asker, topic: str) -> None:
    given, answer, _ = asker.raw("sample/start", json.dumps(START).encode(), response_topic=topic)
    assert (given, answer["ok"]) == (topic, True)


@pytest.mark.parametrize(
    "topic",
    ["", "#", "a/+/b", "a/#", "$SYS/x", "$share/g/t", "lab/leukoscope/bench/status", "lab/leukoscope/bench/sample",
     "lab/leukoscope/bench/command/sample/finish", "lab/leukoscope/other/command/review", "x" * 257, "a\x00", "a\nb"],
)  # fmt: skip
def test_but_not_where_the_asker_might_not_publish_or_nobody_can(asker: Asker, topic: str) -> None:
    given, answer, _ = asker.raw("sample/start", json.dumps(START).encode(), response_topic=topic)
    assert given == "lab/leukoscope/bench/reply/sample/start"
    assert (answer["ok"], answer["error"]["code"]) == (False, "malformed")
    assert asker.store.samples() == ()


@pytest.mark.parametrize("more", [{"correlation": b"c1"}, {}], ids=["correlation", "id"])
def test_a_command_that_comes_again_is_done_once_and_answered_the_same(
    asker: Asker, cell: str, more: dict[str, Any]
) -> None:
    name = {} if more else {"id": "request-1"}
    reviewed = {"cell": cell, "class": "neutrophil", **name}
    first = asker.ask("review", reviewed, **more)
    after = asker.state()
    assert asker.ask("review", reviewed, **more) == first
    assert asker.state() == after
    assert asker.ask("sample/finish", name, **more)["ok"] is True, "another command is another request"
    assert asker.ask("sample/finish", name, **more)["ok"] is True
    assert len(asker.store.audit("S-0")) == 3


def test_it_is_still_known_after_a_restart(asker: Asker, store: Store) -> None:
    first = asker.ask("sample/start", {**START, "id": "q"})
    store.close()
    store.open()
    assert asker.ask("sample/start", {**START, "id": "q"}) == first
    assert len(store.audit("S-1")) == 1


def test_a_command_that_says_nothing_of_itself_is_a_new_one_each_time(asker: Asker, cell: str) -> None:
    for _ in range(2):
        assert asker.ask("review", {"cell": cell, "class": "neutrophil"})["ok"] is True
    assert len(asker.store.reviews("S-0")) == 2


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
