"""`leukoscope models` and `leukoscope bench` on what is shipped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from edge.cli import main
from edge.inference.bundle import DEFAULT_MODEL, Bundle, zoo


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_list_names_every_bundle_and_the_default() -> None:
    listed = run("models", "list")
    assert listed.exit_code == 0
    for directory in zoo():
        assert Bundle.load(directory).name in listed.stdout
    assert f"{DEFAULT_MODEL} (default)" in listed.stdout


def test_show_prints_the_manifest_as_it_is() -> None:
    shown = run("models", "show", DEFAULT_MODEL)
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["sha256"] == Bundle.load(DEFAULT_MODEL).sha256
    missing = run("models", "show", "nothing-like-it")
    assert missing.exit_code == 1
    assert len(missing.stderr.splitlines()) == 1


def test_what_is_shipped_passes() -> None:
    verified = run("models", "verify")
    assert verified.exit_code == 0, verified.stderr
    assert len(verified.stdout.splitlines()) == len(zoo())


def test_an_altered_bundle_fails_and_the_others_are_still_checked(tmp_path: Path) -> None:
    altered = tmp_path / "altered"
    shutil.copytree(Bundle.load(DEFAULT_MODEL).directory, altered)
    model = altered / "model.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    verified = run("models", "verify", altered, DEFAULT_MODEL)
    assert verified.exit_code == 1
    assert str(altered) in verified.stderr
    assert len(verified.stderr.splitlines()) == 1
    assert verified.stdout.startswith(f"{DEFAULT_MODEL}: ok")


def test_bench_reports_every_stage() -> None:
    measured = run("bench", "--seconds", "0.1")
    assert measured.exit_code == 0
    for stage in ("decode", "locate", "crop", "classify", "all"):
        assert measured.stdout.count(f"| {stage} ") == 2
    assert measured.stdout.count("pictures/s") == 2
