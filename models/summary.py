"""What a training came to, in words and small tables."""

from __future__ import annotations

from pathlib import Path

from models.plan import Plan
from models.run import best_of, read_history

_FILES = {
    "model.keras": "the model of that epoch: what `leukoscope convert` takes",
    "history.json": "every epoch",
    "curves.png": "the same, drawn",
    "split.json": "which pictures were learned from",
    "plan.json": "the settings",
}


def summary(output: Path, plan: Plan) -> str:
    """The best epoch of a finished training, recall and confusion by class on validation, and the files.

    Args:
        output: the folder of the training.
        plan: what was trained.
    """
    epochs = read_history(output / "history.json")
    best = best_of(epochs, plan.best_by)
    by = "validation loss" if plan.best_by == "loss" else "macro F1"
    lines = [
        f"best of {len(epochs)} epochs by {by}: {best.stage}, epoch {best.number}: validation loss "
        f"{best.validation_loss:.4f}, {best.validation_accuracy:.2%} right, macro F1 {best.macro_f1:.2%}",
        "",
        f"{'validation':14} {'pictures':>8} {'recall':>8} {'precision':>9}   taken for (all outputs)",
        " " * 44 + " ".join(f"{label[:5]:>5}" for label in plan.labels),
    ]
    for label, row in zip(plan.labels, best.confusion, strict=True):
        if sum(row):
            precision = f"{best.precision[label]:.1%}" if label in best.precision else "–"
            counts = " ".join(f"{count or '·':>5}" for count in row)
            lines.append(f"{label:14} {sum(row):8} {best.recall[label]:8.1%} {precision:>9}   {counts}")
    lines.append("")
    lines += [f"{output / name}: {what}" for name, what in _FILES.items() if (output / name).exists()]
    return "\n".join(lines)
