"""An evaluation's figures, drawn with Matplotlib (extra `evaluate`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import MissingExtra
from edge.statistics.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(evaluations: Mapping[str, Evaluation], folder: Path) -> list[Path]:
    """Draw confusion, ROC and reliability of each model, and coverage against accuracy of all.

    Args:
        evaluations: by a name that is fit for a file's.
        folder: where to write; it exists.

    Returns:
        The PNG files, in the order in which they are to be shown.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing the figures", "evaluate") from error

    written = []

    def save(figure: Figure, name: str) -> None:
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=130)
        written.append(path)

    for name, evaluation in evaluations.items():
        for kind, draw in (("confusion", _confusion), ("roc", _roc), ("reliability", _reliability)):
            figure = Figure(figsize=(5.6, 5), layout="constrained")
            axes = figure.add_subplot(title=name)
            draw(axes, evaluation)
            save(figure, f"{kind}-{name}")
    figure = Figure(figsize=(7, 5), layout="constrained")
    _coverage(figure.add_subplot(), evaluations)
    save(figure, "coverage")
    return written


def _confusion(axes: Any, evaluation: Evaluation) -> None:
    rows = [[count / max(1, sum(row)) for count in row] for row in evaluation.confusion]
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(evaluation.classes))
    axes.set_xticks(ticks, evaluation.classes, rotation=30, ha="right")
    axes.set_yticks(ticks, evaluation.classes)
    axes.set(xlabel="read as", ylabel="labelled")
    for y, row in enumerate(evaluation.confusion):
        for x, count in enumerate(row):
            axes.text(x, y, count, ha="center", va="center", color="white" if rows[y][x] > 0.5 else "black")


def _roc(axes: Any, evaluation: Evaluation) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    for figures in evaluation.by_class:
        if figures.roc:
            xs, ys = zip(*figures.roc, strict=True)
            axes.plot(xs, ys, label=f"{figures.name} ({figures.auc:.4f})")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))
    if any(figures.roc for figures in evaluation.by_class):
        axes.legend(title="one class against the rest (area)")


def _reliability(axes: Any, evaluation: Evaluation) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    bins = [b for b in evaluation.reliability if b.count]
    axes.bar([b.low for b in bins], [b.accuracy for b in bins], 1 / len(evaluation.reliability), align="edge",
             alpha=0.35, edgecolor="black", linewidth=0.5)  # fmt: skip
    axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], "o-", markersize=4)
    for b in bins:
        axes.annotate(b.count, (b.confidence, b.accuracy), xytext=(-4, 5), textcoords="offset points",
                      fontsize=7, ha="right")  # fmt: skip
    ece = "–" if evaluation.ece is None else f"{evaluation.ece:.4f}"
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.04))
    axes.text(0.03, 0.97, f"expected calibration error {ece}", va="top")


def _coverage(axes: Any, evaluations: Mapping[str, Evaluation]) -> None:
    for name, evaluation in evaluations.items():
        points = [point for point in evaluation.coverage if point.accuracy is not None]
        axes.plot(
            [100 * point.accepted for point in points],
            [100 * point.accuracy for point in points if point.accuracy is not None],
            ".-",
            label=name,
        )
    axes.set(
        xlabel="accepted, % of all",
        ylabel="right, % of the accepted",
        title="as the threshold moves, 0.50 to 0.99",
    )
    axes.grid(alpha=0.3)
    axes.legend()
