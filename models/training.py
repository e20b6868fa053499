"""Train a network on windows of labelled cells: the loop, its checkpoints and its record.

Plain cross-entropy with class weights, AdamW (Loshchilov and Hutter 2019), a warm-up and a cosine, and an
exponential moving average of the weights, which is what is kept. The best epoch is chosen by the
validation part; the test part is never looked at.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge.errors import DataError
from models.architectures import Architecture, Stage, build
from models.augment import augment
from models.datasets import CLASSES, OTHER
from models.normalisation import freeze_nested, settle
from models.windows import Windows

LABELS = (*CLASSES, OTHER)
"""What the logits stand for: the five classes, then everything else."""

_WARM_UP = 0.05  # share of a stage's steps
_AVERAGE = 0.995  # of the old weights, each step; about the last 200 steps count
_DECAY = 1e-4
_SMOOTHING = 0.03


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train and how long.

    Attributes:
        architecture: one of `models.architectures.NAMES`.
        size: side of the input in pixels.
        batch: pictures a step.
        epochs: of the last stage, None for the architecture's own.
        patience: epochs without a better validation loss after which the last stage ends.
        whole_share: share of crops zoomed out as a portrait taken whole.
        weights: `imagenet` or a file.
        strength: of the augmentation, 0 to 1, see `models.augment`.
        start: a trained `.keras` model to go on from, with its last stage at a quarter of the rate.
        bfloat16: compute in half width where the processor can, twice as fast; weights stay float32.
        seed: of everything random.
    """

    architecture: str
    size: int = 128
    batch: int = 32
    epochs: int | None = None
    patience: int = 8
    whole_share: float = 0.25
    weights: str = "imagenet"
    strength: float = 1.0
    start: str | None = None
    bfloat16: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Epoch:
    """How one epoch went. Losses in nats; accuracy is the share right among the five classes."""

    stage: str
    number: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


Report = Callable[[str], None]


def train(plan: Plan, training: Windows, validation: Windows, output: Path, report: Report) -> Path:
    """Train, or go on with a training that was interrupted in the same folder.

    Args:
        plan: what to train.
        training: windows to learn from.
        validation: windows to choose the best epoch by.
        output: folder for `model.keras` (the best epoch), `checkpoint/`, `history.json`, `plan.json`.
        report: takes a line of progress.

    Returns:
        The trained model's path.

    Raises:
        DataError: a class has no pictures, the folder holds a training by another plan, or the weights to
            start from cannot be loaded.
    """
    output.mkdir(parents=True, exist_ok=True)
    _same_plan(output / "plan.json", plan)
    for part, windows in (("training", training), ("validation", validation)):
        missing = [name for name in CLASSES if all(item.label != name for item in windows.items)]
        if missing:
            raise DataError(f"no {part} pictures of: {', '.join(missing)}")
    keras.utils.set_random_seed(plan.seed)
    kept = _network(plan).model
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if plan.bfloat16 else "float32")
    architecture = _network(plan)
    keras.mixed_precision.set_global_policy("float32")
    run = _Run(plan, architecture.model, kept, training, validation, output, report)
    for number, stage in enumerate(architecture.stages):
        later = {s.name for s in architecture.stages[number + 1 :]}
        if not any(e.stage in later for e in run.epochs):
            _run_stage(run, number, stage)
    return output / "model.keras"


def _same_plan(path: Path, plan: Plan) -> None:
    now = asdict(plan)
    if path.exists() and json.loads(path.read_text("utf-8")) != now:
        raise DataError(f"{path.parent} holds a training by another plan; choose another --output")
    path.write_text(json.dumps(now, indent=1), "utf-8")


