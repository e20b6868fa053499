"""Commands from the broker's clients: what is done, what is answered and where, what is done once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import jsonschema
import numpy as np
import pytest
from asking import START, Asker
from helpers import MORNING

from edge.commands.requests import COMMANDS
from edge.records import Frame, SkipReason
from edge.store import Store
from edge.wire.payloads import json_schema


@pytest.fixture
def asker(store: Store) -> Asker:
    return Asker(store)


@pytest.fixture
def cell(asker: Asker) -> str:
    """A flagged cell of the open sample S-0."""
    return asker.flagged_cell()


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


@pytest.mark.parametrize("topic", ["answers/7", "lab/leukoscope/bench/reply/me", "lab/other", "ä/ö"])
def test_the_answer_goes_where_it_is_wanted(asker: Asker, topic: str) -> None:
    given, answer, _ = asker.raw("sample/start", json.dumps(START).encode(), response_topic=topic)
    assert (given, answer["ok"]) == (topic, True)


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
