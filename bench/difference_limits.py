"""How often the limits of a difference of two percentages hold the truth (`dashboard.agreement`).

Not simulated: every pair of samples is taken at its probability. Prints the worst of many true shares.
"""

from __future__ import annotations

import itertools

from scipy.stats import binom

from dashboard.agreement import difference_limits
from edge.differential import limits

SHARES = (0.01, 0.03, 0.06, 0.1, 0.3, 0.5, 0.6, 0.7)
APART = (0.0, 0.02, 0.05, 0.1, 0.2)


def coverage(cells: int, first: float, second: float) -> float:
    bounds = [limits(count, cells) for count in range(cells + 1)]
    chances = [binom.pmf(range(cells + 1), cells, share) for share in (first, second)]
    held = 0.0
    for a, b in itertools.product(range(cells + 1), repeat=2):
        probability = chances[0][a] * chances[1][b]
        if probability > 1e-9:
            between = difference_limits(100 * a / cells, bounds[a], 100 * b / cells, bounds[b])
            held += probability * (between.low <= 100 * (second - first) <= between.high)
    return held


def main() -> None:
    for cells in (50, 100, 200, 400):
        pairs = [(share, share + apart) for share in SHARES for apart in APART if share + apart <= 1]
        held, first, second = min((coverage(cells, *pair), *pair) for pair in pairs)
        print(f"{cells:4} cells each: at least {100 * held:.1f} % (true shares {first:.0%} and {second:.0%})")


if __name__ == "__main__":
    main()
