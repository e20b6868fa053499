"""What to train and how: every choice of a training in one frozen record, with its default.

The defaults are the recipe of the shipped models. Each choice does one thing to the loop of `models.training`;
which module does it stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.errors import DataError
from models.datasets import CLASSES, OTHER

LABELS = (*CLASSES, OTHER)
"""What the logits stand for where there are pictures of all classes: the five, then everything else."""

ClassWeights = Literal["root", "inverse", "effective", "none"]
SiteWeights = Literal["root", "equal", "none"]
Sampling = Literal["shuffled", "balanced"]
Loss = Literal["cross-entropy", "focal"]
Optimiser = Literal["adamw", "adam"]
Schedule = Literal["cosine", "plateau"]
Best = Literal["loss", "macro-f1"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train and how long.

    Attributes:
        architecture: one of `models.architectures.NAMES`.
        size: side of the input in pixels.
        batch: pictures a step.
        epochs: of the last stage, None for the architecture's own.
        patience: epochs without a better score (see `best_by`) after which a stage ends.
        whole_share: share of crops zoomed out as a portrait taken whole.
        weights: `imagenet` or a file.
        strength: of the augmentation, 0 to 1, see `models.augment`.
        between: share of crops that become cells between two classes, and so of other kinds (`models.between`).
        start: a trained `.keras` model to go on from, with its last stage at a quarter of the rate.
        match_stain: learn from crops in the reference's stain, see `edge.vision.stain`.
        bfloat16: compute in half width where the processor can, twice as fast; weights stay float32.
        seed: of everything random.
        class_weights: what a picture weighs in the loss by how many its class has (`models.sampling`); None
            for `root`, or for `none` where `sampling` is balanced and has evened the classes out already.
        site_weights: the same by how many its site has.
        sampling: `shuffled` shows each picture once an epoch, `balanced` each class equally often.
        loss: what is minimised (`models.losses`).
        gamma: of the focal loss: how little a picture counts that is already right. 0 is cross-entropy.
        smoothing: share of the target that is spread over all outputs, 0 to below 1.
        optimiser: `adamw`, or `adam` without weight decay (`models.schedule`).
        weight_decay: of `adamw`, a step and learning rate.
        learning_rate: highest of the last stage, None for the architecture's own.
        schedule: `cosine` with a warm-up, or `plateau`, which lowers the rate where nothing improves.
        plateau_factor: what the rate is multiplied with on a plateau, above 0 and below 1.
        plateau_patience: epochs without a better score that make a plateau.
        best_by: the score by which the best epoch is kept, a stage ends and a plateau is seen: the validation
            loss, or the macro F1 on validation (of equals, the one of less loss).
        classes: what the model is to name. A class of which there is no picture at all cannot be among them.

    Raises:
        DataError: the rate would never fall, because training ends before `plateau_patience` is over.
    """

    architecture: str
    size: int = 128
    batch: int = 32
    epochs: int | None = None
    patience: int = 8
    whole_share: float = 0.25
    weights: str = "imagenet"
    strength: float = 1.0
    between: float = 0.0
    start: str | None = None
    match_stain: bool = True
    bfloat16: bool = False
    seed: int = 1
    class_weights: ClassWeights | None = None
    site_weights: SiteWeights = "root"
    sampling: Sampling = "shuffled"
    loss: Loss = "cross-entropy"
    gamma: float = 2.0
    smoothing: float = 0.03
    optimiser: Optimiser = "adamw"
    weight_decay: float = 1e-4
    learning_rate: float | None = None
    schedule: Schedule = "cosine"
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    best_by: Best = "loss"
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        if self.schedule == "plateau" and self.plateau_patience >= self.patience:
            raise DataError(
                f"the learning rate would never fall: training ends after {self.patience} epochs without a better "
                f"score, and a plateau is seen after {self.plateau_patience}; choose fewer for the plateau"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """What the logits stand for: the classes, then everything else."""
        return (*self.classes, OTHER)

    @property
    def classes_weigh(self) -> ClassWeights:
        """The class weights that are used: those asked for, or what goes with the sampling."""
        return self.class_weights or ("none" if self.sampling == "balanced" else "root")
