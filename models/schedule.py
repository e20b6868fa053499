"""How the weights move: the optimiser, and the course of its learning rate over a stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from models.plan import Plan

_WARM_UP = 0.05  # share of a stage's steps
_LEAST = 1e-3  # of the highest rate: where a cosine ends and no plateau goes below
_CLIP = 2.0  # longest gradient of a variable


def optimiser_of(plan: Plan, rate: float, steps: int) -> Any:
    """The optimiser of a stage.

    Adam (Kingma and Ba 2015, arXiv:1412.6980) or AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), which
    decays kernels, but neither biases nor normalisations. The cosine (Loshchilov and Hutter 2017,
    arXiv:1608.03983) belongs to the optimiser and counts its steps; on a plateau the loop sets the rate.

    Args:
        plan: `optimiser`, `weight_decay` and `schedule` of it.
        rate: the stage's highest learning rate.
        steps: how many the stage has.
    """
    course = rate if plan.schedule == "plateau" else _cosine(rate, steps)
    if plan.optimiser == "adam":
        return keras.optimizers.Adam(course, clipnorm=_CLIP)
    optimiser = keras.optimizers.AdamW(course, weight_decay=plan.weight_decay, clipnorm=_CLIP)
    optimiser.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimiser


def _cosine(rate: float, steps: int) -> Any:
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps, alpha=_LEAST, warmup_target=rate, warmup_steps=int(_WARM_UP * steps)
    )


def rate_after(scores: Sequence[tuple[float, ...]], rate: float, plan: Plan) -> float:
    """The learning rate after some epochs, where it falls on every plateau.

    It follows from the record alone, so a continued training has the rate of an uninterrupted one.

    Args:
        scores: of a stage's epochs so far, less is better.
        rate: the stage's highest.
        plan: `plateau_factor` and `plateau_patience` of it.
    """
    best: tuple[float, ...] | None = None
    waited, now = 0, rate
    for score in scores:
        if best is None or score < best:
            best, waited = score, 0
            continue
        waited += 1
        if waited == plan.plateau_patience:
            now, waited = max(now * plan.plateau_factor, rate * _LEAST), 0
    return now
