"""How `leukoscope train` begins: what it refuses before anything is learned, and how it is interrupted."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import edge

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

PATIENCE_S = 1200
SAMPLES = Path(edge.__file__).parent / "samples" / "acevedo"
PROGRAM = [
    sys.executable,
    "-c",
    "from edge.cli import main; main()",
    "train",
    "--architecture",
    "strided_cnn",
]

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The packaged cells, which all are on the test side by their hashes."""
    folder = tmp_path / "lab"
    with (SAMPLES / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            (folder / row["class"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(SAMPLES / row["filename"], folder / row["class"])
    return folder


def test_a_split_without_training_pictures_is_refused_and_the_folder_can_be_taken_after(
    data: Path, tmp_path: Path
) -> None:
    run = [
        *PROGRAM,
        "--data",
        str(data),
        "--output",
        str(tmp_path / "run"),
        "--size",
        "32",
        "--epochs",
        "200",
    ]
    refused = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE_S)
    assert refused.returncode == 1
    assert "none of 30 labelled pictures is on the train side of the split" in refused.stderr.splitlines()[-1]
    assert "--split-by class" in refused.stderr.splitlines()[-1]
    begun = [*run, "--split-by", "class", "--patience", "200"]
    with subprocess.Popen(begun, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "epoch 1:" in line:  # one is finished
                break
        running.send_signal(signal.SIGINT)
        out, said = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, out) == (130, "")
    assert "The same command goes on after the last finished epoch." in said
    assert said.splitlines()[-1] == "Stopped."
    assert "Traceback" not in said
