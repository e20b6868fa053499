"""What the machine tells of itself: heat, power, memory, load, disk. A machine that does not tell gives None.

`SYS` and `PROC` are where Linux tells it, and ``vcgencmd`` is taken from the path: tests put others there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

SYS, PROC = Path("/sys"), Path("/proc")

CONDITIONS = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
"""What may hold a Raspberry Pi back right now: bits 0 to 3 of `throttled`, in this order. Bits 16 to 19 say
that the same has happened since the board was started, or since the kernel last cleared them."""

FRESH_S = 1.0
"""The throttling bits are asked for at most this often."""
VCGENCMD_S = 2.0
_ABSENT_S = 60.0  # where nothing tells them, that is looked into again after so long

_bits: int | None = None
_due_at = 0.0


def temperature_c() -> float | None:
    """The processor's temperature as Linux tells it, in °C."""
    millidegrees = _number(SYS / "class/thermal/thermal_zone0/temp")
    return None if millidegrees is None else millidegrees / 1000


def throttled() -> int | None:
    """The Raspberry Pi's throttling bits, as `vcgencmd get_throttled` prints them, at most a second old."""
    global _bits, _due_at  # one machine, one memory of what it said
    now = time.monotonic()
    if now >= _due_at:
        _bits = _read_throttled()
        _due_at = now + (_ABSENT_S if _bits is None else FRESH_S)
    return _bits


def forget() -> None:
    """Ask the machine anew at the next call of `throttled`."""
    global _due_at
    _due_at = 0.0


def held_back(bits: int | None) -> tuple[str, ...]:
    """What holds the machine back at this moment, of `CONDITIONS`.

    Args:
        bits: as of `throttled`; None where they are not known.
    """
    return tuple(name for bit, name in enumerate(CONDITIONS) if bits is not None and bits >> bit & 1)


def held_back_before(bits: int | None) -> tuple[str, ...]:
    """What has held the machine back since its start, of `CONDITIONS`."""
    return held_back(None if bits is None else bits >> 16)


def conditions() -> tuple[str, ...]:
    """What holds the machine back right now, as far as it is known; at most a second old."""
    return held_back(throttled())


def memory_available_bytes() -> int | None:
    """Memory that programs could still get, on the whole machine."""
    try:
        for line in (PROC / "meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def resident_bytes() -> int | None:
    """Memory that this process has."""
    try:
        return int((PROC / "self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def load() -> float | None:
    """Programs that run or wait to, on average over the last minute."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def disk_free_bytes(path: Path) -> int | None:
    """Room for this user's files on the disk that a path lies on, or would."""
    for place in (path, *path.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def _read_throttled() -> int | None:
    # The place differs between boards: soc/soc:firmware, soc@107c000000/soc@107c000000:firmware.
    for file in sorted((SYS / "devices/platform").glob("soc*/soc*:firmware/get_throttled")):
        bits = _number(file, base=16)
        if bits is not None:
            return bits
    bits = _vcgencmd()
    return _voltage_alarm() if bits is None else bits


def _vcgencmd() -> int | None:
    """The firmware's own tool, where the kernel has no file; it needs the group `video`."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        said = subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_S, check=True
        ).stdout
        return int(said.partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _voltage_alarm() -> int | None:
    """Under-voltage alone, as a kernel without Raspberry Pi's additions tells it."""
    for name in sorted((SYS / "class/hwmon").glob("hwmon*/name")):
        try:
            if name.read_text("ascii").strip() == "rpi_volt":
                return _number(name.with_name("in0_lcrit_alarm"))
        except OSError:
            continue
    return None


def _number(file: Path, base: int = 10) -> int | None:
    try:
        return int(file.read_text("ascii"), base)
    except (OSError, ValueError):
        return None
