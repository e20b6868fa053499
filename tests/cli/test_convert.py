"""`leukoscope convert` as a user runs it: from a trained model to a bundle that the device's commands read."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from smears import NEEDED, folder_a_class, samples

import edge
from edge.cli import main
from edge.inference.bundle import Bundle
from models.datasets import CLASSES, OTHER

pytest.importorskip("tensorflow", reason="conversion needs leukoscope[convert]")

PATIENCE_S = 1200
"""Half a minute for each program; a busy machine takes many times as long."""

pytestmark = [
    # Keras hands NumPy 2 its variables the old way.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(3 * PATIENCE_S),
]

ROOT = Path(edge.__file__).parent.parent


def leukoscope(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_a_class(tmp_path_factory.mktemp("data") / "here")


def written(folder: Path, *, scales_itself: bool = True) -> Path:
    """A network that says eosinophil whatever it sees: no rounding changes its mind, and the gate is passed."""
    import keras

    keras.utils.set_random_seed(1)
    layers: list[Any] = [keras.Input((32, 32, 3))]
    if scales_itself:
        layers.append(keras.layers.Rescaling(1 / 255))
    layers += [
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
    ]
    model = keras.Sequential([*layers, keras.layers.Dense(6)], name="stubborn")
    weights, bias = model.layers[-1].get_weights()
    bias[1] = 3
    model.layers[-1].set_weights([weights * 0.1, bias])
    model.save(folder / "model.keras")
    return folder / "model.keras"


def read_with(bundle: Path) -> list[dict[str, str]]:
    pictures = [samples("acevedo")[name][0] for name in CLASSES]
    done = leukoscope("classify", *pictures, "--model", bundle, "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("pictures 5, cells 5; "), done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_a_trained_model_becomes_a_bundle_that_classifies(data: Path, tmp_path: Path) -> None:
    trained = leukoscope(
        "train", "--architecture", "cnn", "--data", data, "--output", tmp_path / "run",
        "--size", 32, "--batch", 16, "--epochs", 1,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    model = trained.stdout.strip()
    done = leukoscope(
        "convert",
        model,
        "--calibration",
        data,
        "--quantization",
        "float32",
        "--output",
        tmp_path / "cnn-here",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'cnn-here'}\n"
    lines = done.stderr.splitlines()
    assert lines[:6] == [
        f"reading {model}",
        "cutting cells out of the calibration pictures",
        f"converting to float32 with {7 * NEEDED['train'] * 2} real crops",
        "fitting calibration and familiarity",
        "measuring on here, view auto",
        "measuring on here, view cell",
    ]
    bundle = Bundle.load(tmp_path / "cnn-here")
    made, passed, here, following = lines[6:]
    assert made.startswith("cnn-here 1.0.0: float32, ")
    assert made.endswith(f" MB, 32 × 32 pixels, SHA-256 {bundle.sha256[:12]}…")
    assert passed.startswith(
        f"gate passed: 100.00% of {7 * NEEDED['validation'] * 2} crops get the same class"
    )
    assert re.match(r"here \(test\): 10 cells, \d+\.\d % right, .* accepted, .* accepted and wrong$", here)
    assert following.startswith(f"Next: leukoscope evaluate {bundle.directory} --data ")
    assert (bundle.name, bundle.classes, bundle.manifest.others) == ("cnn-here", CLASSES, (OTHER,))
    assert bundle.manifest.record["trained_on"] == ["here"]
    verified = leukoscope("models", "verify", tmp_path / "cnn-here")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout == f"cnn-here: ok, sha256 {bundle.sha256}\n"
    rows = read_with(tmp_path / "cnn-here")
    assert len(rows) == len(CLASSES)
    assert {row["model"] for row in rows} == {"cnn-here"}


def test_int8_is_the_default_and_the_folder_is_named_after_the_model(data: Path, tmp_path: Path) -> None:
    model = written(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps([*CLASSES, OTHER]))
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from edge.cli import main; main()"
    command = [sys.executable, "-c", program, "convert", str(model), "--calibration", str(data)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "stubborn-int8\n"
    assert len(done.stderr.splitlines()) == 10
    bundle = Bundle.load(tmp_path / "stubborn-int8")
    assert (bundle.name, bundle.manifest.quantization) == ("stubborn-int8", "int8")
    assert bundle.manifest.record["trained_on"] == []
    assert leukoscope("models", "verify", bundle.directory).returncode == 0
    assert {row["class"] for row in read_with(bundle.directory)} == {"eosinophil"}


def fails(*arguments: object) -> str:
    """Run a conversion that is refused in one line."""
    done = CliRunner().invoke(main, ["convert", *map(str, arguments)])
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    return done.stderr.splitlines()[-1]


def test_layers_are_shown_and_the_same_inputs_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    model = written(tmp_path)
    names = ",".join((*map(str.upper, CLASSES), OTHER))
    (tmp_path / "again").mkdir()
    made = []
    for folder, more in ((tmp_path, []), (tmp_path / "again", ["--layers"])):
        output = folder / "site"
        done = leukoscope(
            "convert", model, "--calibration", data, "--classes", names, "--output", output, *more
        )
        assert done.returncode == 0, done.stderr
        made.append([(output / name).read_bytes() for name in ("model.tflite", "manifest.json", "README.md")])
    assert made[0] == made[1]
    lines = done.stderr.splitlines()
    (head,) = (at for at, line in enumerate(lines) if line.startswith("layer"))
    assert lines[head].split() == ["layer", "operation", "off", "by", "added"]
    rows = [
        re.match(r"(conv2d|global)\w+ +(CONV_2D|MEAN) +\d+\.\d\d% +\d+\.\d\d%$", line)
        for line in lines[head:]
    ]
    assert [row[2] for row in rows if row] == ["CONV_2D", "MEAN"]


def test_refusals_are_one_line_and_leave_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ",".join((*CLASSES, OTHER))
    output = tmp_path / "out"
    model = written(tmp_path)
    common = ("--calibration", data, "--output", output)
    assert "--classes basophil,eosinophil" in fails(model, *common)
    assert "has 6 outputs, but 2 classes" in fails(model, *common, "--classes", "Basophil, other")
    (tmp_path / "plain").mkdir()
    plain = written(tmp_path / "plain", scales_itself=False)
    assert "--normalization 0-1, -1-1" in fails(plain, *common, "--classes", names)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    assert "is not just a bundle" in fails(
        model, "--calibration", data, "--output", taken, "--classes", names
    )
    monkeypatch.setattr("convert.gate.LEAST_AGREEMENT", 1.01)
    assert "agrees with its original on" in fails(model, *common, "--classes", names)
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "plain", "taken"}
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]


def test_wrong_options_are_usage_errors(data: Path, tmp_path: Path) -> None:
    model = written(tmp_path)
    for arguments in (
        [str(model)],
        [str(model), "--calibration", str(tmp_path / "missing")],
        [str(tmp_path / "missing.keras"), "--calibration", str(data)],
        [str(model), "--calibration", str(data), "--quantization", "int4"],
        [str(model), "--calibration", str(data), "--normalization", "0-255"],
    ):
        done = CliRunner().invoke(main, ["convert", *arguments])
        assert done.exit_code == 2
        assert done.stdout == ""
