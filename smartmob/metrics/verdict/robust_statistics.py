"""Estimates that a few outliers cannot move: the median and the median absolute deviation (MAD). No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

MAD_CONSISTENCY = 1.4826
"""Factor from the MAD of normal data to the standard deviation: 1 / quantile(3/4) of the normal distribution.
F. R. Hampel, Journal of the American Statistical Association 69 (1974), 383-393."""

MEDIAN_VARIANCE = math.pi / 2
"""Variance of the median of n normal values times n, in units of their variance, for large n (H. Cramer, Mathematical
Methods of Statistics, 1946, 28.5). A new value less the median therefore has the variance 1 + pi / 2n."""

_MAD_SMALL_SAMPLES = {2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.2, 7: 1.14, 8: 1.129, 9: 1.107}
"""Factors by sample size that make the MAD unbiased; above 9 it is n / (n - 0.8). C. Croux and P. J. Rousseeuw,
Time-efficient algorithms for two highly robust estimators of scale, COMPSTAT 1992, 411-428."""

_MAD_LARGE_SAMPLES = 0.8
"""The constant in n / (n - 0.8), from the same paper."""


def noise_of(distances: Sequence[float]) -> float:
    """Return the standard deviation that the MAD of some distances from a level stands for."""
    number = len(distances)
    large = number / (number - _MAD_LARGE_SAMPLES) if number > 1 else 1.0
    mad = median([abs(distance) for distance in distances])
    return _MAD_SMALL_SAMPLES.get(number, large) * MAD_CONSISTENCY * mad


def median(values: Iterable[float]) -> float:
    """Return the median of at least one value."""
    return middle(sorted(values))


def middle(ordered: Sequence[float]) -> float:
    """Return the median of at least one value, which are already sorted."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
