"""Which pictures an epoch shows, and what each weighs: rare classes and small sites among large ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.datasets import Item
from models.plan import LABELS, Plan

_BETA: Final = 0.999  # Cui et al. tried 0.9 to 0.9999; a data set here has some hundreds a class

_WEIGHT: Final[dict[str, Callable[[float], float]]] = {
    "root": lambda count: count**-0.5,
    "inverse": lambda count: 1 / count,
    "effective": lambda count: (1 - _BETA) / (1 - _BETA**count),
    "none": lambda _: 1.0,
}


def weights_of(items: Sequence[Item], plan: Plan) -> NDArray[np.float32]:
    """What each picture weighs in the loss: a factor by the size of its class times one by its site's.

    - `root`: the inverse root of the count. Classes (sites) weigh more alike, and yet three basophils do not
      shout down everything else.
    - `inverse`, for classes: the inverse of the count. But for the sites' factor, all classes weigh the same together.
    - `effective`, for classes: the inverse of the effective number of pictures, (1 − b^n) / (1 − b) with b = 0.999
      (Cui et al. 2019, CVPR, arXiv:1901.05555): more pictures of a class say ever less that is new.
    - `equal`, for sites: the inverse of what the site's pictures weigh by their classes. All sites weigh the same
      together.
    - `none`: 1.

    Returns:
        A weight for each picture, on average 1.
    """
    classes = Counter(item.label for item in items)
    by_class = [_WEIGHT[plan.classes_weigh](classes[item.label]) for item in items]
    sites: dict[str, float] = dict.fromkeys((item.site for item in items), 0.0)
    for item, own in zip(items, by_class, strict=True):
        sites[item.site] += own if plan.site_weights == "equal" else 1
    by_site = _WEIGHT["inverse" if plan.site_weights == "equal" else plan.site_weights]
    weight = [own * by_site(sites[item.site]) for item, own in zip(items, by_class, strict=True)]
    return np.array(weight, np.float32) / np.float32(np.mean(weight))


def class_weights_in_words(items: Sequence[Item], weights: NDArray[np.float32]) -> str:
    """The mean weight of a picture of each class, as `basophil 1.31, …`."""
    labels = np.array([item.label for item in items])
    return ", ".join(
        f"{label} {weights[labels == label].mean():.2f}" for label in LABELS if (labels == label).any()
    )


def epoch_order(targets: NDArray[np.int64], plan: Plan, draw: np.random.Generator) -> NDArray[np.int64]:
    """The pictures of one epoch in the order of their showing, as many as there are.

    Shuffled, each picture comes once. Balanced, each class comes equally often (but for one): of a large class
    other pictures are left out in each epoch, those of a small class come again, all of them equally often
    (but for one).

    Args:
        targets: the class of each picture, as a number.
        plan: `sampling` of it.
        draw: decides; another state, another order.
    """
    if plan.sampling == "shuffled":
        return draw.permutation(len(targets))
    classes = np.unique(targets)
    quota = np.full(len(classes), len(targets) // len(classes))
    quota[draw.permutation(len(classes))[: len(targets) % len(classes)]] += 1
    chosen = []
    for one, count in zip(classes, quota, strict=True):
        members = np.flatnonzero(targets == one)
        rounds = -(-count // len(members))
        chosen.append(np.concatenate([draw.permutation(members) for _ in range(rounds)])[:count])
    return draw.permutation(np.concatenate(chosen))
