"""The machine: clock, disk, memory, heat and power."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.doctor.service import unit
from edge.health import machine
from edge.health.clock import RELEASED

MiB = 2**20
DISK_BAD, DISK_LOW = 100 * MiB, 500 * MiB
MEMORY_BAD, MEMORY_LOW = 64 * MiB, 150 * MiB
HOT_C, TOO_HOT_C = 70.0, 80.0
"""A Raspberry Pi slows down from 80 °C on (a Pi 3 from 60)."""
COMMAND_S = 5.0
SPARE = Path("/var/lib/leukoscope")
"""Where the state lies where no configuration says it."""


def look(patient: Patient) -> Iterator[Finding]:
    """Look at the machine that this runs on."""
    yield from _clock()
    folder = SPARE if patient.settings is None else patient.settings.store.path.parent
    yield from _disk(folder)
    yield from _memory()
    yield from _heat()
    yield from _power()


def _clock() -> Iterator[Finding]:
    now = datetime.now(UTC)
    if now < RELEASED:
        yield bad(
            "clock",
            f"it is {now:%Y-%m-%d %H:%M} UTC by the clock, and this program was released on {RELEASED:%Y-%m-%d}: "
            "results would bear a wrong time",
            "connect the device to a network with a time server, or give it a clock module",
        )
        return
    yield good("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    program = shutil.which("timedatectl")
    if program is None:
        return
    try:
        said = subprocess.run(
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return
    if said == "yes":
        yield good("time server", "the clock follows one")
    elif said == "no":
        yield unsure(
            "time server",
            "the clock follows none, and will drift",
            "let the device reach a time server; timedatectl timesync-status says which it asks",
        )


def _disk(folder: Path) -> Iterator[Finding]:
    free = machine.disk_free_bytes(folder)
    if free is None:
        yield unsure("disk", f"{folder}: its disk cannot be asked", "run leukoscope doctor with sudo")
    elif free < DISK_BAD:
        yield bad(
            "disk", f"{free / MiB:.0f} MiB free for {folder}", "free some room: journalctl --vacuum-size=50M"
        )
    elif free < DISK_LOW:
        yield unsure(
            "disk", f"only {free / MiB:.0f} MiB free for {folder}", "free some room, or take a larger card"
        )
    else:
        yield good("disk", f"{free / 2**30:.1f} GiB free for {folder}")
    yield from _folder(folder)


def _folder(folder: Path) -> Iterator[Finding]:
    """Whether the state folder can be written, by who has to."""
    try:
        owner = folder.stat()
    except FileNotFoundError:
        yield unsure("state folder", f"{folder} is not there yet", "it is made when the service starts")
        return
    except OSError as error:
        yield unsure("state folder", f"{folder}: {error.strerror}", "run leukoscope doctor with sudo")
        return
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield bad(
            "state folder",
            f"{folder} lies on a disk that is mounted read-only: the card may be failing",
            "look at the end of dmesg; save the database, and take a new card",
        )
        return
    service = unit().get("User", "")
    user = _name(owner.st_uid)
    if service and user != service:
        yield bad(
            "state folder",
            f"{folder} belongs to {user}, and the service runs as {service}",
            f"sudo chown -R {service}: {folder}",
        )
        return
    if not os.access(folder, os.W_OK):
        yield unsure(
            "state folder",
            f"{folder} belongs to {user}; you may not try it",
            "run leukoscope doctor with sudo",
        )
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield bad("state folder", f"{folder} cannot be written: {error.strerror}", "look at the end of dmesg")
        return
    yield good("state folder", f"{folder} can be written, and belongs to {user}")


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _memory() -> Iterator[Finding]:
    available = machine.memory_available_bytes()
    if available is None:
        return
    text = f"{available / MiB:.0f} MiB available"
    if available < MEMORY_BAD:
        yield bad("memory", text, "end other programs, or take a board with more memory")
    elif available < MEMORY_LOW:
        yield unsure("memory", text, "end other programs")
    else:
        yield good("memory", text)


def _heat() -> Iterator[Finding]:
    degrees = machine.temperature_c()
    if degrees is None:
        return
    text = f"the processor has {degrees:.0f} °C"
    if degrees >= TOO_HOT_C:
        yield bad("temperature", text, "give it a heat sink or a fan, and air around it")
    elif degrees >= HOT_C:
        yield unsure("temperature", text, "give it a heat sink or a fan before it slows down")
    else:
        yield good("temperature", text)


def _power() -> Iterator[Finding]:
    """Throttling and under-voltage. Nothing is said where there is no such thing."""
    machine.forget()
    bits = machine.throttled()
    if bits is None:
        if b"Raspberry Pi" in _board():
            yield unsure(
                "power", "the board does not tell", "run it as a user of the group video, or with sudo"
            )
        return
    now, before = machine.held_back(bits), machine.held_back_before(bits)
    supply = "use the board's own power supply and a short, thick cable"
    if now:
        advice = supply if "under_voltage" in now else "cool it: a heat sink or a fan"
        yield bad("power", f"held back now: {_words(now)}", advice)
    elif before:
        advice = supply if "under_voltage" in before else "cool it: a heat sink or a fan"
        yield unsure("power", f"all well now; held back before: {_words(before)}", advice)
    else:
        yield good("power", "never under-voltage, never throttled since the board was started")


def _words(conditions: tuple[str, ...]) -> str:
    return ", ".join(conditions).replace("_", " ")


def _board() -> bytes:
    try:
        return (machine.PROC / "device-tree/model").read_bytes()
    except OSError:
        return b""
