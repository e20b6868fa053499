"""`leukoscope classify`, asked within this process, and pictures for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import edge
from edge.cli import main

SAMPLES = Path(edge.__file__).parent / "samples"
CELLS = sorted((SAMPLES / "acevedo").glob("*.jpg"))
FIELDS = sorted((SAMPLES / "bccd").glob("*.jpg"))


def classify(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["classify", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.stderr
    return result


def lines(*arguments: object) -> list[dict[str, Any]]:
    result = classify(*arguments, "--format", "jsonl")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]
