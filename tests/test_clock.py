"""Clocks that jump, and those that were never set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers import Subscriber, until

from edge.health.clock import CODE, RELEASED, TOLD_S, ClockWatch
from edge.health.problems import Health
from edge.mqtt.broker import PrivateBroker
from edge.store import Store

# libfaketime does not understand the call by which Python sleeps.
PROGRAM = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds)
from edge.cli import main
main()
"""
YEAR_S = 365.25 * 86400
NOW = RELEASED.timestamp() + YEAR_S


class Times:
    """A clock on the wall, and the time that passes."""

    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.steady = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def watched(times: Times) -> tuple[ClockWatch, Health]:
    health = Health()
    return ClockWatch(health, wall=lambda: times.wall, steady=lambda: times.steady), health


def told(health: Health) -> list[str]:
    return [problem.text for problem in health.problems() if problem.code == CODE]


def test_time_that_passes_and_small_corrections_are_no_news() -> None:
    times = Times(NOW)
    clock, health = watched(times)
    for _ in range(200):
        times.pass_by(600)
        times.wall += 30  # each would be a jump if they added up
        clock.look()
    assert not told(health)


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        (3 * YEAR_S, "set forward by 3 years"),
        (-0.9 * YEAR_S, "set back by 329 days"),
        (5 * 3600, "set forward by 5 hours"),
        (-600, "set back by 10 minutes"),
    ],
)
def test_a_jump_is_told_for_an_hour_with_how_far_it_went(jump: float, words: str) -> None:
    times = Times(NOW)
    clock, health = watched(times)
    times.wall += jump
    clock.look()
    (text,) = told(health)
    assert words in text
    then = datetime.fromtimestamp(NOW, UTC).isoformat(" ", "minutes")
    assert f"from {then}" in text
    times.pass_by(TOLD_S - 1)
    clock.look()
    assert told(health) == [text]
    times.pass_by(1)
    clock.look()
    assert not told(health)


def test_a_clock_from_before_the_program_is_told_until_it_is_set() -> None:
    times = Times(0.0)
    clock, health = watched(times)
    times.pass_by(2 * TOLD_S)
    clock.look()
    (text,) = told(health)
    assert "the clock says 1970-01-01" in text
    times.wall = NOW
    clock.look()
    assert "set forward by" in told(health)[0]
    times.pass_by(TOLD_S)
    clock.look()
    assert not told(health)


def test_the_program_was_released_before_it_runs() -> None:
    assert datetime.now(UTC) > RELEASED
    assert timedelta(0) == RELEASED.utcoffset()


def test_a_daemon_whose_clock_jumps_by_years_goes_on_and_tells(
    tmp_path: Path, broker: PrivateBroker, subscribe: Callable[..., Subscriber]
) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    subscriber = subscribe(broker)
    file, shift = tmp_path / "leukoscope.toml", tmp_path / "shift"
    file.write_text(
        '[device]\nname = "jumps"\n[source]\nkind = "virtual_slide"\ncells = 3000\ninterval_s = 0.05\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[store]\npath = "{tmp_path / "db"}"\n'
    )
    shift.write_text("+0")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, "run", "--config", file],
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(shift),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        },
    )

    def goes_on() -> None:
        cells = len(subscriber.cells())
        until(lambda: len(subscriber.cells()) > cells + 3 or process.poll() is not None, "cells come")

    def clock() -> str:
        said = subscriber.last("jumps/status").get("problems", [])
        return "".join(problem["text"] for problem in said if problem["code"] == CODE)

    goes_on()
    for jump, told in (("+1826d", "set forward by 5 years"), ("-20000d", "before this program was made")):
        shift.write_text(jump)
        until(lambda words=told: words in clock() or process.poll() is not None, f"it tells: {told}")
        goes_on()
    shift.write_text("+0")
    until(lambda: "set forward by 55 years" in clock() or process.poll() is not None, "it tells: set right")
    goes_on()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 0, said
    until(lambda: subscriber.last("jumps/status").get("state") == "offline", "it said goodbye")
    subscriber.catch_up()
    numbers = [said["seq"] for said in subscriber.numbered()]
    with Store(tmp_path / "db") as store:
        assert numbers == list(range(1, store.last_seq + 1)), "each once, and in order"
    assert {cell["captured_at"][:3] for cell in subscriber.cells()} == {"202", "203", "197"}
