"""The course of a training, drawn."""

from __future__ import annotations

from pathlib import Path

from models.run import read_history


def draw_curves(history: Path, picture: Path) -> None:
    """Draw losses, scores on validation, recall by class and the learning rate over the epochs.

    Args:
        history: `history.json` of `models.training`.
        picture: PNG to write.
    """
    from matplotlib.figure import Figure

    epochs = read_history(history)
    at = range(1, len(epochs) + 1)
    figure = Figure(figsize=(10, 7), layout="constrained")
    (losses, scores), (recall, rate) = figure.subplots(2, 2, sharex=True)
    losses.plot(at, [e.loss for e in epochs], ".-", label="training, augmented")
    losses.plot(at, [e.validation_loss for e in epochs], ".-", label="validation")
    losses.set(ylabel="loss, nats", yscale="log")
    scores.plot(at, [100 * e.validation_accuracy for e in epochs], ".-", label="right")
    scores.plot(at, [100 * e.macro_f1 for e in epochs], ".-", label="macro F1")
    scores.set(ylabel="validation, %")
    for label in epochs[0].recall:
        recall.plot(at, [100 * e.recall[label] for e in epochs], ".-", label=label)
    recall.set(xlabel="epoch", ylabel="validation, recall, %")
    rate.plot(at, [e.learning_rate for e in epochs], ".-", color="tab:gray")
    rate.set(xlabel="epoch", ylabel="learning rate at the end", yscale="log")
    for axes in (losses, scores, recall):
        axes.legend(fontsize="small")
    figure.savefig(picture, dpi=120)
