"""Whether a daemon runs on this database, found without touching the lock that it holds."""

from __future__ import annotations

import os
from pathlib import Path

LOCKS = Path("/proc/locks")


def daemon_process(database: Path) -> int | None:
    """The process that has claimed a database, as the kernel lists it; None where there is none.

    A lock that was tried out, even for a moment, could keep a daemon that is just starting from its own.
    """
    try:
        status = database.with_name(database.name + ".lock").stat()
        listed = LOCKS.read_text("ascii")
    except OSError:
        return None
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in listed.splitlines():
        # 12: FLOCK  ADVISORY  WRITE 4711 b3:02:131073 0 EOF
        part = line.split()
        if len(part) >= 6 and part[1] == "FLOCK" and part[5] == name:
            return int(part[4])
    return None