def _network(plan: Plan) -> Architecture:
    weights = plan.weights if plan.start is None else "none"
    try:
        built = build(plan.architecture, len(LABELS), plan.size, weights)
        if plan.start is not None:
            built.model.load_weights(plan.start)
    except DataError:
        raise
    except Exception as error:  # Keras raises many kinds for a missing download or weights that do not fit
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{plan.start or plan.weights}: the weights cannot be loaded: {why}") from error
    if plan.start is None:
        stages = built.stages
    else:
        stages = (Stage("continued", built.stages[-1].epochs // 2, built.stages[-1].rate / 4),)
    if plan.epochs is not None:
        tail = stages[-1]
        stages = (*stages[:-1], Stage(tail.name, plan.epochs, tail.rate, tail.trainable))
    return Architecture(built.model, stages)


def _targets(windows: Windows) -> NDArray[np.int64]:
    return np.array([LABELS.index(item.label) for item in windows.items])


def weights_of(windows: Windows) -> NDArray[np.float32]:
    """A weight for each window: by the inverse roots of how many its class has, and how many its site.

    Classes and sites then weigh more alike, and yet three basophils do not shout down everything else.
    """
    classes = Counter(item.label for item in windows.items)
    sites = Counter(item.site for item in windows.items)
    weight = [(classes[item.label] * sites[item.site]) ** -0.5 for item in windows.items]
    return np.array(weight, np.float32) / np.float32(np.mean(weight))


def _run_stage(run: _Run, number: int, stage: Stage) -> None:
    """Train one stage from its first epoch, or from where an earlier run of it stopped."""
    for layer in run.model.layers:
        layer.trainable = stage.trainable is None or layer.name in stage.trainable
    freeze_nested(run.model)
    order = np.random.default_rng([run.plan.seed, number])
    steps = -(-len(run.training.items) // run.plan.batch)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        stage.epochs * steps,
        alpha=1e-3,
        warmup_target=stage.rate,
        warmup_steps=int(_WARM_UP * stage.epochs * steps),
    )
    optimiser = keras.optimizers.AdamW(rate, weight_decay=_DECAY, clipnorm=2.0)
    optimiser.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    optimiser.build(run.model.trainable_variables)
    average = [tf.Variable(v) for v in run.model.trainable_variables]
    state = tf.train.Checkpoint(variables=run.model.variables, optimiser=optimiser.variables, average=average)
    done = [e for e in run.epochs if e.stage == stage.name]
    if done:
        state.read(run.checkpoint(number, len(done))).expect_partial()
    step = _step(run, optimiser, average)
    for epoch in range(1, stage.epochs + 1):
        shuffled = order.permutation(len(run.training.items))
        if epoch <= len(done):
            continue
        if run.stale(stage.name):
            run.report(f"{stage.name}: no better validation loss for {run.plan.patience} epochs")
            break
        began = time.monotonic()
        loss = 0.0
        for at in range(0, len(shuffled), run.plan.batch):
            chosen = shuffled[at : at + run.plan.batch]
            loss += float(step(run.training.images[chosen], run.targets[chosen], run.weights[chosen])) * len(
                chosen
            )
            run.watch(stage, epoch, min(at + run.plan.batch, len(shuffled)), len(shuffled))
        with _averaged(run.model, average):
            settle(run.model, _settling(run))
            validation_loss, accuracy = _validate(run)
            took = time.monotonic() - began
            run.add(Epoch(stage.name, epoch, loss / len(shuffled), validation_loss, accuracy, took))
        state.write(run.checkpoint(number, epoch))
        run.save_history()
        run.forget_checkpoints_before(number, epoch)


def _settling(run: _Run) -> Iterator[Any]:
    """Batches of training crops, drawn at random, for `settle`."""
    draw = np.random.default_rng(run.plan.seed)
    count = min(64, len(run.training.items))
    for _ in range(60):
        chosen = draw.choice(len(run.training.items), count, replace=False)
        yield augment(run.training.images[chosen], run.plan.size, run.plan.whole_share, run.plan.strength)


def _step(run: _Run, optimiser: Any, average: list[Any]) -> Any:
    smooth = _SMOOTHING / len(LABELS)

    def step(windows: Any, targets: Any, weights: Any) -> Any:
        crops = augment(windows, run.plan.size, run.plan.whole_share, run.plan.strength)
        wanted = tf.one_hot(targets, len(LABELS)) * (1 - _SMOOTHING) + smooth
        with tf.GradientTape() as tape:
            logits = tf.cast(run.model(crops, training=True), tf.float32)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, logits) * weights)
        variables = run.model.trainable_variables
        optimiser.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        # Early on, an average over hundreds of steps would mostly remember the start.
        count = tf.cast(optimiser.iterations, tf.float32)
        keep = tf.minimum(_AVERAGE, (1.0 + count) / (10.0 + count))
        for mean, value in zip(average, variables, strict=True):
            mean.assign(keep * mean + (1 - keep) * value)
        return loss

    side = run.training.images.shape[1]
    signature = [
        tf.TensorSpec([None, side, side, 3], tf.uint8),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None], tf.float32),
    ]
    return tf.function(step, input_signature=signature)


