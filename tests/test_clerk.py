"""The daemon's part in samples, step by step: a real database, a session that is not connected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from helpers import MORNING, decided

from edge.assembly import make_reader
from edge.commands import clerk as module
from edge.commands.clerk import Clerk
from edge.commands.desk import Author, Desk
from edge.commands.instrument import Instrument
from edge.config import Mqtt, Settings
from edge.inference.bundle import Bundle
from edge.mqtt.session import Session
from edge.store import Store
from edge.wire.messages import Message, Request, Stamp

BUNDLE = Bundle.load("cnn-int8")
SETTINGS = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
AUTHOR = Author("Ann", "cli")


class Bench:
    """A daemon without frames: what is seen and not yet decided is a number of cells."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.desk = Desk(store, device="bench", classes=("basophil", "neutrophil"), target=3)
        self.session = Session(
            Mqtt(), password=None, device="bench", outbox=store, status=lambda _: Message("status", "{}")
        )
        self.clerk = Clerk(
            self.desk,
            Instrument(make_reader(SETTINGS, BUNDLE), store, view="auto"),
            self.session,
            stamp=lambda topic: Stamp("bench", store.boot_id, store.last_seq, topic),
            prefix="leukoscope",
            settle=self.settle,
        )
        self.undecided = 0
        self.clerk.open()

    def settle(self) -> None:
        stored, self.undecided = self.undecided, 0
        self.count(stored)

    def count(self, cells: int) -> None:
        sample = self.clerk.running(MORNING)
        with self.store.write() as write:
            write.sample(sample)
            for _ in range(cells):
                write.cell(write.ticket(), decided(), sample=sample.id, model="m", model_sha256="ab")
            self.desk.counted(write, sample.id, at=MORNING)
        self.clerk.counted(sample)

    def elsewhere(self, act: str) -> None:
        """What another process does."""
        with Store(self.store.path, shared=True) as other:
            desk = Desk(other, device="bench", classes=("neutrophil",), target=3)
            with other.write() as write:
                if act == "finish":
                    desk.finish(write, None, author=AUTHOR, at=datetime.now(UTC))
                else:
                    desk.start(write, act, target=None, author=AUTHOR, at=datetime.now(UTC))

    def published(self) -> list[dict[str, Any]]:
        """What was published beside the outbox since this was asked last."""
        said = []
        while (message := self.session.next_fresh()) is not None:
            assert (message.topic, message.retain) == ("sample", True)
            said.append(json.loads(message.payload))
        return said

    def outbox(self) -> list[tuple[str, dict[str, Any]]]:
        return [(row.topic, json.loads(row.payload)) for row in self.store.pending(0, 100)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "SAMPLE_S", 0.0)
    with Store(tmp_path / "db") as store:
        yield Bench(store)


def test_without_a_sample_cells_go_to_the_day_in_utc(bench: Bench) -> None:
    assert bench.published() == []
    bench.count(2)
    bench.clerk.tick()
    (said,) = bench.published()
    assert (said["sample"], said["named"], said["accepted"]) == ("bench-2026-01-31", False, 2)
    east = datetime(2026, 2, 1, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    assert bench.clerk.running(east).id == "bench-2026-01-31"
    assert bench.clerk.running(MORNING) == bench.store.sample("bench-2026-01-31")
    assert bench.clerk.running(MORNING + timedelta(days=1)).id == "bench-2026-02-01"


def test_what_another_process_starts_and_finishes_is_followed(bench: Bench) -> None:
    bench.elsewhere("S-1")
    assert bench.clerk.running(MORNING).id == "bench-2026-01-31", "until it is noticed"
    bench.clerk.tick()
    assert bench.clerk.running(MORNING).id == "S-1"
    assert [said["sample"] for said in bench.published()] == ["S-1"]
    bench.clerk.tick()
    assert bench.published() == [], "once"
    bench.elsewhere("finish")
    bench.clerk.tick()
    assert bench.clerk.running(MORNING).id == "bench-2026-01-31"
    assert [(said["sample"], said["state"]) for said in bench.published()] == [("S-1", "finished")]


def test_cells_in_view_belong_to_the_sample_that_they_were_seen_in(bench: Bench) -> None:
    bench.undecided = 1
    bench.elsewhere("S-1")
    bench.clerk.tick()
    assert bench.store.tally("bench-2026-01-31").accepted == {"basophil": 1}
    bench.undecided = 2
    bench.elsewhere("finish")
    bench.clerk.tick()
    assert bench.store.tally("S-1").accepted == {"basophil": 2}
    said = [payload for topic, payload in bench.outbox() if topic == "sample/finished"]
    assert [(each["sample"], each["accepted"]) for each in said] == [("S-1", 0), ("S-1", 2)]
    assert said[1]["seq"] > said[0]["seq"]


def test_one_sample_after_another_between_two_looks(bench: Bench) -> None:
    bench.elsewhere("S-1")
    bench.clerk.tick()
    bench.undecided = 1
    bench.elsewhere("finish")
    bench.elsewhere("S-2")
    bench.clerk.tick()
    assert bench.store.tally("S-1").accepted == {"basophil": 1}
    assert bench.clerk.running(MORNING).id == "S-2"


def test_the_target_is_noticed_once(bench: Bench) -> None:
    bench.elsewhere("S-1")
    bench.clerk.tick()
    for cells in (2, 1, 1):
        bench.count(cells)
        bench.clerk.tick()
    reached = [said["reached_at"] for said in bench.published()]
    assert reached[-1] is not None
    assert [topic for topic, _ in bench.outbox()] == ["sample/target"]
    assert bench.outbox()[0][1]["accepted"] == 3


def test_commands_are_carried_out_and_answered(bench: Bench) -> None:
    bench.session.requested(Request("sample/start", b'{"sample": "S-1"}', 17, correlation=b"c"))
    bench.undecided = 1
    bench.clerk.tick()
    reply = bench.session.next_reply()
    assert reply is not None
    assert (reply.topic, reply.correlation) == ("leukoscope/bench/reply/sample/start", b"c")
    assert json.loads(reply.payload)["ok"] is True
    assert bench.clerk.running(MORNING).id == "S-1"
    assert bench.store.tally("bench-2026-01-31").accepted == {"basophil": 1}


def test_after_a_restart_the_open_sample_goes_on(bench: Bench) -> None:
    bench.elsewhere("S-1")
    bench.clerk.tick()
    bench.count(1)
    bench.store.close()
    bench.store.open()
    again = Bench(bench.store)
    assert again.clerk.running(MORNING).id == "S-1"
    assert [(said["sample"], said["accepted"]) for said in again.published()] == [("S-1", 1)]


def test_a_clock_that_jumps_does_not_take_cells_from_the_open_sample(bench: Bench) -> None:
    bench.elsewhere("S-1")
    bench.clerk.tick()
    for moment in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)):
        assert bench.clerk.running(moment).id == "S-1"


def test_a_flood_of_commands_is_refused_in_part_and_keeps_nobody_from_reading(bench: Bench) -> None:
    for _ in range(1000):
        bench.session.requested(Request("sample/finish", b"", 0))
    bench.clerk.tick()
    codes = []
    while (reply := bench.session.next_reply()) is not None:
        codes.append(json.loads(reply.payload)["error"]["code"])
    assert (codes.count("refused"), codes.count("too_frequent"), len(codes)) == (16, 64, 80)
    assert bench.session.next_request() is None
    assert bench.store.samples() == ()


def test_a_finished_sample_is_shown_until_a_cell_comes(bench: Bench) -> None:
    bench.elsewhere("S-1")
    bench.clerk.tick()
    bench.elsewhere("finish")
    bench.clerk.tick()
    assert bench.published()[-1]["sample"] == "S-1"
    bench.count(1)
    bench.clerk.tick()
    assert bench.published()[-1]["sample"] == "bench-2026-01-31"
