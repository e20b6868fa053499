"""What `leukoscope run` tells whoever starts it by hand: from where, to where, and what was done."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import WAIT_S, until

from edge.doctor.running import daemon_process
from edge.errors import StoreError
from edge.store import Store

PROGRAM = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()", "run"]
SAMPLES = Path(__file__).parents[2] / "edge" / "samples" / "acevedo"


@pytest.mark.parametrize("terminal", [False, True])
def test_it_says_where_from_and_where_to_and_at_the_end_what_was_done(tmp_path: Path, terminal: bool) -> None:
    incoming, database = tmp_path / "incoming", tmp_path / "db"
    incoming.mkdir()
    for name in ("LY_134035.jpg", "SNE_251761.jpg", "MO_902874.jpg"):
        shutil.copy(SAMPLES / name, incoming)
    file = tmp_path / "leukoscope.toml"
    file.write_text(
        f'[device]\nname = "bench-9"\n[source]\nkind = "folder"\npath = "{incoming}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = 1\n[store]\npath = "{database}"\n'
    )
    ours, theirs = os.openpty() if terminal else os.pipe()
    with (
        subprocess.Popen([*PROGRAM, "--config", str(file)], stderr=theirs) as running,
        ExitStack() as stack,
    ):
        stack.callback(running.kill)  # where something fails: it would be waited for
        os.close(theirs)
        until(lambda: daemon_process(database) is not None, "it has its database")
        until(lambda: counted(database) == 3 or running.poll() is not None, "three cells are decided")
        running.send_signal(signal.SIGINT)
        assert running.wait(WAIT_S) == 0
    said = everything(ours).splitlines()
    assert said[0] == f"Info: the folder {incoming} → leukoscope/bench-9/# at 127.0.0.1:1"
    assert ("Ctrl-C ends it. `leukoscope sample status` shows what is counted." in said) is terminal
    assert re.fullmatch(
        r"Info: ended: 3 frames looked at, 3 cells decided, of these \d flagged for a person", said[-1]
    )


def counted(database: Path) -> int:
    try:
        with Store(database, shared=True) as store:
            sample = store.latest_sample()
            return 0 if sample is None else len(store.cells_of(sample.id))
    except StoreError:  # it is claimed before it is made
        return 0


def everything(descriptor: int) -> str:
    """All that was written to a pipe or terminal whose writers are gone."""
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # a terminal ends so
        pass
    os.close(descriptor)
    return b"".join(parts).decode()
