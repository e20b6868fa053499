"""A configuration with mistakes, and one that is not there: each mistake a finding, each with what to do."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from edge.cli import main


def findings(file: Path) -> list[dict[str, str]]:
    done = CliRunner().invoke(main, ["doctor", "--json", "--only", "configuration", "--config", str(file)])
    assert done.exit_code == 1
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    assert {each["mark"] for each in found} == {"bad"}
    return found


def test_each_mistake_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "leukoscope.toml"
    file.write_text('[source]\nkind = "folder"\npath = "x"\n[mqtt]\nport = 0\n[sorce]\nkind = "folder"\n')
    port, table = findings(file)
    assert port["text"] == f"{file}: [mqtt] port is 0 and must lie between 1 and 65535"
    assert table["text"] == f"{file}: [sorce] is unknown; did you mean source?"
    assert port["advice"] == table["advice"] == "correct it, and ask leukoscope config check"


def test_a_file_that_is_not_there_cannot_be_corrected(tmp_path: Path) -> None:
    (missing,) = findings(tmp_path / "none.toml")
    assert "no such file; name yours with --config" in missing["text"]
    assert missing["advice"].startswith("README.md has a short one")
