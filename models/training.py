"""Train a network on windows of labelled cells: the loop.

What a step minimises is in `models.losses`, which pictures it sees in `models.sampling`, how far it moves in
`models.schedule`, and what is kept of it in `models.run`. An exponential moving average of the weights is what is
validated and kept (Polyak and Juditsky 1992). The test part is never looked at.

All chance comes from the plan's seed and the epoch's number, so that a training that was interrupted ends where
an uninterrupted one does, to the last bit on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge.errors import DataError
from models.architectures import Architecture, Stage, build, release
from models.augment import augment
from models.between import between
from models.losses import losses_of
from models.normalisation import settle
from models.plan import LABELS, Plan
from models.run import Epoch, Report, Run, note_plan
from models.sampling import class_weights_in_words, epoch_order, weights_of
from models.schedule import optimiser_of, rate_after
from models.windows import Windows

__all__ = ["LABELS", "Epoch", "Plan", "logits_of", "train"]

_AVERAGE = 0.995  # of the old weights, each step; about the last 200 steps count


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
    note_plan(output / "plan.json", plan)
    for part, windows in (("training", training), ("validation", validation)):
        missing = [name for name in plan.classes if all(item.label != name for item in windows.items)]
        if missing:
            raise DataError(f"no {part} pictures of: {', '.join(missing)}")
    keras.utils.set_random_seed(plan.seed)
    kept = _network(plan).model
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if plan.bfloat16 else "float32")
    architecture = _network(plan)
    keras.mixed_precision.set_global_policy("float32")
    run = Run(plan, kept, output, report)
    if not run.ended(architecture.stages[-1]):
        weights = weights_of(training.items, plan)
        report(f"a picture weighs on average: {class_weights_in_words(training.items, weights)}")
        for number, stage in enumerate(architecture.stages):
            if not any(run.of(later) for later in architecture.stages[number + 1 :]):
                _train_stage(run, architecture, number, stage, training, weights, validation)
    return output / "model.keras"


def _network(plan: Plan) -> Architecture:
    weights = plan.weights if plan.start is None else "none"
    try:
        built = build(plan.architecture, len(plan.labels), plan.size, weights)
        if plan.start is not None:
            built.model.load_weights(plan.start)
    except DataError:
        raise
    except Exception as error:  # Keras raises many kinds for a missing download or weights that do not fit
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{plan.start or plan.weights}: the weights cannot be loaded: {why}") from error
    *first, tail = built.stages
    if plan.start is not None:
        first, tail = [], Stage("continued", tail.epochs // 2, tail.rate / 4, tail.trainable)
    tail = Stage(tail.name, plan.epochs or tail.epochs, plan.learning_rate or tail.rate, tail.trainable)
    return Architecture(built.model, (*first, tail), built.frozen)


def _train_stage(
    run: Run,
    architecture: Architecture,
    number: int,
    stage: Stage,
    training: Windows,
    weights: NDArray[np.float32],
    validation: Windows,
) -> None:
    """Train one stage from its first epoch, or from where an earlier run of it stopped."""
    plan, model = run.plan, architecture.model
    targets = _targets(training, plan)
    release(architecture, stage)
    optimiser = optimiser_of(plan, stage.rate, stage.epochs * -(-len(targets) // plan.batch))
    optimiser.build(model.trainable_variables)
    average = [tf.Variable(v) for v in model.trainable_variables]
    state = tf.train.Checkpoint(variables=model.variables, optimiser=optimiser.variables, average=average)
    done = len(run.of(stage))
    if done:
        run.restore(state, number, done)
    step = step_of(plan, model, optimiser, average)
    draw = np.random.default_rng([plan.seed, number])
    for epoch in range(1, stage.epochs + 1):
        order = epoch_order(targets, plan, draw)
        if epoch <= done:
            continue
        if run.ended(stage):
            break
        began, total = time.monotonic(), 0.0
        if plan.schedule == "plateau":
            optimiser.learning_rate = rate_after(run.scores(stage), stage.rate, plan)
        crops_of = _augmentation(plan, training, (plan.seed, number, epoch))
        mixing = np.random.default_rng([plan.seed, number, epoch])
        for at in range(0, len(order), plan.batch):
            chosen = order[at : at + plan.batch]
            batch = crops_of(chosen), targets[chosen], weights[chosen]
            if plan.between:
                batch = between(*batch, len(plan.classes), plan.between, mixing)
            total += float(step(*batch)) * len(chosen)
            run.watch(stage, epoch, at + len(chosen), len(order))
        with _averaged(model, average):
            settle(model, (crops_of(chosen) for chosen in _settling(plan, len(targets))))
            loss, accuracy, confusion = _validate(model, validation, plan)
            if not np.isfinite([total, loss]).all():
                raise DataError(
                    f"{stage.name}: the loss is no number any more after epoch {epoch}: "
                    f"choose a --learning-rate below {stage.rate:g}"
                )
            rate, took = float(optimiser.learning_rate), time.monotonic() - began
            noted = Epoch(
                stage.name, epoch, total / len(order), loss, accuracy, confusion, rate, took, plan.labels
            )
            run.add(noted, model.get_weights())
        run.save(state, number, epoch)


def _augmentation(plan: Plan, windows: Windows, seed: tuple[int, ...]) -> Callable[[NDArray[np.int64]], Any]:
    """Makes training crops of chosen pictures; the seed decides what is drawn.

    A graph's random numbers go on from call to call and cannot be brought back to where they were. A graph of
    its own for each epoch begins with numbers that follow from its seed.
    """
    graph_seed = int(np.random.default_rng(seed).integers(2**31))

    def crops(images: Any) -> Any:
        tf.compat.v1.set_random_seed(graph_seed)  # of the graph that is being made, not of TensorFlow
        return augment(images, plan.size, plan.whole_share, plan.strength)

    side = windows.images.shape[1]
    graph = tf.function(crops, input_signature=[tf.TensorSpec([None, side, side, 3], tf.uint8)])
    return lambda chosen: graph(windows.images[chosen])


def _settling(plan: Plan, pictures: int) -> Iterator[NDArray[np.int64]]:
    """Batches of pictures, drawn at random, for `settle`."""
    draw = np.random.default_rng(plan.seed)
    for _ in range(60):
        yield draw.choice(pictures, min(64, pictures), replace=False)


def step_of(plan: Plan, model: Any, optimiser: Any, average: list[Any]) -> Callable[..., Any]:
    """Make the step: forward, gradients, optimiser, average.

    Args:
        plan: `size`, and what `losses_of` takes.
        model: the network; its own penalties, L2 of kernels, are added to the loss.
        optimiser: built for the model's trainable variables.
        average: a variable for each of those, which follows it slowly.

    Returns:
        Takes n crops, n targets and n weights, and answers with the loss before the step.
    """

    def step(crops: Any, targets: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = tf.cast(model(crops, training=True), tf.float32)
            loss = tf.reduce_mean(losses_of(plan, logits, targets) * weights)
            if model.losses:
                loss += tf.add_n([tf.cast(penalty, tf.float32) for penalty in model.losses])
        variables = model.trainable_variables
        optimiser.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        # Early on, an average over hundreds of steps would mostly remember the start.
        count = tf.cast(optimiser.iterations, tf.float32)
        keep = tf.minimum(_AVERAGE, (1.0 + count) / (10.0 + count))
        for mean, value in zip(average, variables, strict=True):
            mean.assign(keep * mean + (1 - keep) * value)
        return loss

    signature = [
        tf.TensorSpec([None, plan.size, plan.size, 3], tf.float32),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None], tf.float32),
    ]
    compiled: Callable[..., Any] = tf.function(step, input_signature=signature)
    return compiled


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


def _targets(windows: Windows, plan: Plan) -> NDArray[np.int64]:
    return np.array([plan.labels.index(item.label) for item in windows.items])


def _validate(
    model: Any, validation: Windows, plan: Plan
) -> tuple[float, float, tuple[tuple[int, ...], ...]]:
    """Loss over located and whole crops; accuracy and confusion of the located ones, see `Epoch`."""
    targets, classes = _targets(validation, plan), len(plan.classes)
    located, whole = logits_of(model, validation.crops), logits_of(model, validation.whole)
    losses = []
    for logits in (located, whole):
        with np.errstate(all="ignore"):  # where training diverged, the loss will tell
            chance = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        losses.append(-chance[np.arange(len(targets)), targets].mean())
    known = targets < classes
    accuracy = (located[:, :classes].argmax(1) == targets)[known].mean()
    confusion = np.zeros((len(plan.labels), len(plan.labels)), np.int64)
    np.add.at(confusion, (targets, located.argmax(1)), 1)
    return float(np.mean(losses)), float(accuracy), tuple(map(tuple, confusion.tolist()))


def logits_of(model: Any, crops: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """The model's logits for a stack of crops, n × outputs."""
    parts = [
        model(crops[i : i + batch].astype(np.float32), training=False) for i in range(0, len(crops), batch)
    ]
    return np.concatenate([np.asarray(p, np.float32) for p in parts])
