"""The beta distribution: its cumulative function and the inverse of that.

Written out, because SciPy is larger than everything else on the device together.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_TINY = 1e-300
"""Keeps a vanishing denominator from dividing by zero."""


def quantile(probability: float, a: float, b: float) -> float:
    """The x in 0..1 at which the beta distribution has reached `probability`.

    Newton's method, kept between bounds that close in: where a step leaves them, they are halved instead.

    Args:
        probability: above 0 and below 1.
        a: at least 1.
        b: at least 1.
    """
    low, high = 0.0, 1.0
    x = a / (a + b)
    front = lgamma(a + b) - lgamma(a) - lgamma(b)
    for _ in range(200):
        excess = incomplete_beta(x, a, b) - probability
        low, high = (low, x) if excess > 0 else (x, high)
        slope = exp(front + (a - 1) * log(x) + (b - 1) * log1p(-x))
        step = excess / slope if slope else high - low
        if not low < x - step < high:
            step = x - (low + high) / 2
        x -= step
        if abs(step) <= 4e-16 * x:
            break
    return x


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 < x < 1 and a, b > 0 (DLMF 8.17)."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on this side of the mean only
        return 1 - incomplete_beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of DLMF 8.17.22, evaluated from the front by Lentz's method."""
    value = numerators = 1.0
    denominators = 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominators = 1 / ((1 + term * denominators) or _TINY)
        numerators = (1 + term / numerators) or _TINY
        value *= numerators * denominators
        if abs(numerators * denominators - 1) < 1e-15:
            break
    return value
