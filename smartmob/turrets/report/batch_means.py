"""The comparison of two correlated series by batch means: a ratio or difference with its confidence interval. No I/O.

Consecutive seconds of a run resemble each other, so they are not independent measurements; a test that treated them as
independent would report changes that do not exist. A run is therefore divided into batches of consecutive seconds, and
each batch gives one value. The method is that of nonoverlapping batch means (B. Schmeiser, "Batch Size Effects in the
Analysis of Simulation Output", Operations Research 30(3), 1982, which finds 10 to 30 batches enough). Correlation that
remains between batches widens the interval, as for an autoregressive process of first order (G. Box, G. Jenkins, "Time
Series Analysis", 1970, section 2.1). Two runs are then compared by the test of Welch ("The Generalization of Student's
Problem", Biometrika 34, 1947), and many comparisons by the procedure of Benjamini and Hochberg (Journal of the Royal
Statistical Society B 57(1), 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

BATCHES, FEWEST_BATCHES = 20, 8
"""The number of batches of a run, and the number below which no verdict is made."""

_MOST_CORRELATION = 0.9
"""The largest correlation of neighbouring batches that is assumed; estimates above it are mostly drift."""
_TINY = 1e-300  # keeps the continued fraction from dividing by zero
_PRECISION = 1e-12  # of the continued fraction
_MOST_TERMS = 300  # of the continued fraction
_HALVINGS = 80  # of the search for a quantile


class Difference(msgspec.Struct, frozen=True):
    """The mean of the second series minus that of the first, its 95 % confidence interval, and its p-value."""

    value: float
    low: float
    high: float
    p: float


def compare(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Difference:
    """Return the difference of two series of batch values; each must have at least two."""
    parts = [_mean_and_error(series) for series in (first, second)]
    (mean_a, error_a, free_a), (mean_b, error_b, free_b) = parts
    value, error = mean_b - mean_a, error_a + error_b
    if error <= 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    free = error**2 / sum(part**2 / free for part, free in ((error_a, free_a), (error_b, free_b)) if part > 0)
    spread = math.sqrt(error)
    margin = _quantile(1 - confidence, free) * spread
    return Difference(value, value - margin, value + margin, two_sided(value / spread, free))


def adjusted(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, so that those below 0.05 contain 5 % of false ones on average."""
    order = sorted(range(len(values)), key=lambda index: values[index], reverse=True)
    found = [0.0] * len(values)
    least = 1.0
    for rank, index in enumerate(order):
        least = min(least, values[index] * len(values) / (len(values) - rank))
        found[index] = least
    return found


def two_sided(t: float, free: float) -> float:
    """Return the probability that Student's t with `free` degrees of freedom is further from 0 than `t`."""
    return _incomplete_beta(free / 2, 0.5, free / (free + t * t))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, squared standard error and degrees of freedom of correlated values."""
    count = len(values)
    mean = sum(values) / count
    squares = sum((value - mean) ** 2 for value in values)
    if squares <= 0:
        return mean, 0.0, count - 1.0
    lagged = sum((one - mean) * (two - mean) for one, two in pairwise(values)) / squares
    # The estimate is too low by about (1 + 3 r) / n (M. Kendall, Biometrika 41, 1954).
    correlation = min(max(lagged + (1 + 3 * lagged) / count, 0.0), _MOST_CORRELATION)
    widened = (1 + correlation) / (1 - correlation)
    free = max(count / widened - 1, 1.0)
    return mean, squares / (count - 1) / count * widened, free


def _quantile(p: float, free: float) -> float:
    """Return the t that Student's t exceeds on either side with the probability `p`."""
    low, high = 0.0, 1.0
    while two_sided(high, free) > p:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, free) > p else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function (NIST Handbook of Mathematical Functions, 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # The continued fraction is evaluated from its beginning, by the modified method of Lentz.
    value, c, d = 1.0, 1.0, 0.0
    for number in range(_MOST_TERMS):
        half = number // 2
        if number == 0:
            term = 1.0
        elif number % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        d = 1 + term * d
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = 1 + term / c
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if number and abs(c * d - 1) < _PRECISION:
            break
    return math.exp(logarithm) / a * (value - 1)
