"""What the daemon counts of itself, in a real run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from helpers import MORNING, Subscriber, decided, until

from edge.config import Mqtt, Settings
from edge.daemon import Daemon
from edge.health import machine
from edge.health.gauges import Gauges, report_conditions
from edge.health.problems import Health
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.session import Session
from edge.pipeline import Reading
from edge.records import Counted, Reason, SkipReason
from edge.sources.folder import FolderSource
from edge.sources.framequeue import FrameQueue
from edge.store import Store
from edge.wire.messages import Metrics, Model, Stamp, status_message
from edge.wire.payloads import PAYLOADS, json_schema


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's file with a board's throttling bits."""
    monkeypatch.setattr(machine, "SYS", tmp_path / "sys")
    monkeypatch.setattr(machine, "FRESH_S", 0.0)
    file = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    file.write_text("0\n")
    machine.forget()
    return file


def test_being_held_back_is_a_problem_while_it_lasts(board: Path) -> None:
    health = Health()
    report_conditions(health)
    assert not health.problems()
    board.write_text("50005\n")
    report_conditions(health)
    (problem,) = health.problems()
    assert problem.code == "throttled"
    assert "under voltage, throttled" in problem.text
    assert "power supply" in problem.text
    board.write_text("8\n")
    report_conditions(health)
    assert "cool it" in health.problems()[0].text
    board.write_text("50000\n")
    report_conditions(health)
    assert not health.problems()


def test_counts_times_and_rates(tmp_path: Path) -> None:
    gauges = Gauges()
    cells = [
        decided("neutrophil"),
        decided("neutrophil", reasons=(Reason.UNFAMILIAR,), index=1),
        decided("basophil", index=2),
    ]
    counted = tuple(Counted(decision, None, 1, MORNING, MORNING) for decision in cells)
    with Store(tmp_path / "db") as store:
        session = Session(
            Mqtt(),
            password=None,
            device="bench",
            outbox=store,
            status=lambda state: status_message(
                Stamp("bench", "b", 0, "b"), state, version="0.1.0", model=Model("m", "a" * 64, 0.85)
            ),
        )

        def measured() -> Metrics:
            return gauges.metrics(
                queue=FrameQueue(4, live=True),
                store=store,
                source=FolderSource(tmp_path, store),
                session=session,
                health=Health(),
            )

        with gauges.reading():
            pass
        gauges.read(Reading(()))
        gauges.read(Reading((), SkipReason.MOVING))
        gauges.stored(counted, at=MORNING + timedelta(seconds=2))
        first = measured()
        second = measured()
        with store.write() as write:
            write.message(write.ticket(), "cell/accepted", "{}")
        third = measured()
    assert (first.frames, first.cells, first.skipped) == (2, 3, {"moving": 1})
    assert {name: (each.accepted, each.flagged) for name, each in first.decided.items()} == {
        "basophil": (1, 0),
        "neutrophil": (1, 1),
    }
    assert first.timings["latency"].count == 3
    assert first.timings["latency"].total_s == 6.0
    assert first.timings["latency"].recent_ms == 2000.0
    assert first.timings["inference"].recent_ms == pytest.approx(1.43, abs=0.01)
    assert first.timings["read"].count == 1
    assert first.cells_per_min > 0
    assert second.timings["latency"].recent_ms is None, "nothing was done since"
    assert (second.timings["latency"].count, second.cells_per_min) == (3, 0.0)
    assert first.camera is None, "a folder is none"
    assert first.broker is not None
    assert (first.broker.connected, first.broker.attempts) == (False, 0)
    assert first.waiting is not None and first.waiting.oldest_s is None
    assert third.outbox == 1
    assert third.waiting is not None and third.waiting.oldest_s is not None
    assert first.machine is not None and first.machine.disk_free_bytes


def test_a_clock_that_was_set_back_makes_no_time_negative(tmp_path: Path) -> None:
    gauges = Gauges()
    gauges.stored((Counted(decided(), None, 1, MORNING, MORNING),), at=MORNING - timedelta(days=400))
    count, total = gauges._timings["latency"]
    assert (count, total) == (1, 0.0)
    assert not list(tmp_path.iterdir())


def test_a_daemon_held_back_says_so_in_cells_status_metrics_and_to_prometheus(
    board: Path, tmp_path: Path, broker: PrivateBroker, subscribe: Callable[..., Subscriber]
) -> None:
    board.write_text("50005\n")
    prom = tmp_path / "leukoscope.prom"
    told = {
        "device": {"name": "weak"},
        "source": {"kind": "virtual_slide", "cells": 12, "interval_s": 0.0},
        "mqtt": {"host": broker.host, "port": broker.port},
        "store": {"path": tmp_path / "db.sqlite"},
        "metrics": {"textfile": prom},
    }
    subscriber = subscribe(broker)
    daemon = Daemon.of(Settings.model_validate(told))
    daemon.run()
    until(
        lambda: [each["state"] for each in subscriber.of("weak/status")][-1:] == ["offline"],
        "it said goodbye",
    )
    subscriber.catch_up()
    cells = [m.payload for m in subscriber.received if m.topic.startswith("leukoscope/weak/cell/")]
    assert cells
    assert {tuple(cell["throttled"]) for cell in cells} == {("under_voltage", "throttled")}
    with closing(sqlite3.connect(tmp_path / "db.sqlite")) as database:
        kept = database.execute("SELECT DISTINCT throttled FROM cells").fetchall()
    assert [json.loads(row[0]) for row in kept] == [["under_voltage", "throttled"]]
    codes = {
        problem["code"] for status in subscriber.of("weak/status") for problem in status.get("problems", [])
    }
    assert "throttled" in codes
    metrics = subscriber.of("weak/metrics")[-1]
    schema = json_schema(PAYLOADS["metrics"])
    jsonschema.validate(metrics, schema, cls=jsonschema.Draft202012Validator)
    assert metrics["throttled"] == 0x50005
    assert metrics["problems"] == ["throttled"]
    assert 'leukoscope_throttled{condition="under_voltage"} 1.0' in prom.read_text()
    assert sum(daemon.gauges.decided.values()) == daemon.gauges.cells == len(cells)
