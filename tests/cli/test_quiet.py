"""What C libraries print, and what we print, seen from outside the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
        subprocess.run([sys.executable, "-c", PROGRAM, level], stderr=err, check=True, timeout=60)
    assert (tmp_path / "err").read_text().splitlines() == said
