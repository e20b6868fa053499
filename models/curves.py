"""The course of a training, drawn."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(history: Path, picture: Path) -> None:
    """Draw losses and validation accuracy over the epochs.

    Args:
        history: `history.json` of `models.training`.
        picture: PNG to write.
    """
    from matplotlib.figure import Figure

    epochs = json.loads(history.read_text("utf-8"))
    at = range(1, len(epochs) + 1)
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    losses.plot(at, [e["loss"] for e in epochs], label="training, augmented")
    losses.plot(at, [e["validation_loss"] for e in epochs], label="validation")
    losses.set(xlabel="epoch", ylabel="loss, nats", yscale="log")
    losses.legend()
    accuracy.plot(at, [100 * e["validation_accuracy"] for e in epochs], color="tab:green")
    accuracy.set(xlabel="epoch", ylabel="validation, % right")
    figure.savefig(picture, dpi=120)
