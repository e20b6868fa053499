"""What systemd is told of the daemon: ready, alive, ending. Its notification protocol, and what being alive means.

The watchdog is fed by progress, not by time: each part of the daemon marks every turn of its own loop, and while one
of them has not turned for longer than it may take, nothing is sent. systemd then ends the process, which prints
where each of its threads hung, and starts it anew. Without systemd all of this does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger(__name__)

OFTEN = 4
"""The watchdog is fed so many times within the time after which it would bite."""


class ServiceManager:
    """Speaks sd_notify(3) to whoever started this process, if they listen.

    Args:
        environment: where `NOTIFY_SOCKET` and `WATCHDOG_USEC` are looked for; both are systemd's.

    Attributes:
        watchdog_s: after so much silence systemd ends this process; None where it does not.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        of_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = environment.get("WATCHDOG_USEC", "") if of_ours else ""
        self.watchdog_s = int(watched) / 1e6 if watched.isdigit() and int(watched) else None

    @property
    def listens(self) -> bool:
        """Whether there is a service manager that wants to know."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The start is over; `status` is the line that `systemctl status` shows."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Show another line in `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for more time to start or to stop, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._send("STOPPING=1", f"STATUS={status}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line_out:
                line_out.setblocking(False)  # a manager that does not read must not hold up the daemon
                line_out.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError as error:
            log.debug("the service manager does not listen: %s", error)


class Progress:
    """Which parts of the daemon get on. Every method may be called from any thread.

    Args:
        limits: the parts by name, and how many seconds one turn of each may take.
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = dict(limits)
        self._lock = threading.Lock()
        self._turned_at: dict[str, float | None] = dict.fromkeys(limits)

    def turn(self, part: str) -> None:
        """A part has got on. It is watched from its first turn on."""
        with self._lock:
            self._turned_at[part] = time.monotonic()

    def rest(self, part: str) -> None:
        """A part has ended, or waits for another that is watched: it is not watched until its next turn."""
        with self._lock:
            self._turned_at[part] = None

    @contextmanager
    def resting(self, part: str) -> Iterator[None]:
        """What is done within is waiting for another part."""
        self.rest(part)
        try:
            yield
        finally:
            self.turn(part)

    def stuck(self) -> dict[str, float]:
        """The parts that do not get on, and for how many seconds."""
        now = time.monotonic()
        with self._lock:
            ages = {part: now - at for part, at in self._turned_at.items() if at is not None}
        return {part: age for part, age in ages.items() if age > self._limits[part]}


class Watchdog:
    """Feeds systemd's watchdog while every part gets on. Called at each turn of the daemon's own loop.

    Args:
        manager: is told.
        progress: is asked.
    """

    def __init__(self, manager: ServiceManager, progress: Progress) -> None:
        self._manager = manager
        self._progress = progress
        self._due_at = 0.0
        self._known: frozenset[str] = frozenset()

    def feed(self) -> None:
        """Feed it where that is due and nothing is stuck; say once what is."""
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + (self._manager.watchdog_s or 4.0) / OFTEN
        stuck = self._progress.stuck()
        for part in stuck.keys() - self._known:
            log.error("the %s has not got on for %.0f s", part, stuck[part])
        self._known = frozenset(stuck)
        if not stuck:
            self._manager.alive()
