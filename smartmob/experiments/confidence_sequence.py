"""A confidence sequence: an interval for the centre of paired differences that may be checked after each pair.

A fixed-sample test that is repeated after each pair finds a difference sooner or later, even between equal sides. This
is a test by betting: capital starts at 1 and is multiplied, for each difference x, by

    2 / (1 + exp(-2 b u)),   u = x / scale, limited to CLIP on both sides,

which is 1 + tanh(b u). If x is as probable as -x, whatever came before, the mean of this factor is 1 for each bet b and
each scale that depend only on earlier pairs. So the capital is a martingale, and by the inequality of J. Ville (1939)
the probability that it ever reaches 1 / a is at most a. Which of the two sides of a pair runs first is random, so
two equal sides have exactly this symmetry, for any distribution of times, and outliers need no special treatment.

Sources: J. Ville, *Etude critique de la notion de collectif* (1939); I. Waudby-Smith and A. Ramdas, *Estimating means
of bounded random variables by betting*, JRSS B 86 (2024), for sequences by betting and mixtures of bets; S. R. Howard,
A. Ramdas, J. McAuliffe and J. Sekhon, *Time-uniform, nonparametric, nonasymptotic confidence sequences*, Annals of
Statistics 49 (2021); V. de la Pena, *A general class of exponential inequalities for martingales and ratios*, Annals of
Probability 27 (1999), for what symmetry alone allows. The factor is the likelihood ratio of x to -x for normal noise,
so for such noise no other test of symmetry grows faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from smartmob.medians import median

BETS = (1.2, 0.5, 0.2)
"""Bets in units of 1 / scale, which share the capital: the best is the true difference in units of the noise, and a
neighbour at a ratio of two and a half loses little. They suit decisions after 10 to some 300 pairs."""

WEIGHTS = (0.8, 0.14, 0.06)
"""The shares of the capital against "no difference" with which the bets begin. A pair at best doubles the capital, so a
large difference needs log2(1000 * 2 / 0.8), 12 pairs; with equal shares it needs 13, and in the median two more."""

INTERVAL_WEIGHTS = (1 / 3, 1 / 3, 1 / 3)
"""The shares for intervals, which the small bets make narrow: with these shares, "the same" needs fewer pairs."""

CLIP = 3.0
"""Larger differences count as this many scales, so that an outlier does not cost the capital of many pairs."""

NOISE = 0.12
"""The scale before there are differences: the robust spread of log-ratios of a pair on shared machines."""

_WEIGHT_COUNT = 3  # the weight of the assumed scale, in pairs
_MAD_CONSISTENCY = 1.4826  # from the median absolute deviation to the standard deviation of normal noise
_LOG_2 = math.log(2.0)
_STEPS_COUNT = 40  # of a bisection


class ConfidenceSequence:
    """The capital of the bets on paired differences, and the intervals that follow from it.

    `noise` is the scale that is assumed at first; a wrong one costs pairs but no validity.
    """

    def __init__(self, noise: float = NOISE) -> None:
        self._noise = noise
        self.differences: list[float] = []
        self._scales: list[float] = []
        self._above = [0.0] * len(BETS)
        self._below = [0.0] * len(BETS)

    def add(self, difference: float) -> None:
        """Add the difference of the next pair."""
        scale = self._scale()  # of the earlier pairs: a scale that knows this one would spoil the martingale
        self.differences.append(difference)
        self._scales.append(scale)
        for number, bet in enumerate(BETS):
            up, down = _gains(bet, difference / scale)
            self._above[number] += up
            self._below[number] += down

    @property
    def evidence(self) -> float:
        """Return the capital against "no difference" as an e-value, of the bets on both directions."""
        return (_capital(self._above, WEIGHTS) + _capital(self._below, WEIGHTS)) / 2

    @property
    def direction(self) -> int:
        """Return 1 if the bets on positive differences have more capital, else -1."""
        return 1 if sum(self._above) >= sum(self._below) else -1

    def excludes(self, centre: float, direction: int, level: float) -> bool:
        """Return whether the centre is above `centre` (direction 1) or below it (-1), with confidence `level`."""
        return self._capital(centre, direction) >= 1 / (1 - level)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the bounds of the centre, each infinite as long as the pairs give no bound."""
        level = (1 + confidence) / 2
        return self._bound(1, level), self._bound(-1, level)

    def estimate(self) -> float:
        """Return the Hodges-Lehmann estimate of the centre, or 0 without pairs."""
        return hodges_lehmann(self.differences)

    def _scale(self) -> float:
        """Return the scale for the next bet: the MAD of the earlier differences, whose weight grows with the pairs."""
        number = len(self.differences)
        if number < 2:
            return self._noise
        centre = median(self.differences)
        spread = _MAD_CONSISTENCY * median(abs(each - centre) for each in self.differences)
        return math.sqrt((_WEIGHT_COUNT * self._noise**2 + number * spread**2) / (_WEIGHT_COUNT + number))

    def _capital(self, centre: float, direction: int) -> float:
        """Return the capital of the bets on a centre above (1) or below (-1) this one."""
        units = [
            direction * (each - centre) / scale for each, scale in zip(self.differences, self._scales, strict=True)
        ]
        return _capital([sum(_gains(bet, unit)[0] for unit in units) for bet in BETS], INTERVAL_WEIGHTS)

    def _bound(self, direction: int, level: float) -> float:
        """Return the greatest lower bound (1) or the least upper bound (-1): the capital is monotone in the centre."""
        if not self.differences:
            return -direction * math.inf
        reach = CLIP * max(self._scales)
        far, near = (
            (min(self.differences) - reach, max(self.differences) + reach)
            if direction == 1
            else (max(self.differences) + reach, min(self.differences) - reach)
        )
        if not self.excludes(far, direction, level):
            return -direction * math.inf
        for _ in range(_STEPS_COUNT):
            middle = (far + near) / 2
            if self.excludes(middle, direction, level):
                far = middle
            else:
                near = middle
        return far


def hodges_lehmann(values: Sequence[float]) -> float:
    """Return the median of the means of all pairs of values, including each value with itself; 0 without values.

    J. L. Hodges and E. L. Lehmann, *Estimates of location based on rank tests*, Annals of Mathematical Statistics 34
    (1963).
    """
    if not values:
        return 0.0
    return median((first + second) / 2 for at, first in enumerate(values) for second in values[at:])


def _gains(bet: float, unit: float) -> tuple[float, float]:
    """Return the logarithms of the factors of a bet on a positive and on a negative difference."""
    exponent = 2 * bet * max(-CLIP, min(CLIP, unit))
    down = (
        _LOG_2 - math.log1p(math.exp(exponent)) if exponent < 0 else _LOG_2 - exponent - math.log1p(math.exp(-exponent))
    )
    return down + exponent, down


def _capital(logarithms: Sequence[float], weights: Sequence[float]) -> float:
    """Return the capital of all bets by the logarithms of their gains, at most the largest float."""
    top = max(logarithms)
    shares = (weight * math.exp(each - top) for weight, each in zip(weights, logarithms, strict=True))
    return math.exp(min(top + math.log(sum(shares)), 700.0))
