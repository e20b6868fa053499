"""A bundle's linear head, fitted anew to a few labelled cells of another site: numpy only.

The network stays as it is: the last layer on a network's features, learned from a few examples of each class, is
a strong way to learn from few (Tian et al. 2020, arXiv:2003.11539). What keeps twenty cells a class from
bending it too far is a pull towards the weights that it had.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.inference.manifest import Head

Doubles = NDArray[np.float64]

PULL: Final = 0.1
"""How strongly the parent's weights hold; 0.01 to 0.3 do alike."""

_NEAR: Final = 1e-6  # to the least mean cross-entropy, where the search ends; answers are then within 0.001
_MOST_STEPS: Final = 100_000


def refit(
    parent: Head,
    embeddings: NDArray[np.floating[Any]],
    targets: NDArray[np.int64],
    shares: NDArray[np.floating[Any]],
    pull: float = PULL,
) -> Head:
    """Fit the head by multinomial logistic regression that starts from, and is pulled to, the parent's.

    What becomes least is the mean cross-entropy + pull/2 · ‖W − W_parent‖²; the bias is free. Outputs that no row
    shows take no part and stay the parent's: that a site's few cells show no basophil says nothing against
    basophils, and a free bias would unlearn them altogether.

    Args:
        parent: the head to begin with.
        embeddings: rows × width, of labelled crops.
        targets: rows, the index of the output that each should have.
        shares: rows, what each counts for; above 0, of any sum.
        pull: above 0.

    Raises:
        ArithmeticError: no convergence, which numbers that are finite do not lead to.
    """
    shown, places = np.unique(targets, return_inverse=True)
    rows = embeddings.astype(np.float64)
    share = shares / shares.sum()
    # W − W_parent lies in the span of the rows (the representer theorem); in an orthonormal basis of it the
    # problem has as many unknowns as there are rows, where these are fewer than the embedding's numbers.
    # Centred rows and a long constant column in place of the bias's ones change neither problem nor answer,
    # as the bias is free, but the number of steps to it.
    middle = share @ rows
    centred = rows - middle
    basis = np.linalg.qr(centred.T)[0] if len(rows) < rows.shape[1] else np.eye(rows.shape[1])
    within = centred @ basis
    steepest = max(float(np.linalg.eigvalsh((within.T * share) @ within)[-1]), pull)
    constant = np.sqrt(steepest)
    design = np.column_stack([within, np.full(len(rows), constant)])
    start = (rows @ parent.weights + parent.bias)[:, shown]
    found = _least(design, places, share, start, pull, steepest)
    change = basis @ found[:-1]
    weights, bias = parent.weights.astype(np.float64), parent.bias.astype(np.float64)
    weights[:, shown] += change
    bias[shown] += constant * found[-1] - middle @ change
    return Head(weights.astype(np.float32), bias.astype(np.float32))


def _least(
    design: Doubles, targets: NDArray[np.int64], share: Doubles, start: Doubles, pull: float, steepest: float
) -> Doubles:
    """The change of the weights, in rows of which the last is not pulled, that makes the objective least.

    Nesterov's accelerated gradient (1983, Soviet Math. Dokl. 27, 372–376), begun anew where it overshoots
    (O'Donoghue and Candès 2015, Found. Comput. Math. 15, 715–732).
    """
    # The curvature of the cross-entropy in the logits is at most 1/2 (Böhning 1992), the constant column is as
    # long as the widest direction and at right angles to it.
    step = 1 / (0.5 * steepest + pull)
    pulls = np.append(np.full(design.shape[1] - 1, pull), 0.0)[:, None]
    wanted = np.zeros_like(start)
    wanted[np.arange(len(targets)), targets] = 1
    at = ahead = np.zeros((design.shape[1], start.shape[1]))
    speed = 1.0
    for _ in range(_MOST_STEPS):
        gradient = design.T @ (share[:, None] * (softmax(start + design @ ahead) - wanted)) + pulls * ahead
        # A function that curves by `pull` everywhere is within ‖gradient‖²/(2·pull) of its least value.
        if float((gradient**2).sum()) <= 2 * pull * _NEAR:
            return ahead
        further = ahead - step * gradient
        if float((gradient * (further - at)).sum()) > 0:
            speed = 1.0
        faster = (1 + np.sqrt(1 + 4 * speed**2)) / 2
        ahead, at, speed = further + (speed - 1) / faster * (further - at), further, faster
    raise ArithmeticError(f"no head was found in {_MOST_STEPS} steps")


def softmax(logits: NDArray[np.floating[Any]]) -> Doubles:
    """Probabilities of each row of logits."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)
