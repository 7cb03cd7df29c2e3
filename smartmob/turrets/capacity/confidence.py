"""The confidence in a share that was observed in few trials. No I/O."""

from __future__ import annotations

import math

Interval95 = tuple[float, float]
"""The interval that contains the true value in 95 of 100 cases."""

_Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


def wilson(successes: int, trials: int) -> Interval95:
    """Return Wilson's score interval of the probability of success.

    It is E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), which
    L. D. Brown, T. T. Cai and A. DasGupta recommend for few trials ("Interval estimation for a binomial proportion",
    Statistical Science 16, 2001).
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError("there must be at least one trial, and no more successes than trials")
    share, weight = successes / trials, _Z * _Z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
