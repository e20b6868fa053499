"""Is the converted model still its original? Measured on real images; a miss leaves no bundle behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import ConversionError

LEAST_AGREEMENT = 0.985
"""Share of images to which original and converted model must give the same class."""

MOST_LOST = 0.02
"""How much accuracy a class may lose, as a share; or a single image, where a class has few."""

MOST_GAINED = 0.2
"""Share of accuracy that another order of the classes' names may gain before it is remarked."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Converted model against original.

    Attributes:
        images: how many were compared.
        agreement: share that both give the same class.
        accuracy: of original and converted on the images of known class.
        lost: accuracy that each class lost, negative where it gained.
        largest_difference: between any two probabilities of one output.
    """

    images: int
    agreement: float
    accuracy: tuple[float, float]
    lost: dict[str, float]
    largest_difference: float


def compare(
    original: NDArray[np.float32],
    converted: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: tuple[str, ...],
) -> Comparison:
    """Compare the probabilities, n × outputs, that two models give the same images.

    Args:
        original: of the model that was converted.
        converted: of the result.
        targets: n, index of the output that is right, -1 where none is.
        classes: names of the outputs.
    """
    before, after = original.argmax(1), converted.argmax(1)
    known = targets >= 0
    lost = {}
    for index, name in enumerate(classes):
        mask = targets == index
        if mask.any():
            lost[name] = float((before == index)[mask].mean() - (after == index)[mask].mean())
    accuracy = [float((guess == targets)[known].mean()) for guess in (before, after)]
    return Comparison(
        len(targets),
        float((before == after).mean()),
        (accuracy[0], accuracy[1]),
        lost,
        float(np.abs(original - converted).max()),
    )


def check(
    comparison: Comparison, targets: NDArray[np.int64], classes: tuple[str, ...], causes: Callable[[], str]
) -> None:
    """Refuse a conversion that changed the model.

    Args:
        comparison: of original and result.
        targets: those that were compared.
        classes: names of the outputs.
        causes: asked where the gate is missed; the sentence's end: which layers cost most.

    Raises:
        ConversionError: says what was missed, by how much, and where it was lost.
    """
    if comparison.agreement < LEAST_AGREEMENT:
        raise ConversionError(
            f"the converted model agrees with its original on {comparison.agreement:.2%} of {comparison.images} "
            f"images; at least {LEAST_AGREEMENT:.1%} are needed{causes()}"
        )
    for index, name in enumerate(classes):
        count = int((targets == index).sum())
        if count and comparison.lost.get(name, 0.0) > max(MOST_LOST, 1.5 / count):
            raise ConversionError(
                f"the converted model lost {comparison.lost[name]:.1%} of the {count} {name} images; "
                f"at most {MOST_LOST:.0%} may be lost{causes()}"
            )


def better_order(
    original: NDArray[np.float32], targets: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The order of names in which a model's outputs would fit the pictures much better, if there is one.

    No file says what its outputs stand for; a wrong order is a model that is wrong on every cell.

    Args:
        original: probabilities, n × outputs.
        targets: n, index of the output that is right, -1 where none is.
        classes: names of the outputs as they were given.
    """
    known = targets >= 0
    guesses = original[known].argmax(1)
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (guesses, targets[known]), 1)
    names = list(range(len(classes)))
    free = counts.copy()
    for _ in classes:  # each time the output and the class that meet most often
        output, name = np.unravel_index(free.argmax(), free.shape)
        names[output] = int(name)
        free[output], free[:, name] = -1, -1
    gained = (counts[range(len(classes)), names].sum() - counts.trace()) / max(known.sum(), 1)
    return tuple(classes[name] for name in names) if gained > MOST_GAINED else None
