"""Each choice of a training does what it says: weights, sampling, loss, optimiser, schedule, what is best."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.errors import DataError
from models.datasets import OTHER, Item
from models.plan import LABELS, Plan
from models.sampling import class_weights_in_words, epoch_order, weights_of

pytest.importorskip("tensorflow", reason="training needs leukoscope[convert]")

import keras
import tensorflow as tf

from models.between import between
from models.losses import losses_of
from models.run import Epoch, Run, best_of, read_history
from models.schedule import optimiser_of, rate_after
from models.summary import summary
from models.training import step_of

# Keras hands NumPy 2 its variables the old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PLAN = Plan("cnn")
COUNTS = {"basophil": 20, "neutrophil": 180, OTHER: 5000}


def items(site: str = "large", counts: dict[str, int] = COUNTS) -> list[Item]:
    return [
        Item(Path("x.jpg"), label, label, site, "0", "train")
        for label, count in counts.items()
        for _ in range(count)
    ]


def total(pictures: list[Item], plan: Plan, attribute: str) -> dict[str, float]:
    """What the pictures of each class, or site, weigh together."""
    weights = weights_of(pictures, plan)
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    sums: Counter[str] = Counter()
    for item, weight in zip(pictures, weights, strict=True):
        sums[getattr(item, attribute)] += float(weight)
    return sums


@pytest.mark.parametrize(
    ("choice", "ratio"),
    [
        ("none", 9.0),
        ("root", 3.0),
        ("inverse", 1.0),
        ("effective", 9 * (1 - 0.999**20) / (1 - 0.999**180)),
    ],
)
def test_class_weights_move_what_rare_classes_say(choice: str, ratio: float) -> None:
    plan = dataclasses.replace(PLAN, class_weights=choice)  # type: ignore[arg-type]
    sums = total(items(), plan, "label")
    assert sums["neutrophil"] / sums["basophil"] == pytest.approx(ratio, rel=1e-4)
    # Some thousands of pictures say hardly more than some hundreds, by their effective number.
    if choice == "effective":
        assert sums[OTHER] / sums["neutrophil"] == pytest.approx(5000 / 180 * (1 - 0.999**180), rel=0.01)


@pytest.mark.parametrize(("choice", "ratio"), [("none", 16.0), ("root", 4.0), ("equal", 1.0)])
def test_site_weights_move_what_small_sites_say(choice: str, ratio: float) -> None:
    plan = dataclasses.replace(PLAN, class_weights="none", site_weights=choice)  # type: ignore[arg-type]
    pictures = items("small", {"basophil": 30}) + items("large", {"basophil": 480})
    sums = total(pictures, plan, "site")
    assert sums["large"] / sums["small"] == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("choice", ["none", "root", "inverse", "effective"])
def test_sites_of_other_classes_weigh_the_same_whatever_classes_weigh(choice: str) -> None:
    plan = dataclasses.replace(PLAN, class_weights=choice, site_weights="equal")  # type: ignore[arg-type]
    pictures = items("small", {"basophil": 3, "neutrophil": 60}) + items(
        "large", {"neutrophil": 200, OTHER: 400}
    )
    sums = total(pictures, plan, "site")
    assert sums["large"] == pytest.approx(sums["small"], rel=1e-4)


def test_weights_are_said_in_the_order_of_the_labels() -> None:
    pictures = items(counts={"neutrophil": 1, "basophil": 3})
    plan = dataclasses.replace(PLAN, class_weights="inverse")
    assert class_weights_in_words(pictures, weights_of(pictures, plan)) == "basophil 0.67, neutrophil 2.00"


def test_balanced_sampling_needs_no_class_weights_unless_they_are_asked_for() -> None:
    assert PLAN.classes_weigh == "root"
    assert dataclasses.replace(PLAN, sampling="balanced").classes_weigh == "none"
    assert dataclasses.replace(PLAN, sampling="balanced", class_weights="root").classes_weigh == "root"


def test_an_epoch_shows_each_picture_once_or_each_class_equally_often() -> None:
    targets = np.repeat([0, 1, 5], [7, 40, 153]).astype(np.int64)
    draw = np.random.default_rng(1)
    assert sorted(epoch_order(targets, PLAN, draw)) == list(range(200))

    plan = dataclasses.replace(PLAN, sampling="balanced")
    first, second = (epoch_order(targets, plan, draw) for _ in range(2))
    for order in (first, second):
        counts = Counter(targets[order].tolist())
        assert len(order) == 200
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(Counter(order[targets[order] == 0].tolist())) == 7, (
            "every picture of a rare class is shown"
        )
        for target in (0, 1, 5):
            often = Counter(order[targets[order] == target].tolist()).values()
            assert max(often) - min(often) <= 1
        # Mixed, not class after class.
        assert 40 < (np.diff(targets[order]) != 0).sum() < 180
    assert {*first} != {*second}, "other pictures of a large class each time"


def losses(plan: Plan, logits: list[list[float]], targets: list[int]) -> list[float]:
    values = losses_of(plan, tf.constant(logits, tf.float32), tf.constant(targets, tf.int64))
    return [float(value) for value in values]


def test_the_loss_is_cross_entropy_with_smoothed_targets() -> None:
    logits = [[2.0, 0.0, -1.0], [5.0, 0.0, 0.0]]
    log_chance = [np.array(row) - np.log(np.exp(row).sum()) for row in logits]
    plain = losses(dataclasses.replace(PLAN, smoothing=0.0), logits, [0, 2])
    assert plain == pytest.approx([-log_chance[0][0], -log_chance[1][2]], rel=1e-5)
    smooth = losses(dataclasses.replace(PLAN, smoothing=0.3), logits, [0, 2])
    wanted = [np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.1, 0.8])]
    assert smooth == pytest.approx(
        [-(w * c).sum() for w, c in zip(wanted, log_chance, strict=True)], rel=1e-5
    )


def test_the_focal_loss_leaves_the_word_to_what_is_not_right_yet() -> None:
    logits = [[4.0, 0.0, 0.0], [0.0, 0.0, 4.0]]
    chance = np.exp(logits[0]) / np.exp(logits[0]).sum()
    right, wrong = float(chance[0]), float(chance[1])
    plain = losses(dataclasses.replace(PLAN, smoothing=0.0), logits, [0, 0])
    for gamma in (0.0, 0.5, 2.0):
        plan = dataclasses.replace(PLAN, loss="focal", gamma=gamma, smoothing=0.0)
        expected = [(1 - right) ** gamma * plain[0], (1 - wrong) ** gamma * plain[1]]
        assert losses(plan, logits, [0, 0]) == pytest.approx(expected, rel=1e-4)
    reference = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=2.0, from_logits=True, label_smoothing=0.3, reduction="none"
    )
    ours = losses(dataclasses.replace(PLAN, loss="focal", smoothing=0.3), logits, [0, 0])
    theirs = reference(np.eye(3)[[0, 0]], np.array(logits))
    assert ours == pytest.approx([float(value) for value in theirs], rel=1e-4)


def test_a_picture_that_is_certain_breaks_no_gradient() -> None:
    logits = tf.Variable([[200.0, 0.0, 0.0], [-200.0, 0.0, 0.0]])
    for gamma in (0.0, 0.5, 2.0):
        plan = dataclasses.replace(PLAN, loss="focal", gamma=gamma, smoothing=0.0)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(losses_of(plan, logits, tf.constant([0, 0], tf.int64)))
        assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def tiny(penalty: float = 0.0) -> keras.Model:
    """The smallest network that there is: one linear layer over the mean colour."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(pixels)
    regulariser = keras.regularizers.L2(penalty) if penalty else None
    return keras.Model(pixels, keras.layers.Dense(len(LABELS), kernel_regularizer=regulariser)(x))


