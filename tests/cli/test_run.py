"""`leukoscope run` as a process: how it starts, refuses and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import Subscriber, until

from edge.cli import main
from edge.mqtt.broker import PrivateBroker
from edge.store import Store

Subscribe = Callable[..., Subscriber]
PROGRAM = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()"]


def configure(tmp_path: Path, broker: PrivateBroker, device: str) -> Path:
    file = tmp_path / "leukoscope.toml"
    file.write_text(
        f'[device]\nname = "{device}"\n[source]\nkind = "virtual_slide"\ncells = 500\ninterval_s = 0.05\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n[store]\npath = "{tmp_path / "db"}"\n'
    )
    return file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(
    tmp_path: Path, broker: PrivateBroker, subscribe: Subscribe, number: signal.Signals
) -> None:
    device = f"ends-by-{int(number)}"
    subscriber = subscribe(broker)
    environment = {**os.environ, "LEUKOSCOPE_CONFIG": str(configure(tmp_path, broker, device))}
    process = subprocess.Popen([*PROGRAM, "run"], env=environment, stderr=subprocess.PIPE)
    until(lambda: subscriber.cells() or process.poll() is not None, "a cell arrived")
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said.decode()
    assert b"Traceback" not in said and b"Warning" not in said, said.decode()
    until(lambda: subscriber.last(f"{device}/status").get("state") == "offline", "it said goodbye")
    with Store(tmp_path / "db") as store:
        assert store.outbox_depth() == 0
        subscriber.catch_up()
        assert store.last_seq == len(subscriber.numbered())


def test_a_second_daemon_on_the_same_database_is_refused(tmp_path: Path, broker: PrivateBroker) -> None:
    file = configure(tmp_path, broker, "second")
    with Store(tmp_path / "db"):
        result = CliRunner().invoke(main, ["run", "--config", str(file)])
    assert result.exit_code == 74
    assert "another leukoscope is using this database" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "leukoscope.toml"
    file.write_text('[source]\nkind = "virtual_slide"\ncells = 0\n')
    result = CliRunner().invoke(main, ["run", "--config", str(file)])
    assert result.exit_code == 78
    assert result.stderr == f"Error: {file}: [source] cells is 0 and must lie between 1 and 1000000\n"


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", "--config", str(tmp_path / "none.toml")])
    assert result.exit_code == 78
    assert "none.toml: no such file; name yours with --config" in result.stderr
