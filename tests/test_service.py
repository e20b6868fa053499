"""What systemd hears, on a real socket: the daemon is ready, gets on, hangs in each of its threads, ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers import MORNING, WAIT_S, Subscriber, until

import edge.daemon
from edge.config import Settings
from edge.daemon import Daemon
from edge.health.service import Progress, ServiceManager, Watchdog
from edge.mqtt.broker import PrivateBroker
from edge.records import Frame

Subscribe = Callable[..., Subscriber]
PROGRAM = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()"]


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while (text := self._socket.recv(4096).decode()) != "END":
            self.heard += text.split("\n")

    def close(self) -> None:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as end:
            end.sendto(b"END", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def fed(self) -> int:
        return self.heard.count("WATCHDOG=1")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "notify"))) as listening:
        yield listening


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_said_is_what_systemd_understands(tmp_path: Path, abstract: bool) -> None:
    address = f"@leukoscope-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with closing(Manager(address)) as manager:
        service = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2500000"})
        assert service.listens
        assert service.watchdog_s == 2.5
        service.ready("reading\nas bench-1")
        service.alive()
        service.extend(1.5)
        service.status("µ")
        service.stopping("ending")
        until(lambda: len(manager.heard) == 7, "all was heard")
    assert manager.heard == [
        "READY=1", "STATUS=reading as bench-1", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=1500000", "STATUS=µ",
        "STOPPING=1", "STATUS=ending",
    ]  # fmt: skip


def test_without_systemd_and_without_a_listener_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        service = ServiceManager(environment)
        service.ready("reading")
        service.alive()
        assert service.watchdog_s is None
    assert ServiceManager({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_s is None


def test_a_part_is_stuck_once_its_turn_takes_too_long_unless_it_rests() -> None:
    progress = Progress({"one": 0.0, "other": 1e6})
    assert not progress.stuck(), "nothing is watched before its first turn"
    progress.turn("one")
    progress.turn("other")
    until(progress.stuck, "it is late")
    assert set(progress.stuck()) == {"one"}
    with progress.resting("one"):
        assert not progress.stuck()
    until(progress.stuck, "it is late again")
    progress.rest("one")
    assert not progress.stuck()


class Stubborn:
    """A source that gives a frame now and then, and hangs while it is told to."""

    live = True
    continuous = True

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.reads = 0

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def read(self, timeout_s: float) -> Frame | None:
        self.goes_on.wait()
        time.sleep(min(timeout_s, 0.02))
        self.reads += 1
        return Frame.of(np.zeros((64, 64, 3), np.uint8), self.reads, MORNING) if self.reads % 2 else None


def watched_daemon(
    tmp_path: Path, broker: PrivateBroker, manager: Manager, monkeypatch: pytest.MonkeyPatch, hasty: str
) -> tuple[Daemon, Stubborn]:
    """A daemon under systemd, of which one part must get on every second."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setattr(edge.daemon, "PROGRESS", {"source": 99.0, "broker session": 99.0, hasty: 1.0})
    settings = Settings.model_validate(
        {
            "device": {"name": hasty.replace(" ", "-")},
            "source": {"kind": "virtual_slide"},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": tmp_path / "db"},
        }
    )
    monkeypatch.setattr(edge.daemon, "make_source", lambda *_: source)
    source = Stubborn()
    return Daemon.of(settings), source


def starved(manager: Manager) -> bool:
    """Whether the watchdog gets nothing for ten times as long as it is fed otherwise."""
    before = manager.fed
    time.sleep(0.5)
    return manager.fed == before


@pytest.mark.parametrize("part", ["source", "broker session", "daemon itself"])
def test_a_part_that_hangs_starves_the_watchdog_until_it_goes_on(
    tmp_path: Path,
    broker: PrivateBroker,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    daemon, source = watched_daemon(tmp_path, broker, manager, monkeypatch, part)
    goes_on, hangs = threading.Event(), threading.Event()

    def well() -> bool:
        daemon.session.notify()  # it turns by itself twice a minute
        return "READY=1" in manager.heard and manager.fed > fed + 3

    fed = 0

    def hang(*_: object) -> None:
        hangs.set()
        goes_on.wait()

    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        until(well, "it is ready and well")
        assert manager.heard.index("READY=1") < manager.heard.index("WATCHDOG=1")
        if part == "source":
            source.goes_on.clear()
        elif part == "daemon itself":
            monkeypatch.setattr(daemon.recorder, "take", hang)
            until(hangs.is_set, "it hangs")
        else:
            monkeypatch.setattr(daemon.session, "tend", hang)
            daemon.session.notify()
            until(hangs.is_set, "it hangs")
        if part != "daemon itself":  # whose own turns nobody counts
            until(lambda: daemon.progress.stuck().keys() == {part}, "it is noticed")
        until(lambda: starved(manager), "nothing is sent any more")
        assert starved(manager)
    finally:
        monkeypatch.undo()
        source.goes_on.set()
        goes_on.set()
        fed = manager.fed
        until(well, "it is fed again")
        daemon.stop()
        thread.join()
    assert "STOPPING=1" in manager.heard


def test_idle_is_not_hung(
    tmp_path: Path, broker: PrivateBroker, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, source = watched_daemon(tmp_path, broker, manager, monkeypatch, "source")
    monkeypatch.setattr(source, "read", lambda timeout_s: time.sleep(min(timeout_s, 0.02)))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        until(lambda: manager.fed > 20, "it is fed though nothing comes")
    finally:
        daemon.stop()
        thread.join()


def test_a_watchdog_says_once_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress({"source": 0.0})
    watchdog = Watchdog(ServiceManager({"WATCHDOG_USEC": "4"}), progress)
    progress.turn("source")
    until(progress.stuck, "it is late")
    for _ in range(3):
        time.sleep(0.001)
        watchdog.feed()
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"the source has not got on for \d+ s", said)


def test_an_abort_says_where_every_thread_is(
    tmp_path: Path, broker: PrivateBroker, manager: Manager, subscribe: Subscribe
) -> None:
    file = tmp_path / "leukoscope.toml"
    file.write_text(
        f'[device]\nname = "aborted"\n[source]\nkind = "folder"\npath = "{tmp_path}"\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[store]\npath = "{tmp_path / "db"}"\n'
    )
    listening = subscribe(broker)
    process = subprocess.Popen(
        [*PROGRAM, "run", "--config", str(file)],
        env={**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:  # the watchdog is fed in the loop, and what is said of the state on a connection
        until(lambda: manager.fed > 1 and listening.of("/aborted/status"), "every thread is at its work")
        process.send_signal(signal.SIGABRT)
        _, said = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGABRT, said
    assert "_take_pictures" in said and "_loop" in said and "edge/mqtt/connection.py" in said