def test_adamw_decays_kernels_and_adam_nothing() -> None:
    for choice, kept in [("adamw", 1 - 0.1 * 0.5), ("adam", 1.0)]:
        model = tiny()
        plan = dataclasses.replace(PLAN, optimiser=choice, weight_decay=0.5, schedule="plateau")
        optimiser = optimiser_of(plan, 0.1, 10)
        kernel, bias = model.trainable_variables
        bias.assign(np.ones(len(LABELS)))
        before = kernel.numpy()
        optimiser.build(model.trainable_variables)
        optimiser.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])
        np.testing.assert_allclose(kernel.numpy(), kept * before, rtol=1e-5)
        np.testing.assert_array_equal(bias.numpy(), 1)


def test_the_step_adds_a_networks_own_penalties_to_its_loss() -> None:
    crops = np.full((2, 8, 8, 3), 0.5, np.float32)
    targets, weights = np.array([0, 1]), np.ones(2, np.float32)
    answers = []
    for penalty in (0.0, 0.25):
        model = tiny(penalty)
        square = float(np.square(model.trainable_variables[0].numpy()).sum())
        optimiser = optimiser_of(PLAN, 1e-3, 10)
        optimiser.build(model.trainable_variables)
        average = [tf.Variable(v) for v in model.trainable_variables]
        answers.append(
            float(
                step_of(dataclasses.replace(PLAN, size=8), model, optimiser, average)(crops, targets, weights)
            )
        )
    assert answers[1] - answers[0] == pytest.approx(0.25 * square, rel=1e-4)


def test_the_cosine_warms_up_and_falls() -> None:
    optimiser = optimiser_of(PLAN, 0.1, 100)
    optimiser.build([tf.Variable(1.0)])
    course = []
    for step in range(101):
        optimiser.iterations.assign(step)
        course.append(float(optimiser.learning_rate))
    assert course[0] == 0
    assert max(course) == pytest.approx(course[5]) == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(course[5:]))
    assert course[-1] < 0.001


def test_the_rate_falls_on_each_plateau_and_not_before() -> None:
    plan = dataclasses.replace(PLAN, schedule="plateau", plateau_factor=0.5, plateau_patience=2)

    def rate(*values: float) -> float:
        return rate_after([(value,) for value in values], 1.0, plan)

    assert rate() == 1
    assert rate(5, 6) == 1
    assert rate(5, 6, 5) == 0.5, "as good as the best is no better"
    assert rate(5, 6, 4, 6) == 1, "counted from the best epoch on"
    assert rate(5, 6, 6, 6) == 0.5
    assert rate(5, 6, 6, 6, 6) == 0.25
    assert rate(*([5] * 100)) == 0.001, "and no lower"


