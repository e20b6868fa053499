"""The configuration as the doctor sees it: passwords where the service finds them, certificates that end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from patients import marks, one, patient

from edge.config import PASSWORD_VARIABLE
from edge.doctor import Finding, Mark, configuration

GOOD, BAD, UNSURE = Mark.GOOD, Mark.BAD, Mark.UNSURE


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def look(folder: Path, **mqtt: Any) -> list[Finding]:
    return list(configuration.look(patient(folder, mqtt=mqtt)))


def test_a_user_without_a_password_and_a_password_without_a_user(tmp_path: Path) -> None:
    assert marks(look(tmp_path)) == {"file": GOOD, "password": GOOD}
    alone = one(look(tmp_path, username="pi"), "password")
    assert alone.mark is BAD
    assert str(tmp_path / "mqtt-password") in alone.advice
    (tmp_path / "mqtt-password").write_text("open sesame\n")
    assert one(look(tmp_path, username="pi"), "password").mark is GOOD
    assert one(look(tmp_path), "password").mark is UNSURE
    for finding in (*look(tmp_path, username="pi"), *look(tmp_path)):
        assert "sesame" not in finding.text + finding.advice


def test_the_file_that_the_installation_makes_empty_is_no_password(tmp_path: Path) -> None:
    (tmp_path / "mqtt-password").touch()
    assert one(look(tmp_path, username="pi"), "password").mark is BAD


def test_a_password_file_that_is_not_there(tmp_path: Path) -> None:
    found = one(look(tmp_path, username="pi", password_file=str(tmp_path / "none")), "password")
    assert found.mark is UNSURE
    assert "cannot be read" in found.text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
@pytest.mark.parametrize(
    ("days", "mark", "word"), [(-1, BAD, "ended on"), (10, UNSURE, "ends on"), (400, GOOD, "")]
)
def test_certificates_that_end(tmp_path: Path, days: int, mark: Mark, word: str) -> None:
    own, request = tmp_path / "own.pem", tmp_path / "request"
    for command in (
        ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", tmp_path / "own.key",
         "-out", request, "-subj", "/CN=bench-1"],
        ["x509", "-req", "-in", request, "-signkey", tmp_path / "own.key", "-days", str(days), "-out", own],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    tls = {"certificate": str(own), "key": str(tmp_path / "own.key")}
    found = one(look(tmp_path, tls=tls), "certificates")
    assert found.mark is mark
    assert word in found.text


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        assert one(look(tmp_path, tls={"ca": str(path)}), "certificates").mark is BAD
