"""How often the 95 % limits of Cohen's kappa hold the truth: ours, and Fleiss, Cohen and Everitt's (1969).

    python bench/kappa_limits.py

Samples are drawn from a known table of five classes (60, 30, 5, 4 and 1 % of the cells), each class read right
with the same chance. A share of 95 % is what limits promise; "too high" is how often the lower limit lies above
the truth, which is what would let a model pass that should not: 2.5 % are allowed.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from edge.statistics.rates import Kappa

SAMPLES = 2000


def fleiss(confusion: NDArray[np.int_], kappa: Kappa) -> tuple[float, float]:
    """The large-sample limits of Fleiss, Cohen and Everitt (Psychol. Bull. 1969, 72, 323–327)."""
    total = confusion.sum()
    p = confusion / total
    rows, columns, k, chance = p.sum(axis=1), p.sum(axis=0), kappa.value, kappa.chance
    agree = np.diag(p) @ (1 - (rows + columns) * (1 - k)) ** 2
    apart = (1 - k) ** 2 * ((p - np.diag(np.diag(p))) * (columns[:, None] + rows[None, :]) ** 2).sum()
    variance = (agree + apart - (k - chance * (1 - k)) ** 2) / (total * (1 - chance) ** 2)
    half = 1.96 * sqrt(max(variance, 0))
    return k - half, k + half


def main() -> None:
    rng = np.random.default_rng(1)
    shares = np.array([0.60, 0.30, 0.05, 0.04, 0.01])
    print("read right  cells  kappa   ours: held  too high   Fleiss et al.: held  too high")
    for right in (0.70, 0.90, 0.97, 0.995):
        table = np.outer(shares, np.full(5, (1 - right) / 4))
        np.fill_diagonal(table, shares * right)
        chance = table.sum(axis=0) @ table.sum(axis=1)
        truth = (table.trace() - chance) / (1 - chance)
        for cells in (50, 200, 1000):
            held, high = np.zeros(2), np.zeros(2)
            for drawn in rng.multinomial(cells, table.ravel(), SAMPLES).reshape(-1, 5, 5):
                kappa = Kappa.of(drawn)
                assert kappa is not None
                for at, (low, top) in enumerate(((kappa.low, kappa.high), fleiss(drawn, kappa))):
                    held[at] += low <= truth <= top
                    high[at] += low > truth
            held, high = 100 * held / SAMPLES, 100 * high / SAMPLES
            print(
                f"{100 * right:8.1f} %  {cells:5}  {truth:.3f}  {held[0]:8.1f} %  {high[0]:6.1f} %"
                f"  {held[1]:17.1f} %  {high[1]:6.1f} %"
            )


if __name__ == "__main__":
    main()
