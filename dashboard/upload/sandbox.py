"""Processes that handle what a stranger sent: little memory, little time, no secrets of ours in reach."""

from __future__ import annotations

import os
import resource
import sys
from typing import Final

READER_BYTES: Final = 6 * 2**30
"""Address space of a process that decodes pictures; the runtime's own mappings take a good part of it."""

CHECK_BYTES: Final = 4 * 2**30
CONVERT_BYTES: Final = 16 * 2**30
"""TensorFlow maps far more than it touches."""

_LARGEST_FILE: Final = 512 * 2**20
_MOST_FILES: Final = 256


def confine(address_space: int, *, cpu_s: int | None = None) -> None:
    """Bind this process to limits for good; call it first thing in the process.

    Args:
        address_space: bytes that it may map; beyond it an allocation fails, and the process at most.
        cpu_s: seconds of processor time after which the system ends it; None for no such limit.
    """
    _limit(resource.RLIMIT_AS, address_space)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    _limit(resource.RLIMIT_NOFILE, _MOST_FILES)
    if cpu_s is not None:
        _limit(resource.RLIMIT_CPU, cpu_s)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = min(most, sys.maxsize)  # of a 32-bit system, which has no more than that to give
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (least, least))


def environment() -> dict[str, str]:
    """The few variables that such a process needs; whatever else ours holds, passwords too, stays here."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs one of our modules as a process."""
    return (sys.executable, "-m", module, *arguments)
