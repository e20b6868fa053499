"""Clock, disk, memory, heat, power and service, with small real programs in the place of the system's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from patients import marks, one, patient

from edge.doctor import Mark, machine, service
from edge.health import machine as told

GOOD, BAD, UNSURE = Mark.GOOD, Mark.BAD, Mark.UNSURE
Program = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that tells nothing but what a test writes, without the system's programs."""
    monkeypatch.setattr(told, "SYS", tmp_path / "sys")
    monkeypatch.setattr(told, "PROC", tmp_path / "proc")
    (tmp_path / "bin").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    told.forget()
    yield
    told.forget()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Makes a program of a name that does what a shell line says."""

    def make(name: str, line: str) -> None:
        file = tmp_path / "bin" / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)

    return make


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def looked(tmp_path: Path) -> dict[str, Mark]:
    return marks(machine.look(patient(tmp_path / "state")))


def test_a_machine_that_tells_little(tmp_path: Path) -> None:
    assert looked(tmp_path) == {"clock": GOOD, "disk": GOOD, "state folder": GOOD}
    assert not list((tmp_path / "state").iterdir()), "the trial file is gone"


def test_a_clock_before_the_program_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RELEASED", datetime.now(UTC) + timedelta(days=1))
    assert looked(tmp_path)["clock"] is BAD


@pytest.mark.parametrize(("says", "mark"), [("yes", GOOD), ("no", UNSURE)])
def test_whether_the_clock_follows_a_time_server(
    tmp_path: Path, program: Program, says: str, mark: Mark
) -> None:
    program("timedatectl", f"echo {says}")
    assert looked(tmp_path)["time server"] is mark


@pytest.mark.parametrize(("millidegrees", "mark"), [("45000", GOOD), ("72000", UNSURE), ("84000", BAD)])
def test_heat(tmp_path: Path, millidegrees: str, mark: Mark) -> None:
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", millidegrees)
    assert looked(tmp_path)["temperature"] is mark


@pytest.mark.parametrize(
    ("bits", "mark", "word"),
    [("0x0", GOOD, "never"), ("0x50000", UNSURE, "before"), ("0x50005", BAD, "under voltage, throttled")],
)
def test_power(tmp_path: Path, program: Program, bits: str, mark: Mark, word: str) -> None:
    program("vcgencmd", f"echo throttled={bits}")
    found = one(machine.look(patient(tmp_path / "state")), "power")
    assert found.mark is mark
    assert word in found.text


def test_a_board_that_should_tell_of_its_power_and_does_not(tmp_path: Path) -> None:
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert looked(tmp_path)["power"] is UNSURE


@pytest.mark.parametrize(("kib", "mark"), [(400_000, GOOD), (100_000, UNSURE), (30_000, BAD)])
def test_memory(tmp_path: Path, kib: int, mark: Mark) -> None:
    write(tmp_path / "proc/meminfo", f"MemTotal: 948304 kB\nMemAvailable: {kib} kB\n")
    assert looked(tmp_path)["memory"] is mark


def test_a_state_folder_that_is_not_the_services(tmp_path: Path, program: Program) -> None:
    program("systemctl", "echo User=daemon")
    found = one(machine.look(patient(tmp_path / "state")), "state folder")
    assert found.mark is BAD
    assert "chown -R daemon:" in found.advice


def test_a_state_folder_that_cannot_be_written() -> None:
    # /proc is a folder in which nobody, not even root, can make a file.
    found = one(machine.look(patient(Path("/proc"))), "state folder")
    assert found.mark is BAD
    assert "cannot be written" in found.text


def unit(**properties: str) -> str:
    told = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "NRestarts": "0"}
    return "\n".join(f"echo '{name}={value}'" for name, value in {**told, **properties}.items())


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"StatusText": "reading"}, {"service": GOOD, "restarts": GOOD}),
        ({"NRestarts": "4"}, {"service": GOOD, "restarts": UNSURE}),
        ({"ActiveState": "failed", "Result": "exit-code"}, {"service": BAD, "restarts": GOOD}),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, {"service": BAD, "restarts": GOOD}),
        ({"ActiveState": "activating", "SubState": "start"}, {"service": UNSURE, "restarts": GOOD}),
        ({"ActiveState": "inactive"}, {"service": UNSURE, "restarts": GOOD}),
        ({"UnitFileState": "disabled"}, {"service": GOOD, "restarts": GOOD, "at boot": UNSURE}),
        ({"LoadState": "not-found"}, {"service": UNSURE}),
    ],
)
def test_what_systemd_says(
    tmp_path: Path, program: Program, properties: dict[str, str], expected: dict[str, Mark]
) -> None:
    program("systemctl", unit(**properties))
    assert marks(service.look(patient(tmp_path / "state"))) == expected


@pytest.mark.parametrize("line", ["exit 1", "exec /bin/sleep 60"])
def test_a_systemd_that_does_not_answer(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(service, "COMMAND_S", 0.2)
    program("systemctl", line)
    assert marks(service.look(patient(tmp_path / "state"))) == {"service": UNSURE}
