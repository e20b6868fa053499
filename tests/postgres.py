"""A PostgreSQL of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg
import pytest

START_S = 240
"""A server that does not start in this time does not start."""


def _programs() -> Path:
    """Where `initdb` is; Debian keeps it beside the path. Skips the test where there is none."""
    on_path = shutil.which("initdb")
    found = [] if on_path is None else [Path(on_path).resolve().parent]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1]


class PrivatePostgres:
    """A server with a database `fleet`, at a socket of its own, which no other can take; ends with the `with` block."""

    def __init__(self) -> None:
        self._programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="leukoscope-postgres-"))
        self.url = (
            f"postgresql://fleet:secret-of-fleet@/fleet?port=5432&host={quote(str(self._folder), safe='')}"
        )

    def __enter__(self) -> Self:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self._folder, "postgres")
        password = self._folder / "password"
        password.write_text("secret-of-fleet")
        password.chmod(0o644)
        data = str(self._folder / "data")
        text = ("--no-locale", "-E", "UTF8")  # whatever the locale of whoever runs the tests
        told = ("-A", "scram-sha-256", f"--pwfile={password}", "-N")
        self._run("initdb", "-D", data, "-U", "fleet", *text, *told)
        self.start()
        with psycopg.connect(self.url, dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE fleet")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-p 5432 -c listen_addresses='' -c fsync=off -k {self._folder}"
        waits = ("-w", "-t", str(START_S))
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), *waits, "-o", options, "-l", "/dev/null", "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop", check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, timeout=2 * START_S, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{program}: {done.stderr[-500:]}")
