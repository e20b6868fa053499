"""The training loop: what it leaves behind, what it refuses, and that an interruption costs nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from smears import folder_a_class

from models.datasets import read
from models.windows import Windows, cut

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

import keras

from edge.errors import DataError
from models.architectures import build
from models.curves import draw_curves
from models.training import LABELS, Plan, _network, logits_of, train

# Keras hands NumPy 2 its variables the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 32
PLAN = Plan("cnn", SIZE, batch=16, epochs=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_a_class(tmp_path_factory.mktemp("data"), needed={"train": 4, "validation": 2})


@pytest.fixture(scope="module")
def sides(data: Path) -> tuple[Windows, Windows]:
    return cut(read(data, "train"), SIZE), cut(read(data, "validation"), SIZE)


@pytest.fixture(scope="module")
def trained(sides: tuple[Windows, Windows], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    assert train(PLAN, *sides, output, lambda _: None) == output / "model.keras"
    return output


def history(output: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = json.loads((output / "history.json").read_text())
    return rows


def test_a_training_leaves_its_model_and_its_record(trained: Path, sides: tuple[Windows, Windows]) -> None:
    epochs = history(trained)
    assert [epoch["number"] for epoch in epochs] == [1, 2, 3]
    assert all(np.isfinite([epoch["loss"], epoch["validation_loss"]]).all() for epoch in epochs)
    assert json.loads((trained / "plan.json").read_text()) == dataclasses.asdict(PLAN) | {
        "classes": [*PLAN.classes]
    }
    logits = logits_of(keras.models.load_model(trained / "model.keras"), sides[1].crops)
    assert logits.shape == (len(sides[1].items), 6)
    assert {path.name for path in trained.iterdir()} == {
        "model.keras", "history.json", "plan.json", "checkpoint",
    }  # fmt: skip
    draw_curves(trained / "history.json", trained / "curves.png")
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    (trained / "curves.png").unlink()


def test_what_is_finished_is_not_done_again(trained: Path, sides: tuple[Windows, Windows]) -> None:
    before = (trained / "model.keras").read_bytes(), history(trained)
    train(PLAN, *sides, trained, lambda _: None)
    assert ((trained / "model.keras").read_bytes(), history(trained)) == before


def test_another_plan_is_refused_in_the_same_folder(trained: Path, sides: tuple[Windows, Windows]) -> None:
    with pytest.raises(DataError, match="holds a training by another plan; choose another --output"):
        train(dataclasses.replace(PLAN, seed=2), *sides, trained, lambda _: None)
    assert json.loads((trained / "plan.json").read_text())["seed"] == PLAN.seed


def only(windows: Windows, wanted: Callable[[str], bool]) -> Windows:
    keep = np.array([wanted(item.label) for item in windows.items])
    items = tuple(item for item, kept in zip(windows.items, keep, strict=True) if kept)
    parts = windows.images[keep], windows.crops[keep], windows.whole[keep], windows.boxed[keep]
    return Windows(items, *parts)


def test_missing_classes_are_named(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    few = [only(side, lambda label: label not in ("monocyte", "basophil")) for side in sides]
    with pytest.raises(DataError, match="no training pictures of: basophil, monocyte"):
        train(PLAN, few[0], sides[1], tmp_path, lambda _: None)
    with pytest.raises(DataError, match="no validation pictures of: basophil, monocyte"):
        train(PLAN, sides[0], few[1], tmp_path, lambda _: None)


def test_a_training_stops_where_nothing_improves(
    trained: Path, sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    plan = dataclasses.replace(PLAN, epochs=9, patience=2)
    output = tmp_path / "stale"
    shutil.copytree(trained, output)
    kept = [{**epoch, "validation_loss": 0.001 * number} for number, epoch in enumerate(history(trained))]
    (output / "history.json").write_text(json.dumps(kept))
    (output / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
    lines: list[str] = []
    train(plan, *sides, output, lines.append)
    assert lines == ["all layers: no better validation loss for 2 epochs"]
    assert history(output) == kept


def test_a_trained_model_is_gone_on_from(
    trained: Path, sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    plan = Plan("cnn", SIZE, batch=16, epochs=1, start=str(trained / "model.keras"))
    train(plan, *sides, tmp_path, lambda _: None)
    assert [epoch["stage"] for epoch in history(tmp_path)] == ["continued"]
    assert history(tmp_path)[0]["validation_loss"] < history(trained)[0]["validation_loss"]


def test_weights_that_cannot_be_loaded_are_named(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    text = tmp_path / "notes.weights.h5"
    text.write_text("no weights")
    for plan in (Plan("mobilenet_v2", SIZE, weights=str(text)), Plan("cnn", SIZE, start=str(text))):
        with pytest.raises(DataError, match=r"notes\.weights\.h5: the weights cannot be loaded: "):
            train(plan, *sides, tmp_path / plan.architecture, lambda _: None)


def test_a_training_that_diverges_says_so_and_keeps_nothing_of_it(
    sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    plan = dataclasses.replace(PLAN, architecture="strided_cnn", learning_rate=1e38, epochs=1)
    with pytest.raises(
        DataError, match=r"no number any more after epoch 1: choose a --learning-rate below 1e\+38"
    ):
        train(plan, *sides, tmp_path, lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json"}


SCRIPT = """
import sys
from pathlib import Path
from models.datasets import read
from models.training import Plan, train
from models.windows import cut
data, output = map(Path, sys.argv[1:3])
def report(line):
    print(line, flush=True)
    if "epoch 3 of" in line and sys.argv[3:] == ["to be killed"]:
        sys.stdin.read()
train(Plan("cnn", 32, batch=16, epochs=3), cut(read(data, "train"), 32), cut(read(data, "validation"), 32),
      output, report)
"""


def test_a_killed_training_goes_on_where_it_was(data: Path, trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    command = [sys.executable, "-c", SCRIPT, str(data), str(broken)]
    first = subprocess.Popen(
        [*command, "to be killed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 300
    while not (broken / "history.json").exists():
        assert time.monotonic() < end, "the training did not get to the end of its first epoch"
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    before = history(broken)
    assert 1 <= len(before) < 3, "killed between epochs"

    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert f"epoch {len(before)} of" not in again.stdout
    assert history(broken)[: len(before)] == before
    assert_alike(trained, broken)
    checkpoints = {path.name.split(".")[0] for path in (broken / "checkpoint").iterdir()}
    assert checkpoints == {"0-3"}


class Killed(Exception):
    """Stands for the end of the process."""


def killer(at: str) -> Callable[[str], None]:
    """Ends the training with the first line of progress that begins so."""

    def report(line: str) -> None:
        if line.startswith(at):
            raise Killed

    return report


def test_an_interruption_costs_nothing_whatever_is_chosen(
    sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    plan = Plan(
        "strided_cnn", SIZE, batch=8, epochs=4, patience=4, class_weights="effective", site_weights="equal",
        sampling="balanced", loss="focal", gamma=1.5, smoothing=0.1, optimiser="adam", learning_rate=0.01,
        schedule="plateau", plateau_factor=0.1, plateau_patience=1, best_by="macro-f1", bfloat16=True,
    )  # fmt: skip
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(plan, *sides, straight, lambda _: None)
    with pytest.raises(Killed):
        train(plan, *sides, broken, killer("all layers: epoch 4 of"))
    assert len(history(broken)) == 3
    train(plan, *sides, broken, lambda _: None)
    assert_alike(straight, broken)
    rates = [epoch["learning_rate"] for epoch in history(straight)]
    assert min(rates) < max(rates), "there was a plateau to be remembered"
    # Half width is for computing; what is kept can be converted.
    kept = keras.models.load_model(straight / "model.keras")
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
    assert keras.mixed_precision.global_policy().name == "float32"


def assert_alike(one: Path, other: Path) -> None:
    """Two trainings went the same way and came to the same weights, to the last bit."""
    for first, second in zip(history(one), history(other), strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    models = [keras.models.load_model(output / "model.keras") for output in (one, other)]
    for mine, theirs in zip(*(model.get_weights() for model in models), strict=True):
        assert np.array_equal(mine, theirs)


def test_both_stages_run_and_a_run_killed_between_them_goes_on(
    sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    plan = Plan("mobilenet_v2_last_block", SIZE, batch=32, epochs=1, weights="none")
    with pytest.raises(Killed):
        train(plan, *sides, tmp_path, killer("last block"))
    assert [epoch["stage"] for epoch in history(tmp_path)] == ["head"]
    train(plan, *sides, tmp_path, lambda _: None)
    assert [epoch["stage"] for epoch in history(tmp_path)] == ["head", "last block"]


def test_what_is_frozen_stays_frozen_in_a_continued_training(tmp_path: Path) -> None:
    first = build("mobilenet_v2_head", len(LABELS), SIZE, "none")
    first.model.save(tmp_path / "model.keras")
    plan = Plan("mobilenet_v2_head", SIZE, weights="none", start=str(tmp_path / "model.keras"))
    continued = _network(plan)
    assert [stage.trainable for stage in continued.stages] == [("logits",)]
    assert continued.frozen == first.frozen