def test_a_plateau_that_never_comes_is_refused() -> None:
    with pytest.raises(DataError, match="the learning rate would never fall: training ends after 3 epochs"):
        Plan("cnn", schedule="plateau", patience=3)
    Plan("cnn", patience=3)


def epoch(number: int, loss: float, confusion: list[list[int]]) -> Epoch:
    whole = np.zeros((len(LABELS), len(LABELS)), int)
    whole[: len(confusion), : len(confusion)] = confusion
    return Epoch("all layers", number, 1.0, loss, 0.5, tuple(map(tuple, whole.tolist())), 1e-3, 1.0)


EPOCHS = [
    epoch(1, 0.3, [[9, 1], [0, 90]]),
    epoch(2, 0.1, [[1, 9], [0, 90]]),
    epoch(3, 0.2, [[9, 1], [0, 90]]),
    epoch(4, 0.4, [[0, 10], [0, 90]]),
]


def test_recall_precision_and_macro_f1_follow_from_the_confusion() -> None:
    first, *_, last = EPOCHS
    assert first.recall == {"basophil": 0.9, "eosinophil": 1.0}
    assert first.precision == {"basophil": 1.0, "eosinophil": pytest.approx(90 / 91)}
    assert first.macro_f1 == pytest.approx((2 * 0.9 / 1.9 + 2 * 90 / 181) / 2)
    assert last.macro_f1 == pytest.approx((0 + 2 * 0.9 / 1.9) / 2), "what nothing is taken for has no F1"
    assert "macro F1 97.09%" in str(first)
    assert str(first).endswith("recall: basophil 90.0%, eosinophil 100.0%")


@pytest.mark.parametrize(("best_by", "best"), [("loss", 2), ("macro-f1", 3)])
def test_the_best_epoch_is_kept_by_loss_or_by_macro_f1(best_by: str, best: int, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, best_by=best_by, patience=1)  # type: ignore[arg-type]
    model = tiny()
    kept: list[str] = []
    run = Run(plan, model, tmp_path, kept.append)
    state = tf.train.Checkpoint(value=tf.Variable(1.0))
    for one in EPOCHS:
        run.add(one, [np.full(v.shape, one.number, np.float32) for v in model.variables])
        run.save(state, 0, one.number)
    assert best_of(run.epochs, plan.best_by).number == best
    weights = keras.models.load_model(tmp_path / "model.keras").get_weights()
    assert all((value == best).all() for value in weights)
    assert read_history(tmp_path / "history.json") == EPOCHS
    assert kept == [str(one) for one in EPOCHS]
    text = summary(tmp_path, plan)
    assert text.startswith(
        f"best of 4 epochs by {'validation loss' if best_by == 'loss' else 'macro F1'}: all layers, epoch {best}: "
    )
    assert f"{tmp_path / 'model.keras'}: the model of that epoch" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("basophil"))
    assert row[1:4] == ["10", f"{EPOCHS[best - 1].recall['basophil']:.1%}", "100.0%"]
    assert row[4:] == [str(n or "·") for n in EPOCHS[best - 1].confusion[0]]


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[1]", json.dumps([{"stage": "head"}])):
        (tmp_path / "history.json").write_text(text)
        with pytest.raises(DataError, match=r"history\.json is not the record of a training"):
            read_history(tmp_path / "history.json")


def test_a_cell_between_two_classes_is_of_another_kind() -> None:
    crops = np.full((64, 4, 4, 3), 240, np.float32)
    crops[::2] = 60
    targets = np.tile([0, 1], 32)
    targets[-4:] = 2  # of another kind already
    weights = np.ones(64, np.float32)
    draw = np.random.default_rng(3)
    mixed, named, weigh = between(tf.constant(crops), targets, weights, 2, 0.5, draw)
    changed = np.abs(mixed.numpy() - crops).max(axis=(1, 2, 3)) > 1
    assert 6 < changed.sum() < 30, "half of those whose partner is of the other class"
    assert (named[changed] == 2).all()
    assert (named[~changed] == targets[~changed]).all()
    assert (weigh == np.where(changed, 0.5, 1.0)).all()
    assert not changed[-4:].any()
    light = np.log(mixed.numpy()[changed, 0, 0, 0] + 1) - np.log(61)
    bright = light / (np.log(241) - np.log(61))
    own = np.where(targets[changed] == 0, 1 - bright, bright)
    assert ((own >= 0.5 - 1e-5) & (own <= 0.65 + 1e-5)).all(), "each keeps the larger part of itself"


def test_cells_between_classes_are_drawn_again_after_an_interruption() -> None:
    batch = tf.zeros((8, 2, 2, 3)), np.arange(8) % 4, np.ones(8, np.float32)
    first, again = (between(*batch, 4, 0.9, np.random.default_rng([1, 0, 2]))[1] for _ in range(2))
    assert (first == again).all()
    assert (first == 4).any()
