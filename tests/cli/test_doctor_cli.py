"""`leukoscope doctor` as people and programs use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.mqtt.broker import PrivateBroker


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it as its own process; what it prints is what a terminal gets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEUKOSCOPE", "LC_"))}
    return subprocess.run(
        [sys.executable, "-c", "from edge.cli import main; main()", "doctor", *arguments],
        capture_output=True,
        env={**kept, "PYTHONUTF8": "1", **environment},
        encoding="utf-8",
        timeout=250,
    )


@pytest.fixture
def config(tmp_path: Path, broker: PrivateBroker) -> Path:
    """A device on which all is well, but for what the machine itself lacks."""
    file = tmp_path / "leukoscope.toml"
    (tmp_path / "incoming").mkdir()
    file.write_text(
        f'[device]\nname = "visited"\n[source]\nkind = "folder"\npath = "{tmp_path}/incoming"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n[store]\npath = "{tmp_path}/state/leukoscope.sqlite"\n'
    )
    return file


def test_a_device_that_is_well(config: Path) -> None:
    for _ in range(5):
        said = doctor("--config", str(config), "--only", "broker", "--only", "configuration")
        if "the network is slow" not in said.stdout:  # as it is for a moment on a busy machine
            break
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stderr == ""
    assert "  ✓ round trip: a message there and back takes" in said.stdout
    assert "✗" not in said.stdout
    assert said.stdout.endswith("8 well, nothing wrong\n")
    assert "camera" not in said.stdout


def test_something_wrong_is_a_cross_with_advice_and_an_exit_status(config: Path) -> None:
    config.write_text(config.read_text().replace("127.0.0.1", "no-such-host.invalid"))
    said = doctor("--config", str(config), "--only", "broker")
    assert said.returncode == 1
    assert "  ✗ name: no-such-host.invalid" in said.stdout
    assert "      → check [mqtt] host" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr


def test_a_terminal_without_unicode_gets_plain_signs(config: Path) -> None:
    said = doctor(
        "--config", str(config), "--only", "configuration", "--only", "camera",
        PYTHONIOENCODING="ascii", PYTHONUTF8="0",
    )  # fmt: skip
    assert said.returncode == 0
    assert said.stdout.isascii()
    assert "  ok file: " in said.stdout
    assert "\\u" not in said.stdout


def test_everything_as_json(config: Path) -> None:
    said = doctor("--config", str(config), "--json")
    report = json.loads(said.stdout)
    assert report["schema"] == "leukoscope.doctor/1"
    assert report["good"] == (said.returncode == 0)
    assert {finding["mark"] for finding in report["findings"]} <= {"good", "bad", "unsure"}
    assert report["good"] == ("bad" not in {finding["mark"] for finding in report["findings"]})
    assert {finding["group"] for finding in report["findings"]} == {
        "runtime", "configuration", "camera", "broker", "database", "machine", "service",
    }  # fmt: skip
    names = [(finding["group"], finding["check"]) for finding in report["findings"]]
    assert len(set(names)) == len(names)
    for finding in report["findings"]:
        assert (finding["mark"] == "good") == (finding["advice"] == "")


@pytest.mark.parametrize("content", ["[source\n", '[source]\nkind = "nothing"\n', "\0\xff", "[sauce]\n"])
def test_a_configuration_that_cannot_be_read_is_a_cross_and_the_rest_is_looked_at(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "leukoscope.toml"
    file.write_bytes(content.encode("latin-1"))
    said = doctor("--config", str(file), "--only", "configuration", "--only", "machine")
    assert said.returncode == 1
    assert "  ✗ file: " in said.stdout
    assert "  ✓ clock: " in said.stdout
    assert "Traceback" not in said.stdout + said.stderr


def test_a_file_that_somebody_names_and_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    said = doctor("--config", str(tmp_path / "none.toml"), "--only", "configuration")
    assert said.returncode == 1
    assert "no such file" in said.stdout


@pytest.mark.skipif(Path("/etc/leukoscope").exists(), reason="this machine has a configuration of its own")
def test_without_any_configuration_what_needs_none_is_looked_at() -> None:
    said = doctor("--only", "configuration", "--only", "database", "--only", "machine")
    assert said.returncode == 0, said.stdout
    assert "  ? file: there is no configuration at /etc/leukoscope/leukoscope.toml" in said.stdout
    assert "  ✓ clock: " in said.stdout


def test_a_library_that_cannot_be_loaded_is_a_cross_and_no_traceback(tmp_path: Path, config: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    said = doctor(
        "--config", str(config), "--only", "runtime", "--only", "camera", "--only", "service", PYTHONPATH=str(broken)
    )  # fmt: skip
    assert said.returncode == 1
    assert "  ✗ opencv-python-headless: cv2 cannot be loaded: libGL.so.1" in said.stdout
    assert "  ✓ python: " in said.stdout
    assert "service" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr
