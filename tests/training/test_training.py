"""The training loop: what it leaves behind, what it refuses, and that an interruption costs nothing."""

from __future__ import annotations

import dataclasses
import json
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
from models.curves import draw_curves
from models.training import Plan, logits_of, train, weights_of

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
    assert json.loads((trained / "plan.json").read_text()) == dataclasses.asdict(PLAN)
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


def test_rare_classes_weigh_more_and_the_mean_is_one(sides: tuple[Windows, Windows]) -> None:
    seen = iter(range(1000))
    rare = only(sides[0], lambda label: label != "basophil" or next(seen) < 1)
    weights = weights_of(rare)
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    by_label = {item.label: weight for item, weight in zip(rare.items, weights, strict=True)}
    assert by_label["basophil"] == pytest.approx(2 * by_label["monocyte"], rel=1e-5)


def test_a_small_site_is_heard(sides: tuple[Windows, Windows]) -> None:
    windows = sides[0]
    alike = [item for item in windows.items if item.label == "monocyte"]
    items = tuple(dataclasses.replace(i, site="small") if i is alike[0] else i for i in windows.items)
    weights = weights_of(dataclasses.replace(windows, items=items))
    of = {id(item): weight for item, weight in zip(items, weights, strict=True)}
    small = next(weight for item, weight in zip(items, weights, strict=True) if item.site == "small")
    assert small / of[id(alike[1])] == pytest.approx((len(items) - 1) ** 0.5, rel=1e-5)


def test_a_training_stops_where_nothing_improves(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    lines: list[str] = []
    plan = Plan("cnn", SIZE, batch=16, epochs=5, patience=1)
    kept = [{"stage": "all layers", "number": n, "loss": 1.0, "validation_loss": 0.001 * n,
             "validation_accuracy": 0.5, "seconds": 1.0} for n in (1, 2)]  # fmt: skip
    output = tmp_path / "stale"
    train(dataclasses.replace(plan, epochs=2), *sides, output, lambda _: None)
    (output / "history.json").write_text(json.dumps(kept))
    (output / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
    train(plan, *sides, output, lines.append)
    assert lines == ["all layers: no better validation loss for 1 epochs"]
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


def test_half_width_trains_a_model_in_full_width(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    train(Plan("cnn", SIZE, batch=16, epochs=1, bfloat16=True), *sides, tmp_path, lambda _: None)
    model = keras.models.load_model(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert keras.mixed_precision.global_policy().name == "float32"
    assert np.isfinite(logits_of(model, sides[1].crops)).all()


SCRIPT = """
import sys
from pathlib import Path
from models.datasets import read
from models.training import Plan, train
from models.windows import cut
data, output = map(Path, sys.argv[1:])
train(Plan("cnn", 32, batch=16, epochs=4), cut(read(data, "train"), 32), cut(read(data, "validation"), 32),
      output, lambda line: print(line, flush=True))
"""


def test_a_killed_training_goes_on_where_it_was(
    data: Path, sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(data)]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(dataclasses.replace(PLAN, epochs=4), *sides, straight, lambda _: None)

    first = subprocess.Popen([*command, str(broken)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (broken / "history.json").exists() or len(history(broken)) < 2:
        assert time.monotonic() < end, "the training did not get to its second epoch"
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    before = history(broken)
    assert 2 <= len(before) < 4, "killed between epochs"

    again = subprocess.run([*command, str(broken)], capture_output=True, text=True, check=True, timeout=300)
    assert f"epoch {len(before)} of" not in again.stdout
    assert history(broken)[: len(before)] == before
    assert [epoch["number"] for epoch in history(broken)] == [1, 2, 3, 4]
    # It went on from where it was, not from the start: losses are alike but for the chance in dropout.
    for one, other in zip(history(straight), history(broken), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.4)
    checkpoints = {path.name.split(".")[0] for path in (broken / "checkpoint").iterdir()}
    assert checkpoints == {"0-4"}
    keras.models.load_model(broken / "model.keras")


def test_both_stages_run_and_a_run_killed_between_them_goes_on(
    sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    class Killed(Exception):
        """Stands for the end of the process."""

    def killer(line: str) -> None:
        if line.startswith("all layers"):
            raise Killed

    plan = Plan("mobilenet_v2", SIZE, batch=32, epochs=1, weights="none")
    with pytest.raises(Killed):
        train(plan, *sides, tmp_path, killer)
    assert [epoch["stage"] for epoch in history(tmp_path)] == ["head"]
    train(plan, *sides, tmp_path, lambda _: None)
    assert [epoch["stage"] for epoch in history(tmp_path)] == ["head", "all layers"]
