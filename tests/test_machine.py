"""What the machine tells: files as the kernel writes them, and a `vcgencmd` that is a small real program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import WAIT_S

from edge.health import machine


@pytest.fixture(autouse=True)
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that tells nothing but what a test writes."""
    monkeypatch.setattr(machine, "SYS", tmp_path / "sys")
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "VCGENCMD_S", WAIT_S)  # on a busy machine a program may begin late
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    machine.forget()
    yield
    machine.forget()


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "ascii")


def vcgencmd(tmp_path: Path, body: str) -> Path:
    program = tmp_path / "bin" / "vcgencmd"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("place", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_the_kernels_bits_say_what_holds_the_board_back_now_and_did_before(
    tmp_path: Path, place: str
) -> None:
    write(tmp_path / f"sys/devices/platform/{place}/get_throttled", "50005\n")
    bits = machine.throttled()
    assert bits == 0x50005
    assert machine.held_back(bits) == machine.conditions() == ("under_voltage", "throttled")
    assert machine.held_back_before(bits) == ("under_voltage", "throttled")
    assert machine.held_back_before(0x80002) == ("soft_temperature_limit",)


def test_the_firmwares_tool_is_asked_where_the_kernel_has_no_file(tmp_path: Path) -> None:
    vcgencmd(tmp_path, 'test "$1" = get_throttled && echo throttled=0xe0008')
    assert machine.throttled() == 0xE0008
    assert machine.conditions() == ("soft_temperature_limit",)


@pytest.mark.parametrize(
    "body", ["exit 1", "echo nonsense", "echo throttled=", "echo VCHI initialization failed"]
)
def test_a_tool_that_fails_tells_nothing(tmp_path: Path, body: str) -> None:
    vcgencmd(tmp_path, body)
    assert machine.throttled() is None
    assert machine.conditions() == ()


def test_a_tool_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "VCGENCMD_S", 0.1)
    vcgencmd(tmp_path, "exec /bin/sleep 60")
    assert machine.throttled() is None


def test_a_kernel_without_the_boards_additions_tells_of_under_voltage(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    write(tmp_path / "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    write(tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert machine.conditions() == ("under_voltage",)


def test_the_tool_is_run_at_most_once_while_its_answer_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "FRESH_S", 3600.0)
    calls = tmp_path / "calls"
    vcgencmd(tmp_path, f"echo x >> {calls}; echo throttled=0x1")
    assert [machine.conditions() for _ in range(50)] == [("under_voltage",)] * 50
    assert calls.read_text() == "x\n"
    monkeypatch.setattr(machine, "FRESH_S", 0.0)
    machine.forget()
    machine.conditions()
    machine.conditions()
    assert calls.read_text() == "x\n" * 3


def test_a_machine_that_tells_nothing() -> None:
    assert machine.throttled() is machine.temperature_c() is machine.memory_available_bytes() is None
    assert machine.resident_bytes() is None
    assert machine.conditions() == ()


def test_numbers_have_the_units_that_their_names_say(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "48312\n")
    write(tmp_path / "proc/meminfo", "MemTotal:  948304 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n")
    write(tmp_path / "proc/self/statm", "5000 20 3 1 0 4 0\n")
    assert machine.temperature_c() == 48.312
    assert machine.memory_available_bytes() == 400 * 1024
    assert machine.resident_bytes() == 20 * os.sysconf("SC_PAGE_SIZE")
    free = machine.disk_free_bytes(tmp_path / "not" / "yet" / "there")
    assert free is not None and free > 0
