"""A private Mosquitto: for the demonstration and for tests, on this machine alone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from edge.errors import BrokerError

START_S = 30.0
"""It is up in a moment; a busy machine takes longer."""
PORTS_TRIED = 5


class PrivateBroker:
    """Mosquitto on a free port of 127.0.0.1, without persistence; ends with the `with` block.

    Args:
        settings: further lines of a mosquitto.conf; without any, everybody may connect.
        port: a port to use instead of a free one.

    Attributes:
        host: always 127.0.0.1.
        port: where it listens, once open.
    """

    host = "127.0.0.1"

    def __init__(self, settings: str = "", *, port: int | None = None) -> None:
        self.settings = settings
        self.port = port or 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def open(self) -> None:
        """Start it, and wait until it takes connections.

        Raises:
            BrokerError: Mosquitto is not installed, or does not start.
        """
        # Debian keeps it where only root looks.
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None:
            raise BrokerError("Mosquitto is not installed: sudo apt-get install mosquitto")
        if self.port:
            self._start(program, self.port)
            return
        for left in reversed(range(PORTS_TRIED)):
            port = _free_port()
            try:
                self._start(program, port)
            except BrokerError as error:
                # Between the search for a port and its use somebody else may take it.
                if "in use" not in str(error) or not left:
                    raise
            else:
                self.port = port
                return

    def _start(self, program: str, port: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="leukoscope-broker-"))
        configuration = self._folder / "mosquitto.conf"
        configuration.write_text(
            f"listener {port} {self.host}\nmax_queued_messages 100000\n"
            f"{self.settings or 'allow_anonymous true'}\n"
        )
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(configuration)],
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a Ctrl-C is for us: the broker must outlive the last message
            )
        until = time.monotonic() + START_S
        while not (self._answers(port) and self._process.poll() is None):
            if self._process.poll() is not None or time.monotonic() > until:
                said = (self._folder / "log").read_text("utf-8", "replace").strip().splitlines()
                self.close()
                raise BrokerError(f"Mosquitto does not start: {said[-1] if said else 'it says nothing'}")
            time.sleep(0.02)

    def close(self) -> None:
        """Stop it and delete its files; does nothing where it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def reload(self) -> None:
        """Have it read its access rules and passwords anew."""
        self.signal(signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, where it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self, port: int) -> bool:
        try:
            with socket.create_connection((self.host, port), timeout=1):
                return True
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
