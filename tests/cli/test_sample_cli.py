"""`leukoscope sample`: what it says, and that it refuses in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from helpers import decided

from edge.cli import main
from edge.records import Reason
from edge.store import Store
from edge.text import CAUTION
from edge.wire.payloads import PAYLOADS, json_schema

Sample = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database of a daemon that has run."""
    path = tmp_path / "db.sqlite"
    with Store(path):
        pass
    return path


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    file = tmp_path / "leukoscope.toml"
    file.write_text(
        f'[device]\nname = "bench"\n[source]\nkind = "folder"\npath = "{tmp_path}"\n'
        f'[store]\npath = "{tmp_path / "db.sqlite"}"\n[sample]\ntarget = 200\n'
    )

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["sample", *arguments, "--config", str(file)])

    return run


def count(database: Path, name: str, accepted: int, flagged: int = 0) -> None:
    with Store(database, shared=True) as store, store.write() as write:
        for number in range(accepted + flagged):
            reasons = (Reason.AMBIGUOUS,) if number >= accepted else ()
            decision = decided("neutrophil" if number % 2 else "lymphocyte", reasons=reasons)
            write.cell(write.ticket(), decision, sample=name, model="m", model_sha256="ab")


def test_a_sample_is_started_watched_and_finished(database: Path, sample: Sample) -> None:
    assert sample("status").output == "No sample is open, and no cell was counted yet.\n"
    started = sample("start", "S-1", "--operator", "Zoë")
    assert (started.exit_code, started.stdout) == (
        0,
        "Sample S-1 has begun; 200 accepted cells are wanted.\n",
    )
    assert "no daemon is running" in started.stderr
    count(database, "S-1", accepted=50, flagged=3)
    shown = sample("status").output.splitlines()
    assert shown[0].startswith("Sample S-1, begun 20")
    assert shown[0].endswith("by Zoë")
    assert shown[1] == "[########......................] 50 of 200 cells"
    cells = [[part.strip() for part in line.split("|")[1:-1]] for line in shown if line.startswith("| ")]
    assert cells[0] == [
        "class",
        "cells",
        "%",
        "95 % limits",
        "for all classes at once",
        "more until ± 5 points",
    ]
    by_class = {line[0]: line[1:] for line in cells[2:]}
    assert by_class["neutrophil"][:3] == ["25", "50.0", "35.5 – 64.5"]
    assert by_class["basophil"][:3] == ["0", "0.0", "0.0 – 7.1"]
    assert shown[-2:] == ["flagged, to be decided by a person: 3", CAUTION]
    ended = sample("finish")
    finished = ended.stdout.splitlines()
    assert ended.stderr.startswith("Next: leukoscope report S-1 --output S-1.html shows the flagged cells")
    assert ", finished 20" in finished[0]
    assert finished[2:] == shown[2:]
    assert ", finished 20" in sample("status").output, "the last one is shown until there is another"
    assert ", finished 20" in sample("status", "S-1").output


def test_a_sample_is_reviewed_and_signed(database: Path, sample: Sample) -> None:
    sample("start", "S-1")
    count(database, "S-1", accepted=2, flagged=1)
    with Store(database, shared=True) as store:
        flagged = store.cells_of("S-1")[-1].id
    assert "S-1 is open; finish it" in sample("sign", "S-1", "--operator", "Ann").output
    sample("finish")
    waiting = sample("sign", "S-1", "--operator", "Ann")
    assert (waiting.exit_code, "1 flagged cell waits for a person" in waiting.output) == (1, True)
    decided_now = sample("review", flagged, "monocyte", "--operator", "Bob")
    assert (decided_now.exit_code, decided_now.output) == (0, f"Cell {flagged} of sample S-1: monocyte.\n")
    signed = sample("sign", "S-1", "--operator", "Zoë")
    assert signed.output.splitlines()[1].startswith("Signed by Zoë, 20")
    assert sample("status", "S-1").output == signed.stdout
    assert signed.stderr == "Next: leukoscope report S-1 --output S-1.pdf\n"
    assert "signed by Zoë; withdraw the signature" in sample("review", flagged, "--undo").output
    said = json.loads(sample("sign", "S-1", "--operator", "Zoë", "--undo", "--json").output)
    assert (said["signed_by"], said["signed_at"]) == (None, None)
    undone = sample("review", flagged, "--undo").output
    assert undone == f"Cell {flagged} of sample S-1: lymphocyte, as the device says, flagged.\n"
    with Store(database, shared=True) as store:
        acts = [(each.action, each.author) for each in store.audit("S-1")][2:]
    assert [act for act, _ in acts] == ["review", "sample/sign", "sample/sign", "review"]
    assert [who for _, who in acts][:3] == ["Bob", "Zoë", "Zoë"]
    assert sample("review", flagged, "monocyte", "--undo").exit_code == 2
    assert sample("sign", "S-1").exit_code == 2, "nobody signs without a name"


def test_json_is_the_message_that_is_published(database: Path, sample: Sample) -> None:
    assert json.loads(sample("status", "--json").output) is None
    schema = json_schema(PAYLOADS["sample"])
    said = [sample("start", "S-1", "--target", "100", "--json")]
    count(database, "S-1", accepted=2)
    said += [sample("status", "--json"), sample("finish", "--json")]
    payloads = [json.loads(each.output) for each in said]
    for payload in payloads:
        jsonschema.validate(payload, schema, cls=jsonschema.Draft202012Validator)
        assert (payload["sample"], payload["target"], payload["device"]) == ("S-1", 100, "bench")
    assert [payload["accepted"] for payload in payloads] == [0, 2, 2]
    assert [payload["state"] for payload in payloads] == ["open", "open", "finished"]


def test_what_is_refused_is_one_line_and_status_1(database: Path, sample: Sample) -> None:
    def refused(*arguments: str) -> str:
        result = sample(*arguments)
        assert result.exit_code == 1
        assert result.output.count("\n") == 1
        return result.output

    assert "no sample is open" in refused("finish")
    assert "cannot be a sample's ID: it has 1 to 64 letters" in refused("start", "a b")
    assert "cannot be a sample's ID" in refused("start", "a\x1b[31m")
    assert "an operator's name" in refused("start", "S-1", "--operator", "x\ny")
    assert "there is no sample 'S-1'" in refused("status", "S-1")
    sample("start", "S-1")
    assert "sample S-1 is open" in refused("start", "S-2")
    assert sample("start", "S-2", "--target", "9").exit_code == 2
    with Store(database, shared=True) as store:
        assert [each.id for each in store.samples()] == ["S-1"]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, sample: Sample) -> None:
    for arguments in (("start", "S-1"), ("status",), ("finish",)):
        result = sample(*arguments)
        assert result.exit_code == 1
        assert "there is no database yet; the daemon (leukoscope run) makes it" in result.output
    assert not (tmp_path / "db.sqlite").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="whoever runs this may write everything")
def test_a_database_that_may_not_be_written_says_who_may(database: Path, sample: Sample) -> None:
    database.chmod(0o400)
    assert "ask as the user that the daemon runs as, or with sudo" in sample("status").output
