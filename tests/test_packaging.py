"""What the package holds, and that it works where nothing but itself was installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.cli import COMMANDS
from edge.inference.bundle import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge", "models", "convert", "dashboard", "fleet")
INSTALL_S = 1500

pytestmark = pytest.mark.timeout(
    2 * INSTALL_S
)  # a minute, without an index at hand or on a busy machine many


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program away from the working tree, whose packages it must not see."""
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=INSTALL_S)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A package index; tests that need one are skipped where there is none."""
    folder = tmp_path_factory.mktemp("index")
    fetch = run(sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, "click", cwd=folder)
    if fetch.returncode:
        pytest.skip(f"pip reaches no package index: {(fetch.stderr.splitlines() or ['?'])[-1]}")


@pytest.fixture(scope="module")
def wheel(index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """The wheel, built from a copy: what an earlier build left in the working tree is not in it."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, tree, cwd=folder)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("leukoscope-*.whl"))


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment with leukoscope and no extra."""
    folder = tmp_path_factory.mktemp("fresh")
    assert run(sys.executable, "-m", "venv", folder / "venv", cwd=folder).returncode == 0
    programs = folder / "venv" / "bin"
    installed = run(programs / "python", "-m", "pip", "install", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return programs


def shipped() -> set[str]:
    """Every file of the tree that belongs into the wheel."""
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    samples = [path for path in (ROOT / "edge" / "samples").rglob("*") if path.is_file()]
    zoo = [path for path in (ROOT / "models" / "zoo").glob("*/*") if path.is_file()]
    folders = [ROOT / "dashboard" / name for name in ("templates", "static", "strings/en")]
    pages = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    pages.append(ROOT / "fleet" / "schema.sql")
    report = ROOT / "edge" / "report"
    reports = [report / "criteria.example.toml", *(report / "fonts").iterdir()]
    reports.append(ROOT / "edge" / "doctor" / "golden.json")
    return {str(path.relative_to(ROOT)) for path in (*sources, *samples, *zoo, *pages, *reports)}


def test_the_wheel_holds_every_module_model_and_sample_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {Path(name).name for name in archive.namelist() if ".dist-info/licenses/" in name}
    expected = shipped()
    assert {f"models/zoo/{DEFAULT_MODEL}/{name}" for name in ("model.tflite", "manifest.json")} <= expected
    assert names == expected
    assert licences == {"LICENSE", "NOTICE"}


IMPORTS = """
import importlib, pkgutil, sys
import edge
for module in pkgutil.walk_packages(edge.__path__, "edge."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.split(".")[0] == "edge"]))
print(sorted({name.split(".")[0] for name in sys.modules} & {"tensorflow", "keras", "convert", "dashboard"}))
"""


def test_no_module_of_the_device_imports_tensorflow_where_it_is_installed() -> None:
    done = run(sys.executable, "-W", "error", "-c", IMPORTS, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    modules, forbidden = done.stdout.split("\n")[:2]
    assert int(modules) == sum(1 for _ in (ROOT / "edge").rglob("*.py"))
    assert forbidden == "[]"


def test_every_module_of_the_device_imports_where_no_extra_is_installed(fresh: Path, tmp_path: Path) -> None:
    absent = "from importlib.util import find_spec as f; print(f('tensorflow'), f('keras'), f('matplotlib'))"
    assert run(fresh / "python", "-c", absent, cwd=tmp_path).stdout == "None None None\n"
    done = run(fresh / "python", "-W", "error", "-c", IMPORTS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")


def test_every_command_helps_where_no_extra_is_installed(fresh: Path, tmp_path: Path) -> None:
    paths = [(), *((name,) for name in COMMANDS)]
    for path in paths:  # grows by the commands of each group
        helped = run(fresh / "leukoscope", *path, "--help", cwd=tmp_path)
        assert (helped.returncode, helped.stderr) == (0, ""), path
        assert helped.stdout.startswith(f"Usage: leukoscope {' '.join(path)}".rstrip())
        if path and (listed := re.search(r"\nCommands:\n((?:  .+\n)+)", helped.stdout)):
            paths += [(*path, name) for name in re.findall(r"^  (\S+)", listed[1], re.MULTILINE)]
    assert ("models", "verify") in paths


def test_a_picture_is_classified_where_no_extra_is_installed(fresh: Path, tmp_path: Path) -> None:
    where = "import edge; print(edge.__path__[0])"
    package = Path(run(fresh / "python", "-c", where, cwd=tmp_path).stdout.strip())
    assert package.is_relative_to(fresh.parent)
    sample = package / "samples" / "acevedo" / "LY_134035.jpg"
    done = run(fresh / "leukoscope", "classify", sample, "--format", "csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    cell = dict(zip(header.split(","), row.split(","), strict=False))
    assert (Path(cell["file"]).name, cell["model"]) == (sample.name, DEFAULT_MODEL)


@pytest.mark.parametrize("command", ["train", "convert"])
def test_what_needs_tensorflow_names_the_install_that_brings_it(
    command: str, fresh: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.keras").touch()
    arguments = {
        "train": ["--architecture", "cnn", "--data", tmp_path, "--output", tmp_path / "out"],
        "convert": [tmp_path / "model.keras", "--calibration", tmp_path, "--output", tmp_path / "out"],
    }
    done = run(fresh / "leukoscope", command, *arguments[command], cwd=tmp_path)
    hint = f"Error: leukoscope {command} needs an optional part; in the source's folder: pip install -e '.[convert]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", hint)
    assert not (tmp_path / "out").exists()
