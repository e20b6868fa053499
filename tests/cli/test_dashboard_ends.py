"""Ctrl-C ends the dashboard as it says: cleanly, with success."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

pytest.importorskip("argon2")


def test_ctrl_c_is_a_clean_end(tmp_path: Path) -> None:
    file = tmp_path / "dashboard.toml"
    file.write_text(f'[server]\nport = 0\n[data]\nfolder = "{tmp_path / "data"}"\n[mqtt]\nport = 1\n')
    program = [sys.executable, "-c", "from edge.cli import main; main()", "dashboard", "--config", str(file)]
    with subprocess.Popen(program, stdout=PIPE, stderr=PIPE, text=True) as running:
        assert running.stdout is not None
        assert "Ctrl-C ends it" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=250)
    assert running.returncode == 0
    assert "Traceback" not in said and "Stopped" not in said and "Aborted" not in said
