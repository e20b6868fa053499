"""The outbox's tables: order, limits, what is given up first, what failed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.store import Failure, Store, outbox

NOW = datetime.now(UTC)
KEEP = timedelta(days=7)
PLENTY = 10**9
PICTURE = "data:image/jpeg;base64," + "A" * 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


def put(store: Store, topic: str, *, picture: bool = False) -> int:
    with store.write() as write:
        ticket = write.ticket()
        said: dict[str, object] = {"seq": ticket.seq, "confidence": 0.9931, "operator": "Zoë"}
        if picture:
            said |= {"thumbnail": PICTURE, "saliency": {"rows": 1, "columns": 1, "values": [7]}}
        write.message(ticket, topic, json.dumps(said, ensure_ascii=False))
    return ticket.seq


def tidied(store: Store, *, largest: int = PLENTY, at: datetime = NOW) -> tuple[int, int]:
    """Tidies until there is nothing to do; says how many were forgotten and stripped in all."""
    forgotten = stripped = 0
    while any(done := store.tidy(keep=KEEP, largest=largest, at=at)):
        forgotten, stripped = forgotten + done.forgotten, stripped + done.stripped
    return forgotten, stripped


def pictured(store: Store) -> list[int]:
    return [row.seq for row in store.pending(0, 1000) if "thumbnail" in json.loads(row.payload)]


def sums(store: Store) -> tuple[int, int]:
    """What the totals must say, added up."""
    with closing(sqlite3.connect(store.path)) as connection:
        query = (
            "SELECT count(*) FILTER (WHERE published_at IS NULL), sum(length(CAST(payload AS BLOB))) "
            "FROM outbox JOIN delivery USING (seq)"
        )
        waiting, size = connection.execute(query).fetchone()
    return waiting, size or 0


def test_acknowledged_messages_are_kept_for_a_replay_and_then_deleted(store: Store) -> None:
    for _ in range(3):
        put(store, "cell/accepted")
    store.published([1], at=NOW - KEEP - timedelta(seconds=1))
    store.published([2], at=NOW - KEEP + timedelta(seconds=1))
    assert store.outbox_range(1, 3).missing == ()
    assert tidied(store) == (1, 0)
    assert store.outbox_range(1, 3).missing == ((1, 1),)
    assert store.outbox_state()[:2] == sums(store)


def test_waiting_messages_are_never_deleted_but_lose_their_pictures_when_they_are_old(store: Store) -> None:
    for _ in range(3):
        put(store, "cell/flagged", picture=True)
    put(store, "sample/finished")
    before = [json.loads(row.payload) for row in store.pending(0, 10)]
    said_at = datetime.now(UTC)  # NOW may be hours ago: it is from before the first test
    assert tidied(store, at=said_at + KEEP - timedelta(hours=1)) == (0, 0)
    assert tidied(store, at=said_at + KEEP + timedelta(hours=1)) == (0, 3)
    rows = store.pending(0, 10)
    for old, row in zip(before, rows, strict=True):
        old.pop("thumbnail", None)
        old.pop("saliency", None)
        assert json.loads(row.payload) == old
    assert store.outbox_state().pictures_dropped == 3
    assert store.outbox_state()[:2] == sums(store)
    assert tidied(store, at=said_at + 1000 * KEEP) == (0, 0), "results stay, whatever their age"


def test_what_is_given_up_first_where_there_is_too_much(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 2)
    topics = ["cell/flagged", "cell/accepted", "cell/flagged", "cell/accepted", "review", "cell/accepted"]
    for topic in topics * 2:
        put(store, topic, picture=topic != "review")
    store.published([1, 2, 3], at=NOW)
    size = store.outbox_state().bytes
    each = 1150  # bytes of a message with its picture, about
    assert tidied(store, largest=size) == (0, 0)
    assert tidied(store, largest=size - 3 * each // 2) == (2, 0), "the oldest that the broker has"
    assert store.outbox_range(1, 12).missing == ((1, 2),)
    size = store.outbox_state().bytes
    assert tidied(store, largest=size - 5 * each // 2) == (1, 2), "then pictures of accepted cells"
    assert pictured(store) == [7, 8, 9, 10, 12]
    assert tidied(store, largest=0) == (0, 5)
    assert pictured(store) == []
    assert [row.seq for row in store.pending(0, 20)] == list(range(4, 13)), "and never a result"
    assert store.outbox_state().pictures_dropped == 7
    assert store.outbox_state()[:2] == sums(store)


def test_pictures_of_flagged_cells_outlast_those_of_accepted_ones(store: Store) -> None:
    for topic in ["cell/flagged", "cell/accepted"] * 3:
        put(store, topic, picture=True)
    size = store.outbox_state().bytes
    tidied(store, largest=size // 2 + 600)
    assert pictured(store) == [1, 3, 5]
    tidied(store, largest=size // 2 - 600)
    assert pictured(store) == [3, 5]


def test_an_acknowledgement_from_before_a_replay_does_not_stand_for_it(store: Store) -> None:
    for _ in range(3):
        put(store, "cell/accepted")
    before = store.outbox_state().replays
    store.published([1], at=NOW, replays=before)
    with store.write() as write:
        assert write.replay(1, 2) == 1
    store.published([1, 2], at=NOW, replays=before)
    assert [row.seq for row in store.pending(0, 10)] == [1, 2, 3]
    store.published([1, 2], at=NOW, replays=store.outbox_state().replays)
    assert [row.seq for row in store.pending(0, 10)] == [3]


def test_a_replay_puts_back_what_is_there_with_its_number_and_id(store: Store) -> None:
    for _ in range(6):
        put(store, "cell/accepted")
    sent = store.pending(0, 10)
    store.published([1, 2, 3, 4], at=NOW)
    before = store.outbox_state().replays
    with store.write() as write:
        assert write.replay(2, 5) == 3, "the fifth waits anyway"
    assert store.pending(0, 10) == sent[1:]
    assert store.outbox_state().replays == before + 1
    assert store.outbox_state()[:2] == sums(store)
    with pytest.raises(ZeroDivisionError), store.write() as write:
        write.replay(1, 1)
        _ = 1 / 0
    assert store.pending(0, 1)[0].seq == 2, "it is part of its transaction"


def test_messages_of_some_topics_alone_or_of_all_but_some(store: Store) -> None:
    for topic in ("cell/accepted", "cell/flagged", "review") * 2:
        put(store, topic)
    assert [row.seq for row in store.pending(1, 10, only="cell/accepted")] == [4]
    assert [row.seq for row in store.pending(0, 2, without=("cell/accepted", "review"))] == [2, 5]
    assert [row.seq for row in store.pending(2, 10, without={"review"})] == [4, 5]


def test_since_when_the_oldest_waits(store: Store) -> None:
    assert store.outbox_state().oldest_at is None
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # the database counts whole ones
    put(store, "review")
    oldest = store.outbox_state().oldest_at
    assert oldest is not None
    assert before <= oldest <= datetime.now(UTC)
    store.published([1], at=NOW)
    assert store.outbox_state().oldest_at is None


def test_failures_are_kept_over_restarts_and_forgotten_when_they_are_long_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FAILURES_KEPT", 3)
    day = timedelta(days=1)
    old = Failure("connection", "Server busy", 3, NOW - 9 * day, NOW - 8 * day)
    new = Failure("cell/flagged", "Not authorized", 1, NOW - day, NOW - day)
    with Store(tmp_path / "kept") as store:
        store.keep_failures([old, new], since=NOW - 30 * day)
        store.keep_failures([new._replace(times=5, last_at=NOW)], since=NOW - 30 * day)
    with Store(tmp_path / "kept", shared=True) as store:
        assert [each.times for each in store.failures()] == [5, 3]
        assert (store.failures()[0].first_at, store.failures()[0].last_at) == tuple(
            at.replace(microsecond=at.microsecond // 1000 * 1000) for at in (NOW - day, NOW)
        )
    with Store(tmp_path / "kept") as store:
        store.keep_failures([], since=NOW - 7 * day)
        assert [each.what for each in store.failures()] == ["cell/flagged"]
        many = [new._replace(reason=f"reason {number}", last_at=NOW + number * day) for number in range(9)]
        store.keep_failures(many, since=NOW - 7 * day)
        assert [each.reason for each in store.failures()] == ["reason 8", "reason 7", "reason 6"]
