"""The progress line, on a real terminal and on none."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest

from edge.cli import progress
from edge.cli.progress import Progress


def on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    *,
    short_s: float,
    shown: bool = True,
    encoding: str = "utf-8",
    columns: int = 0,
) -> str:
    ours, theirs = pty.openpty()
    monkeypatch.setattr(progress, "SHORT_S", short_s)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    if columns:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w", encoding=encoding) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(lambda: 4, shown=shown) as line:
            for _ in range(4):
                line.step()
        terminal.write("end")
        terminal.flush()
        said = b""
        while not said.endswith(b"end"):  # a terminal hands out what it has, not always all
            said += os.read(ours, 10_000)
    os.close(ours)
    return said.decode()


def test_long_work_shows_how_far_it_is_and_wipes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_a_terminal(monkeypatch, short_s=0)
    assert [f"{n} of 4" in text for n in (1, 2, 3, 4)] == [True] * 4
    assert text.endswith("\r\x1b[Kend")


@pytest.mark.parametrize("columns", [15, 30, 60, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_line_is_never_wrapped_nor_is_a_bar_drawn_that_the_terminal_does_not_have(
    monkeypatch: pytest.MonkeyPatch, columns: int, encoding: str
) -> None:
    text = on_a_terminal(monkeypatch, short_s=0, encoding=encoding, columns=columns)
    lines = text.split("\r\x1b[K")[1:-1]
    assert len(lines) == 4
    assert all(f"{number} of 4" in line for number, line in enumerate(lines, 1))
    assert max(map(len, lines)) < columns
    bar = "█" if encoding == "utf-8" else "#"
    assert columns == 30 or (bar in lines[-1]) is (columns >= 60)


def test_short_work_and_work_that_shows_itself_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_a_terminal(monkeypatch, short_s=60) == "end"
    assert on_a_terminal(monkeypatch, short_s=0, shown=False) == "end"


def test_nothing_is_written_to_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(progress, "SHORT_S", 0.0)
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        with Progress(lambda: pytest.fail("nobody asked")) as line:
            line.step()
    assert (tmp_path / "log").read_text() == ""
