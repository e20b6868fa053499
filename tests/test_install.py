"""The services: what systemd says of their units, what installing does, and all of it for real where that can be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli.run import EXITS
from edge.config.mqtt import PASSWORD_CREDENTIAL
from edge.errors import BundleError, ConfigError, SourceError, StoreError

ROOT = Path(__file__).parents[1]
SYSTEMD = ROOT / "systemd"
UNITS = ("leukoscope.service", "leukoscope-dashboard.service")
EXPOSURE = 2.0
ACCEPTANCE_ROOT = "LEUKOSCOPE_ACCEPTANCE_ROOT"


def make(target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    given = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "--no-print-directory", target, f"PYTHON={sys.executable}", *given]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


pytestmark = pytest.mark.timeout(3600)  # seconds, without an index at hand or on a busy machine many minutes


@pytest.fixture
def unit(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A unit whose program is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    name: str = request.param
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", (SYSTEMD / name).read_text(), flags=re.MULTILINE)
    (tmp_path / name).write_text(text)
    return tmp_path / name


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_systemd_has_nothing_to_say_against_a_unit(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # a misspelt key has status 0


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_a_unit_is_locked_in(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= EXPOSURE


def test_the_units_know_the_program() -> None:
    exits = {kind: code for kinds, code in EXITS for kind in kinds}
    for name in UNITS:
        text = (SYSTEMD / name).read_text()
        assert f"LoadCredential={PASSWORD_CREDENTIAL}:/etc/leukoscope/" in text
        found = re.search(r"^RestartPreventExitStatus=(.+)$", text, re.MULTILINE)
        assert found is not None
        not_again = {int(code) for code in found[1].split()}
        assert {2, exits[ConfigError], exits[BundleError]} == not_again
        assert not not_again & {1, exits[SourceError], exits[StoreError]}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    for target in ("install", "uninstall"):
        done = make(target, DRY_RUN="1", DESTDIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Would do, as root:\n")
        assert f"{tmp_path}/opt/leukoscope" in done.stdout
    assert not files(tmp_path)


def test_without_root_it_is_refused_with_how_to_go_on() -> None:
    if os.geteuid() == 0:
        install = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", SYSTEMD / "install.sh"]
    else:
        install = [SYSTEMD / "install.sh"]
    done = subprocess.run([*install, "install"], capture_output=True, text=True)
    if "Permission denied" in done.stderr:
        pytest.skip("nobody may not read this folder")
    assert done.returncode == 1
    assert "sudo make install" in done.stderr


def test_uninstalling_leaves_what_a_person_has_written(tmp_path: Path) -> None:
    etc = tmp_path / "etc" / "leukoscope"
    etc.mkdir(parents=True)
    shutil.copy(SYSTEMD / "environment", etc)
    (etc / "leukoscope.toml").write_text("mine")
    (etc / "mqtt-password").write_text("")
    (tmp_path / "opt" / "leukoscope" / "bin").mkdir(parents=True)
    state = tmp_path / "var" / "lib" / "leukoscope"
    state.mkdir(parents=True)
    (state / "leukoscope.sqlite").touch()
    for _ in range(2):
        done = make("uninstall", DESTDIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
    left = {path for path in files(tmp_path) if (tmp_path / path).is_file()}
    assert left == {"etc/leukoscope/leukoscope.toml", "var/lib/leukoscope/leukoscope.sqlite"}


def test_what_is_installed_below_a_folder_is_in_its_place_and_goes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_DEPS", "1")  # the wheel with all that it needs is tried in test_packaging
    image = tmp_path / "image"
    done = make("install", DESTDIR=str(image))
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("pip reaches no package index")
    assert done.returncode == 0, done.stderr
    there = files(image)
    assert {
        "etc/leukoscope/leukoscope.toml",
        "etc/leukoscope/dashboard.toml",
        "etc/leukoscope/environment",
        "usr/local/bin/leukoscope",
        "usr/local/lib/sysusers.d/leukoscope.conf",
        "usr/local/lib/tmpfiles.d/leukoscope.conf",
        *(f"usr/local/lib/systemd/system/{name}" for name in UNITS),
    } <= there
    assert (image / "usr/local/bin/leukoscope").readlink() == Path("/opt/leukoscope/bin/leukoscope")
    program = image / "opt/leukoscope/bin/leukoscope"
    assert program.read_text().startswith("#!/opt/leukoscope/bin/python")
    python = image / "opt/leukoscope/bin/python"
    where = [python, "-I", "-c", "import edge; print(edge.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout.startswith(f"{image}/opt/leukoscope/lib/"), found.stderr
    assert str(image) not in program.read_text()
    again = make("uninstall", DESTDIR=str(image))
    assert again.returncode == 0, again.stderr
    assert not {path for path in files(image) if not (image / path).is_dir()}


def test_a_real_systemd_starts_watches_and_stops_it() -> None:
    root = os.environ.get(ACCEPTANCE_ROOT)
    if root is None:
        pytest.skip(f"boots a Debian system; name a folder for it in {ACCEPTANCE_ROOT} to have that done")
    done = subprocess.run([SYSTEMD / "acceptance.sh", root], capture_output=True, text=True, timeout=1100)
    if done.returncode == 77:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
