"""What C libraries print, and what we print, seen from outside the process."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli import quiet

PROGRAM = """
import os, sys, logging
from edge.cli.quiet import libraries_silenced
logging.getLogger().setLevel(sys.argv[1])
print("before", file=sys.stderr)
try:
    with libraries_silenced():
        os.write(2, b"a library\\n")
        print("inside \\udcff", file=sys.stderr)
        raise KeyError
except KeyError:
    os.write(2, b"a library after\\n")
print("after", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("WARNING", ["before", "inside \\udcff", "a library after", "after"]),
        ("INFO", ["before", "a library", "inside \\udcff", "a library after", "after"]),
    ],
)
def test_libraries_are_silent_inside_unless_asked(level: str, said: list[str], tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        subprocess.run([sys.executable, "-c", PROGRAM, level], stderr=err, check=True, timeout=250)
    assert (tmp_path / "err").read_text().splitlines() == said


def test_the_same_line_is_told_a_few_times_an_hour_and_then_with_how_often_it_came(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
    log = logging.getLogger("repeats")
    handler = caplog.handler
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    with quiet.unrepeated():
        for minute in range(121):
            now[0] = 60.0 * minute
            log.warning("no connection: %s", "refused")
            log.warning("minute %d", minute)
        told = [record.getMessage() for record in caplog.records]
    log.warning("no connection: %s", "refused")
    lines = [text for text in told if text.startswith("no connection")]
    often = "no connection: refused (55 times more in the hour before)"
    assert lines == [*["no connection: refused"] * 5, often, *["no connection: refused"] * 4, often]
    assert len(told) - len(lines) == 121, "others are told"
    assert caplog.records[-1].getMessage() == "no connection: refused"
    assert not any(isinstance(each, quiet._Unrepeated) for each in handler.filters)
