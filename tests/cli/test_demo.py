"""`leukoscope demo`: from the slide to the table, over a broker of its own."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edge.cli import main
from edge.cli.demo import Board

PATIENCE_S = 250
"""It takes seconds, and on a busy machine many times as long."""
PROGRAM = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()", "demo"]


def test_it_shows_what_it_publishes_and_compares_it_with_the_truth(tmp_path: Path) -> None:
    picture = tmp_path / "fields.jpg"
    done = subprocess.run(
        [*PROGRAM, "--cells", "20", "--picture", str(picture)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = done.stdout
    assert said.count("a person signs every result") == 1
    assert re.search(r"mosquitto_sub -h 127\.0\.0\.1 -p \d+ -t 'leukoscope/#' -v", said)
    cells = re.findall(r"^ +(\d+)  (\w+) +([\d.]+) %  (accepted|flagged)", said, re.MULTILINE)
    assert [int(seq) for seq, *_ in cells] == list(range(1, len(cells) + 1))
    accepted = sum(verdict == "accepted" for *_, verdict in cells)
    table = dict(re.findall(r"^(\w+) +(\d+) +(?:[\d.–]+ +[\d.]+ to [\d.]+|\d)", said, re.MULTILINE))
    assert sum(int(count) for name, count in table.items() if name != "flagged") == accepted
    found, shown = map(int, re.search(r"white cells found +(\d+) of (\d+)", said).groups())  # type: ignore[union-attr]
    none = int(re.search(r"boxes where none is +(\d+)", said).group(1))  # type: ignore[union-attr]
    assert found + none == len(cells)
    assert found >= 0.9 * shown
    with Image.open(picture) as sheet:
        assert sheet.size == (2560, sheet.height)


def test_it_can_be_kept_and_watched_by_any_subscriber(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--cells", "5", "--keep", "--picture", str(tmp_path / "fields.png")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = ""
    while not port:
        line = process.stdout.readline()
        assert line, "it ended early"
        port = "".join(re.findall(r"-p (\d+)", line))
    # Metrics come every ten seconds: the second ones long after a slide of five cells has ended.
    watched = subprocess.run(
        ["mosquitto_sub", "-p", port, "-C", "2", "-W", str(PATIENCE_S), "-t", "leukoscope/+/metrics"],
        capture_output=True,
        check=True,
    )
    first, second = (json.loads(line) for line in watched.stdout.splitlines())
    assert second["uptime_s"] > first["uptime_s"]
    assert second["schema"] == "leukoscope.metrics/1"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Compared with what lies on the slide" in said


def test_without_mosquitto_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert result.stderr == "Error: Mosquitto is not installed: sudo apt-get install mosquitto\n"


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--cells", "1", "--picture", str(tmp_path / "no" / "x.jpg")])
    assert result.exit_code != 0
    assert "x.jpg" in result.stderr
    assert "Subscribe" not in result.stdout


def test_the_table_says_what_the_messages_say() -> None:
    board = Board()
    for message in (
        {"schema": "leukoscope.status/1", "device": "demo", "state": "online"},
        {"schema": "leukoscope.cell/1", "seq": 1, "class": "monocyte", "confidence": 0.61,
         "verdict": "flagged", "reasons": ["low_confidence", "cut_off"]},
        {"schema": "leukoscope.sample/1", "sample": "S", "accepted": 4, "target": 100, "flagged": 1,
         "counts": {"monocyte": 1, "neutrophil": 3}, "percentages": {"monocyte": 25.0, "neutrophil": 75.0},
         "limits": {"monocyte": [0.6, 80.6], "neutrophil": [19.4, 99.4]}},
    ):  # fmt: skip
        board.take(message)
    lines = board.lines()
    assert lines[0] == "demo is online"
    assert "monocyte          1   25.0   0.6 to 80.6" in lines
    assert "flagged           1          1 low_confidence, 1 cut_off" in lines
    assert lines[-1] == "     1  monocyte      61.0 %  flagged, low_confidence, cut_off"


def test_a_table_without_accepted_cells_has_no_percentages() -> None:
    board = Board()
    board.take(
        {"schema": "leukoscope.sample/1", "sample": "S", "accepted": 0, "target": 100, "flagged": 0,
         "counts": {"monocyte": 0}, "percentages": {"monocyte": None}, "limits": {"monocyte": [0, 100]}}
    )  # fmt: skip
    assert "monocyte          0      –   0.0 to 100.0" in board.lines()
