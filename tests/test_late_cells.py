"""Cells that are stored after somebody has finished their sample: its result is said again, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import MORNING, decided

from edge.assembly import make_reader
from edge.commands.clerk import Clerk
from edge.commands.desk import Author, Desk
from edge.commands.instrument import Instrument
from edge.config import Mqtt, Settings
from edge.health.gauges import Gauges
from edge.inference.bundle import Bundle
from edge.mqtt.session import Session
from edge.pipeline import Reading
from edge.recorder import Recorder
from edge.records import Counted, Frame, Keyframe, Place
from edge.store import Store
from edge.wire.messages import Message, Stamp

BUNDLE = Bundle.load("cnn-int8")
ANN = Author("Ann", "cli")


class Counter:
    """Decides a cell with each frame, and as many at the end as are `pending`."""

    def __init__(self) -> None:
        self.pending = 0
        self.begun: list[tuple[int, int]] = []  # keyframes and places that it was begun with

    def begin(self, keyframes: object, counted: object) -> None:
        self.begun.append((len(tuple(keyframes)), len(tuple(counted))))  # type: ignore[arg-type]

    def read(self, frame: Frame) -> Reading:
        decision = decided(captured_at=frame.captured_at)
        keyframe = Keyframe(0, 0.0, 0.0, frame.image[:4, :4, 0])
        place = Place(0, 100.0 * frame.number, 50.0)
        return Reading(
            (Counted(decision, place, 1, frame.captured_at, frame.captured_at),), None, (keyframe,)
        )

    def finish(self) -> tuple[Counted, ...]:
        pending, self.pending = self.pending, 0
        return tuple(Counted(decided(), None, 1, MORNING, MORNING) for _ in range(pending))


class Bench:
    """The daemon's thread, one step at a time."""

    def __init__(self, store: Store) -> None:
        self.store, self.counter = store, Counter()
        settings = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
        reader = make_reader(settings, BUNDLE)
        instrument = Instrument(reader, store, view="auto")
        session = Session(
            Mqtt(), password=None, device="bench", outbox=store, status=lambda _: Message("status", "{}")
        )
        self.desk = Desk(store, device="bench", classes=BUNDLE.classes, target=100)
        self.recorder = Recorder(
            self.counter,
            reader,
            store,
            desk=self.desk,
            thumbnails="none",
            gauges=Gauges(),
            instrument=instrument,
            stored=lambda sample: self.clerk.counted(sample),
            insist=lambda act: act(),
        )
        self.clerk = Clerk(
            self.desk,
            instrument,
            session,
            stamp=lambda topic: Stamp("bench", store.boot_id, store.last_seq, topic),
            prefix="leukoscope",
            settle=self.recorder.settle,
        )
        self.clerk.open()
        self.shown = 0

    def show(self, at: datetime = MORNING) -> None:
        """A frame, as the daemon's loop takes it; the clerk looks after other things later."""
        image = decided().cell.field.frame.image
        self.recorder.take(self.clerk.running(at), Frame.of(image, self.shown, at))
        self.shown += 1

    def elsewhere(self, act: str) -> None:
        """Another process does something with S-1."""
        with Store(self.store.path, shared=True) as other, other.write() as write:
            desk = Desk(other, device="bench", classes=BUNDLE.classes, target=100)
            if act == "start":
                desk.start(write, "S-1", target=None, author=ANN, at=datetime.now(UTC))
            elif act == "finish":
                desk.finish(write, None, author=ANN, at=datetime.now(UTC))
            else:
                desk.sign(write, "S-1", author=ANN, at=datetime.now(UTC))

    def finished(self) -> list[dict[str, Any]]:
        rows = self.store.pending(0, 100)
        return [json.loads(row.payload) for row in rows if row.topic == "sample/finished"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Store(tmp_path / "db") as store:
        made = Bench(store)
        made.elsewhere("start")
        made.clerk.tick()
        made.show()
        yield made


def test_a_frame_that_is_read_before_the_finish_is_noticed(bench: Bench) -> None:
    bench.elsewhere("finish")
    bench.show()
    bench.clerk.tick()
    assert bench.store.tally("S-1").accepted == {"basophil": 2}
    assert [said["accepted"] for said in bench.finished()] == [1, 2]
    assert bench.clerk.running(MORNING).id == "bench-2026-01-31"


def test_a_program_that_ends_as_soon_as_late_cells_are_stored_has_said_so(bench: Bench) -> None:
    bench.elsewhere("finish")
    bench.counter.pending = 2
    bench.recorder.settle()  # and then the power fails
    said = bench.finished()
    assert [each["accepted"] for each in said] == [1, 3]
    cells = [row.seq for row in bench.store.pending(0, 100) if row.topic.startswith("cell/")]
    assert said[-1]["seq"] > max(cells), "the result comes after the cells that it counts"


def test_a_signature_that_came_before_late_cells_is_withdrawn_with_them(bench: Bench) -> None:
    bench.elsewhere("finish")
    bench.elsewhere("sign")
    bench.show()
    sample = bench.store.sample("S-1")
    assert sample is not None
    assert sample.signed_by is None
    assert [(said["accepted"], said["signed_by"]) for said in bench.finished()] == [
        (1, None),
        (1, "Ann"),
        (2, None),
    ]
    assert [entry.action for entry in bench.store.audit("S-1")][-2:] == ["sample/sign", "sample/sign"]


def test_nothing_is_said_again_where_nothing_was_late(bench: Bench) -> None:
    bench.elsewhere("finish")
    bench.clerk.tick()
    bench.show()
    bench.clerk.tick()
    assert [said["accepted"] for said in bench.finished()] == [1]


def test_at_midnight_the_slide_stays_under_the_microscope(tmp_path: Path) -> None:
    """A device's day is no slide: what was counted before midnight is known after it."""
    with Store(tmp_path / "db") as store:
        bench = Bench(store)
        late = MORNING.replace(hour=23, minute=59, second=59)
        bench.show(late)
        bench.show(late)
        bench.show(late + timedelta(seconds=2))
        assert bench.counter.begun == [(0, 0), (2, 2)]
        bench.show(late + timedelta(seconds=3))
        assert bench.store.tally("bench-2026-01-31").accepted == {"basophil": 2}
        assert bench.store.tally("bench-2026-02-01").accepted == {"basophil": 2}
        # A sample that somebody starts is another slide, and so is what comes after it.
        bench.elsewhere("start")
        bench.clerk.tick()
        bench.show(late + timedelta(seconds=4))
        bench.elsewhere("finish")
        bench.clerk.tick()
        bench.show(late + timedelta(seconds=5))
        assert bench.counter.begun[2:] == [(0, 0), (2, 2)], "the day goes on with what is known of it"
        # A clock that is set back leads to a day that has a slide of its own.
        bench.show(late)
        assert bench.counter.begun[-1] == (2, 2)
