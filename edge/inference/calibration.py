"""What a bundle needs to know of itself, fitted on real images that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.inference.manifest import Familiarity, Head

Floats = NDArray[np.float32]

_DIRECTIONS = 48  # of the embedding in which distances are taken
_SHRINK = 0.05  # share of the average variance added to each direction: rare directions are poorly known
# Shares of known cells that the limits let pass. Chosen on sites left out of training (docs/models.md): at 99 % for
# the distance, too, twice as many of another microscope's cells are accepted wrongly.
_NEAR_KEPT = 0.970
_NOT_OTHER_KEPT = 0.990
_LEAST_OF_A_SITE = 100  # cells; fewer say too little of a site to set its limit
# However the quantile falls: a trace of doubt is no reason, and more likely than not always is one.
_OTHER_LIMITS = 0.05, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The embeddings of a set of crops.

    Attributes:
        embeddings: n × width.
        targets: n, index of the class, or -1 for cells of other kinds.
        sites: n, names of the data sets they are from; None where they are from one.
    """

    embeddings: Floats
    targets: NDArray[np.int64]
    sites: NDArray[np.str_] | None = None

    @property
    def known(self) -> Embedded:
        """Those of the classes only."""
        mask = self.targets >= 0
        sites = None if self.sites is None else self.sites[mask]
        return Embedded(self.embeddings[mask], self.targets[mask], sites)


def temperature(head: Head, held_out: Embedded, classes: int) -> float:
    """The temperature at which the classes' probabilities are calibrated (Guo et al. 2017, arXiv:1706.04599).

    Found by golden section as the minimum of the negative log-likelihood on held-out cells.
    """
    known = held_out.known
    logits = (known.embeddings @ head.weights + head.bias)[:, :classes].astype(np.float64)

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        right = scaled[np.arange(len(scaled)), known.targets]
        return float((np.logaddexp.reduce(scaled, axis=1) - right).mean())

    low, high, golden = np.log(0.2), np.log(5.0), (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def familiarity(head: Head, training: Embedded, held_out: Embedded, classes: int) -> Familiarity:
    """Where known cells lie in the embedding, and the limits beyond which a cell is unfamiliar.

    The shape is fitted on training cells, the limits on held-out ones, each so that a fixed share of known cells
    passes. Where they are of several sites, the distance's is that of the strictest: it is the site that the model
    knows best, and a wide one would let pass what merely resembles the others.
    """
    known = training.known
    centre = known.embeddings.mean(axis=0)
    centred = known.embeddings - centre
    means = np.stack([centred[known.targets == c].mean(axis=0) for c in range(classes)])
    within = centred - means[known.targets]
    # The widest directions within classes, and those between them, each brought to unit spread.
    directions = np.linalg.svd(np.concatenate([within, means * np.sqrt(len(within))]), full_matrices=False)[2]
    basis = directions[:_DIRECTIONS].T
    variance = (within @ basis).var(axis=0)
    covariance = np.cov(within @ basis, rowvar=False) + _SHRINK * variance.mean() * np.eye(basis.shape[1])
    values, vectors = np.linalg.eigh(covariance)
    whitening = (basis @ (vectors / np.sqrt(values))).astype(np.float16).astype(np.float32)
    fitted = Familiarity(centre, whitening, means @ whitening, 1.0, 1.0)
    held = held_out.known
    distances = distance_of(fitted, held.embeddings)
    others = other_of(head, held.embeddings, classes)
    return Familiarity(
        centre,
        whitening,
        means @ whitening,
        min(float(np.quantile(one, _NEAR_KEPT)) for one in _by_site(held, distances)),
        float(np.clip(np.quantile(others, _NOT_OTHER_KEPT), *_OTHER_LIMITS)),
    )


def _by_site(held: Embedded, values: Floats) -> list[Floats]:
    """The values of each site that has enough cells, or else all of them."""
    if held.sites is None:
        return [values]
    names, counts = np.unique(held.sites, return_counts=True)
    return [values[held.sites == name] for name in names[counts >= _LEAST_OF_A_SITE]] or [values]


def distance_of(known: Familiarity, embeddings: Floats) -> Floats:
    """Mahalanobis distance of each embedding to the nearest class."""
    places = (embeddings - known.centre) @ known.whitening
    return np.asarray(np.sqrt(((places[:, None] - known.means[None]) ** 2).sum(-1).min(axis=1)), np.float32)


def other_of(head: Head, embeddings: Floats, classes: int) -> Floats:
    """Probability of the outputs that stand for no class."""
    logits = embeddings @ head.weights + head.bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers[:, classes:].sum(axis=1) / powers.sum(axis=1), np.float32)