@contextmanager
def _averaged(model: Any, average: list[Any]) -> Iterator[None]:
    """The model with its averaged weights, for as long as the block lasts."""
    raw = [v.numpy() for v in model.trainable_variables]
    for variable, mean in zip(model.trainable_variables, average, strict=True):
        variable.assign(mean)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, raw, strict=True):
            variable.assign(value)


def _validate(run: _Run) -> tuple[float, float]:
    """Loss over located and whole crops, and the share right among cells of the five classes."""
    targets = _targets(run.validation)
    losses, right = [], []
    for crops in (run.validation.crops, run.validation.whole):
        logits = logits_of(run.model, crops)
        chance = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        losses.append(-chance[np.arange(len(targets)), targets].mean())
        known = targets < len(CLASSES)
        right.append((logits[:, : len(CLASSES)].argmax(1) == targets)[known].mean())
    return float(np.mean(losses)), float(right[0])


def logits_of(model: Any, crops: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """The model's logits for a stack of crops, n × outputs."""
    parts = [
        model(crops[i : i + batch].astype(np.float32), training=False) for i in range(0, len(crops), batch)
    ]
    return np.concatenate([np.asarray(p, np.float32) for p in parts])


class _Run:
    """A training under way: what it learns from, its record, and what a later run needs to go on."""

    def __init__(
        self,
        plan: Plan,
        model: Any,
        kept: Any,
        training: Windows,
        validation: Windows,
        output: Path,
        report: Report,
    ) -> None:
        self.plan, self.model, self.kept = plan, model, kept
        self.training, self.validation = training, validation
        self.output, self.report = output, report
        self.targets = _targets(training)
        self.weights = weights_of(training)
        self.history = output / "history.json"
        self.epochs = (
            [Epoch(**row) for row in json.loads(self.history.read_text("utf-8"))]
            if self.history.exists()
            else []
        )

    def checkpoint(self, stage: int, epoch: int) -> str:
        """Where the state after an epoch is kept: a file for each, so that one is whole at any moment."""
        return str(self.output / "checkpoint" / f"{stage}-{epoch}")

    def forget_checkpoints_before(self, stage: int, epoch: int) -> None:
        """Remove what the record no longer points to."""
        for file in (self.output / "checkpoint").iterdir():
            if not file.name.startswith(f"{stage}-{epoch}."):
                file.unlink()

    def stale(self, stage: str) -> bool:
        """Whether the last epochs of a stage brought nothing better."""
        losses = [e.validation_loss for e in self.epochs if e.stage == stage]
        return len(losses) - int(np.argmin(losses)) > self.plan.patience if losses else False

    def watch(self, stage: Stage, epoch: int, done: int, of: int) -> None:
        """Say now and then how far an epoch is."""
        if done == of or (done // self.plan.batch) % 50 == 0:
            self.report(f"{stage.name}: epoch {epoch} of {stage.epochs}, {done} of {of} pictures")

    def add(self, epoch: Epoch) -> None:
        """Note an epoch; the best so far by validation loss becomes the model."""
        if epoch.validation_loss <= min((e.validation_loss for e in self.epochs), default=np.inf):
            # A twin in full precision is what is kept: half-width operations cannot be converted.
            self.kept.set_weights(self.model.get_weights())
            partial = self.output / "partial.keras"
            self.kept.save(partial)
            partial.replace(self.output / "model.keras")
        self.epochs.append(epoch)
        self.report(
            f"{epoch.stage}: epoch {epoch.number}: loss {epoch.loss:.4f}, "
            f"validation {epoch.validation_loss:.4f}, {epoch.validation_accuracy:.2%} right, {epoch.seconds:.0f} s"
        )

    def save_history(self) -> None:
        """Write the record of all epochs, whole or not at all."""
        partial = self.history.with_suffix(".partial")
        partial.write_text(json.dumps([asdict(e) for e in self.epochs], indent=1), "utf-8")
        partial.replace(self.history)
