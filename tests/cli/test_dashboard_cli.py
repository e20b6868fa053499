"""`leukoscope dashboard`: served to the end, and its users."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE

import pytest
from click.testing import CliRunner, Result
from helpers import WAIT_S

pytest.importorskip("argon2")

import httpx

from edge.cli import main

PROGRAM = [sys.executable, "-W", "error", "-c", "from edge.cli import main; main()", "dashboard"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dashboard.toml"
    path.write_text(f'[server]\nport = 0\n[data]\nfolder = "{tmp_path / "data"}"\n[mqtt]\nport = 1\n')
    return path


def users(config: Path, *arguments: str, password: str = "") -> Result:
    command = ["dashboard", "--config", str(config), "user", *arguments]
    return CliRunner().invoke(main, command, input=password)


def test_users_are_added_listed_changed_and_removed(config: Path) -> None:
    added = users(config, "add", "Ann", "--role", "review", password="a long password\n")
    assert (added.exit_code, added.output) == (0, "Ann may review.\n")
    assert re.fullmatch(r"Ann +review +since \d{4}-\d\d-\d\d\n", users(config, "list").output)
    assert users(config, "password", "Ann", password="another password\n").exit_code == 0
    short = users(config, "password", "Ann", password="short\n")
    assert (short.exit_code, short.output) == (1, "Error: a password has 10 to 256 characters\n")
    assert users(config, "remove", "Ann").output == "Ann is removed.\n"
    nobody = users(config, "list")
    assert (nobody.stdout, nobody.stderr.count("user add NAME --role administer")) == ("", 1)


def test_a_password_is_no_argument(config: Path) -> None:
    assert users(config, "add", "Ann", "a long password").exit_code == 2


def test_it_serves_without_a_broker_and_ends_cleanly(config: Path) -> None:
    with (
        subprocess.Popen([*PROGRAM, "--config", str(config)], stdout=PIPE, stderr=PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        stack.callback(process.kill)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"The dashboard: (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends it\)\n", line)
        assert found is not None, line
        answer = httpx.get(
            found[1], headers={"accept": "text/html"}, follow_redirects=True, timeout=WAIT_S, trust_env=False
        )
        assert "The first user" in answer.text
        second = subprocess.run(
            [*PROGRAM, "--config", str(config)], capture_output=True, text=True, timeout=4 * WAIT_S
        )
        assert second.returncode == 78
        assert second.stderr.endswith("another dashboard uses it; name one for each\n")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=WAIT_S)
        assert process.returncode in (0, -signal.SIGTERM)  # which systemd takes as well
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[server]\nhost = "0.0.0.0"', "passwords would cross the network readable"),
        (
            '[server]\nhost = "0.0.0.0"\nplain_http = true\n[sign_in]\nrequired = false',
            "is for this machine alone",
        ),
        ('[server]\ncertificate = "x.pem"', "certificate and key belong together"),
        ("[server]\nprot = 1", "did you mean port?"),
        ("[reference.ranges]\nneutrophil = [40]", "[reference.ranges"),
        ('[mqtt]\npassword = "secret"', "a password does not belong in this file"),
        ("[sign_in]\nidle_minutes = 0", "must lie between 1 and 1440"),
    ],
)
def test_settings_that_will_not_do_are_answered_with_a_sentence(
    config: Path, text: str, sentence: str
) -> None:
    config.write_text(text)
    done = CliRunner().invoke(main, ["dashboard", "--config", str(config)])
    assert done.exit_code == 78
    assert sentence in done.output
    assert "secret" not in done.output


@pytest.mark.parametrize("broker", ["", ":1883", "host:port"])
def test_a_broker_that_is_none_is_refused(config: Path, broker: str) -> None:
    done = CliRunner().invoke(main, ["dashboard", "--config", str(config), "--broker", broker])
    assert done.exit_code == 2
