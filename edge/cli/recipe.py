"""The options of `leukoscope train` that say how to learn. Each is a field of `models.plan.Plan`, of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

from edge.cli.options import Number

_ABOVE_0 = Number(0, min_open=True)

OPTIONS: Final = (
    click.option("--size", type=click.IntRange(32, 512), default=128, show_default=True,
                 help="Side of the input in pixels."),
    click.option("--epochs", type=click.IntRange(1, 10_000),
                 help="Of the last stage. Default: the architecture's own."),
    click.option("--batch", type=click.IntRange(1, 1024), default=32, show_default=True, help="Pictures a step."),
    click.option("--weights", default="imagenet", show_default=True,
                 help="Pretrained weights: imagenet (downloaded on first use) or a file."),
    click.option("--start", type=click.Path(exists=True, dir_okay=False),
                 help="Go on from a trained .keras model, gently."),
    click.option("--strength", type=Number(0, 1), default=1.0, show_default=True,
                 help="Of the changes to stain and focus in augmentation; a small network learns better from fewer."),
    click.option("--between", type=Number(0, 1), default=0.0, show_default=True,
                 help="Share of cells laid over one of another class, which makes a cell of another kind: the model "
                 "holds back more of what it never saw."),
    click.option("--class-weights", type=click.Choice(["root", "inverse", "effective", "none"]),
                 help="What a picture of a rare class weighs in the loss. root: by the inverse root of how many its "
                 "class has. inverse: by the inverse, so that all classes weigh the same together. effective: by the "
                 "effective number of pictures (Cui et al. 2019), like inverse up to some hundreds, flatter above. "
                 "Default: root; none with balanced sampling."),
    click.option("--site-weights", type=click.Choice(["root", "equal", "none"]), default="root", show_default=True,
                 help="The same for pictures of a small site where --data names several. "
                 "equal: all sites weigh the same together."),
    click.option("--sampling", type=click.Choice(["shuffled", "balanced"]), default="shuffled", show_default=True,
                 help="shuffled: each picture once an epoch. balanced: each class equally often, the pictures of a "
                 "rare one several times."),
    click.option("--loss", type=click.Choice(["cross-entropy", "focal"]), default="cross-entropy", show_default=True,
                 help="focal (Lin et al. 2017) leaves the word to the pictures that are not yet right. It makes a "
                 "model less sure of itself, which conversion calibrates again."),
    click.option("--gamma", type=Number(0, 10), default=2.0, show_default=True,
                 help="Of the focal loss: how little a picture counts that is already right."),
    click.option("--smoothing", type=Number(0, 0.5), default=0.03, show_default=True,
                 help="Label smoothing: the share of the target that is spread over all classes; 0 for none."),
    click.option("--optimiser", "--optimizer", "optimiser", type=click.Choice(["adamw", "adam"]), default="adamw",
                 show_default=True, help="AdamW is Adam with weight decay."),
    click.option("--weight-decay", type=Number(0, 1), default=1e-4, show_default=True, help="Of AdamW."),
    click.option("--learning-rate", type=_ABOVE_0, metavar="RATE",
                 help="Highest of the last stage. Default: the architecture's own."),
    click.option("--schedule", type=click.Choice(["cosine", "plateau"]), default="cosine", show_default=True,
                 help="cosine: the learning rate warms up and falls along a cosine over all epochs. plateau: it "
                 "stays, and falls where no epoch is better."),
    click.option("--plateau-factor", type=Number(0, 1, min_open=True, max_open=True), default=0.5, show_default=True,
                 help="What the rate is multiplied with on a plateau."),
    click.option("--plateau-patience", type=click.IntRange(1, 10_000), default=3, show_default=True,
                 help="Epochs in a row without a better one that make a plateau; fewer than --patience."),
    click.option("--patience", type=click.IntRange(1, 10_000), default=8, show_default=True,
                 help="End early, after this many epochs in a row without a better one."),
    click.option("--best-by", type=click.Choice(["loss", "macro-f1"]), default="loss", show_default=True,
                 help="What makes an epoch better, and its model the one that is kept: less loss on the validation "
                 "side, or a higher mean over the classes of F1 there, in which a rare class counts like any other."),
    click.option("--bfloat16", is_flag=True, help="Compute in half width; faster where the processor has it."),
    click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
                 help="The same number, the same training."),
)  # fmt: skip

_ONLY_WITH: Final = {
    "gamma": ("loss", "focal"),
    "weight_decay": ("optimiser", "adamw"),
    "plateau_factor": ("schedule", "plateau"),
    "plateau_patience": ("schedule", "plateau"),
}
"""Options that would say nothing without another."""


def recipe(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def refuse_idle(context: click.Context) -> None:
    """See that each option that was given has an effect.

    Raises:
        click.UsageError: one has none; the text says what it goes with.
    """
    for name, (other, value) in _ONLY_WITH.items():
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and context.params[other] != value:
            raise click.UsageError(f"{_flag(name)} goes with {_flag(other)} {value} only.")
    if context.params["schedule"] == "plateau" and (
        context.params["plateau_patience"] >= context.params["patience"]
    ):
        raise click.UsageError(
            "--plateau-patience must be less than --patience, or training ends before the rate ever falls."
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
