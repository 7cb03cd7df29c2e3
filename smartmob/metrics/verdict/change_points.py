"""Change points in the history of one test: where its level changed, and whether it drifts. No I/O.

The method (docs/discussions/trends.md has the reasons and the measured error rates):

1. Outliers are cut: a value lies at most a few times the noise away from the median of its neighbours.
2. *Seeded binary segmentation* (S. Kovacs, P. Buhlmann, H. Li, A. Munk, Biometrika 110 (2023), 249-256) looks for the
   split with the largest difference of means in many overlapping intervals, so that it finds a short excursion as well
   as a lasting change. Splits are taken from the largest on, as long as they exceed a threshold.
3. A split is a *step* if the medians of both sides differ by the change that matters, and if a rank test of both sides
   (H. B. Mann, D. R. Whitney, Annals of Mathematical Statistics 18 (1947), 50-60) finds that unlikely by chance.
4. A *drift* is a monotonic trend that a line describes better than steps: the test of Mann and Kendall (H. B. Mann,
   Econometrica 13 (1945), 245-259) with the slope of Theil and Sen (P. K. Sen, Journal of the American Statistical
   Association 63 (1968), 1379-1389).

All values are logarithms, as `Scale.to_log` makes them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import NamedTuple

from smartmob.metrics.verdict.robust_statistics import MAD_CONSISTENCY, median

MIN_LEVEL_RUNS = 3
"""Runs that a level has at least. Two in a row may be outliers of one cause."""

MIN_RUNS = 2 * MIN_LEVEL_RUNS
"""Runs from which a history can have a change point."""

_THRESHOLD = 5.0
"""Least difference of two means in units of its standard error. Chosen by benchmarks/trends.py."""

_OUTLIER_FACTOR = 3.0
"""Multiples of the noise beyond which a value is cut: the three-sigma rule."""

_NEIGHBOURS = 2
"""Runs on each side whose median shows an outlier: a level of three runs is the majority of five."""

_SEED_DECAY = math.sqrt(0.5)
"""Factor between the lengths of the intervals of two layers: the choice of the authors of the method."""

_MAX_P_VALUE = 0.01
"""Largest p-value of the rank test of a step: a choice."""

_MAX_DRIFT_P_VALUE = 0.001
"""Largest p-value of a drift. It is smaller, because neighbouring runs are not quite independent."""

_MIN_DRIFT_RUNS = 10
"""Runs from which the normal approximation of the test of Mann and Kendall holds (M. G. Kendall, Rank Correlation
Methods, 1975)."""

_MAX_DRIFT_POINTS = 60
"""Points of the test for a drift, whose cost is quadratic: more runs are replaced by the medians of neighbours."""

_LEVEL_ALLOWANCE = 0.1
"""Share by which the distances from a line may exceed those from steps, for each level beyond the second: a line has
two parameters, and steps have one more for each level. A choice."""

_MIN_NOISE = 1e-4
"""Least noise, as a difference of logarithms: 0.01 %. A history of equal values would otherwise have none."""

_WIDE_QUANTILE = 0.9
"""Quantile of the differences of neighbours that finds noise with two modes, of which a median sees only one."""

_WIDE_CONSISTENCY = 1 / 1.6449
"""Factor from that quantile to the standard deviation of normal data: 1 / quantile(0.95) of the normal distribution."""

Matters = Callable[[float, float], bool]
"""Returns whether the change from one level to another matters."""


class LevelStep(NamedTuple):
    """A change of the level from `before` to `after`; `first` is the first run of the new level."""

    first: int
    before: float
    after: float
    p_value: float


class Drift(NamedTuple):
    """A monotonic trend over the whole history, along a line from `before` to `after`."""

    before: float
    after: float
    p_value: float


class Changes(NamedTuple):
    """The changes of one history: steps in the order of time, or a drift. `level` is the present level."""

    steps: list[LevelStep]
    drift: Drift | None
    level: float


def find_changes(logs: Sequence[float], matters: Matters) -> Changes:
    """Return the changes in a history of at least one run, oldest first."""
    if len(logs) < MIN_RUNS:
        return Changes([], None, median(logs))
    noise = _noise_of(logs)
    cut = _without_outliers(logs, noise)
    segmentation = _Segmentation(logs, cut, noise)
    drift = _drift(cut, segmentation, matters)
    if drift is not None:
        return Changes([], drift, drift.after)
    steps = segmentation.steps(matters)
    return Changes(steps, None, steps[-1].after if steps else median(logs))


def rank_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of the two-sided Mann-Whitney test of two samples.

    It is exact where the samples do not overlap, otherwise the normal approximation with the corrections for ties and
    continuity.
    """
    first, second = len(one), len(other)
    if max(one) < min(other) or max(other) < min(one):
        return min(1.0, 2 / math.comb(first + second, first))
    pooled = sorted([(value, True) for value in one] + [(value, False) for value in other])
    rank_sum, ties, start = 0.0, 0.0, 0
    while start < len(pooled):
        end = start
        while end < len(pooled) and pooled[end][0] == pooled[start][0]:
            end += 1
        equal = end - start
        rank_sum += (start + end + 1) / 2 * sum(mine for _, mine in pooled[start:end])
        ties += equal**3 - equal
        start = end
    total = first + second
    variance = first * second / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    distance = abs(rank_sum - first * (first + 1) / 2 - first * second / 2) - 0.5
    return _two_sided(max(distance, 0.0) / math.sqrt(variance))


def _noise_of(logs: Sequence[float]) -> float:
    """Return the standard deviation of the noise, by the differences of neighbours: steps and drifts hardly matter."""
    differences = sorted(abs(after - before) for before, after in pairwise(logs))
    typical = MAD_CONSISTENCY * median(differences)
    wide = _WIDE_CONSISTENCY * differences[int(_WIDE_QUANTILE * (len(differences) - 1))]
    return max(typical / math.sqrt(2), wide / math.sqrt(2), _MIN_NOISE)


def _without_outliers(logs: Sequence[float], noise: float) -> list[float]:
    """Return the values, each cut to a few times the noise around the median of its neighbours."""
    bound = _OUTLIER_FACTOR * noise
    cut = []
    for index, log in enumerate(logs):
        around = median(logs[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1])
        cut.append(max(around - bound, min(log, around + bound)))
    return cut


# -- steps ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _seeded_intervals(length: int) -> tuple[tuple[int, int], ...]:
    """Return the seeded intervals of a history: layers of overlapping intervals, each layer shorter than the last."""
    found = {(0, length)}
    size, layer = float(length), 0
    while (size := size * _SEED_DECAY) >= MIN_RUNS:
        layer += 1
        number = 2 * math.ceil((1 / _SEED_DECAY) ** layer) - 1
        shift = (length - size) / (number - 1)
        found.update((math.floor(n * shift), min(length, math.ceil(n * shift + size))) for n in range(number))
    return tuple(sorted(found))


class _Segmentation:
    """The levels of one history: `cut` are its values without outliers."""

    def __init__(self, logs: Sequence[float], cut: Sequence[float], noise: float) -> None:
        self._logs = logs
        # Distances from the middle, so that sums of squares lose no digits.
        centre = median(cut)
        self._sums, self._squares = [0.0], [0.0]
        for log in cut:
            self._sums.append(self._sums[-1] + log - centre)
            self._squares.append(self._squares[-1] + (log - centre) ** 2)
        self._least = (_THRESHOLD * noise) ** 2
        self._splits = self._candidates()

    def steps(self, matters: Matters) -> list[LevelStep]:
        """Return the steps that matter and that the rank test confirms.

        The least certain split is removed first. The splits beside it are then searched anew, and tested again with the
        longer levels.
        """
        kept = list(self._splits)
        while kept:
            kept = self._refined(kept)
            levels = [self._logs[start:end] for start, end in pairwise([0, *kept, len(self._logs)])]
            steps = [
                LevelStep(index, median(before), median(after), rank_test(before, after))
                for index, (before, after) in zip(kept, pairwise(levels), strict=True)
            ]
            weak = [
                step
                for step, (before, after) in zip(steps, pairwise(levels), strict=True)
                if step.p_value > _MAX_P_VALUE
                or not matters(step.before, step.after)
                or not _supported(step, before, after)
            ]
            if not weak:
                return steps
            kept.remove(min(weak, key=lambda step: (-step.p_value, abs(step.after - step.before))).first)
        return []

    def _candidates(self) -> list[int]:
        """Return the indices at which the level may change, in their order."""
        found = [
            _best_split(self._sums, start, end)
            for start, end in _seeded_intervals(len(self._logs))
            if self._variation(start, end) > self._least
        ]
        splits: list[int] = []
        for size, split, start, end in sorted(found, reverse=True):
            if size > self._least and not any(start < other < end for other in splits):
                splits.append(split)
        return sorted(set(splits))

    def _variation(self, start: int, end: int) -> float:
        """Return the sum of squared distances from the mean of an interval: no split of it has a larger difference."""
        total = self._sums[end] - self._sums[start]
        return self._squares[end] - self._squares[start] - total * total / (end - start)

    def _refined(self, splits: Sequence[int]) -> list[int]:
        """Return the splits, each at the best index between its neighbours."""
        refined = list(splits)
        for number in range(len(refined)):
            start = refined[number - 1] if number else 0
            end = refined[number + 1] if number + 1 < len(refined) else len(self._logs)
            if end - start >= MIN_RUNS:
                refined[number] = _best_split(self._sums, start, end)[1] or refined[number]
        return refined


def _best_split(sums: Sequence[float], start: int, end: int) -> tuple[float, int, int, int]:
    """Return the largest squared difference of means in an interval, its split, and the interval.

    The difference is in units of the standard error of values with the standard deviation 1.
    """
    first, total, length = sums[start], sums[end] - sums[start], end - start
    best, split = 0.0, start
    for index in range(start + MIN_LEVEL_RUNS, end - MIN_LEVEL_RUNS + 1):
        left, number = sums[index] - first, index - start
        # The difference of the means is (left * length - total * number) / (number * (length - number)).
        difference = left * length - total * number
        size = difference * difference / (number * (length - number))
        if size > best:
            best, split = size, index
    return best / length, split, start, end


def _supported(step: LevelStep, before: Sequence[float], after: Sequence[float]) -> bool:
    """Return whether enough runs of both levels are nearer to their own median: two outliers make no level of three."""
    middle = (step.before + step.after) / 2
    rises = step.after > step.before
    return all(
        sum((log > middle) == above for log in level) >= MIN_LEVEL_RUNS
        for level, above in ((before, not rises), (after, rises))
    )


def _any_change(before: float, after: float) -> bool:
    return before != after


# -- drifts -----------------------------------------------------------------------------------------------------------


def _drift(cut: Sequence[float], segmentation: _Segmentation, matters: Matters) -> Drift | None:
    """Return the drift of a history, if a line describes it better than its steps."""
    if len(cut) < _MIN_DRIFT_RUNS:
        return None
    points = _thinned(cut)
    p_value = _mann_kendall([log for _, log in points])
    if p_value > _MAX_DRIFT_P_VALUE:
        return None
    slope = median([(after[1] - before[1]) / (after[0] - before[0]) for before, after in combinations(points, 2)])
    start = median([log - slope * index for index, log in points])
    drift = Drift(start, start + slope * (len(cut) - 1), p_value)
    if not matters(drift.before, drift.after):
        return None
    # Steps that are too small to matter describe a history too, and better than a line that is steeper than they are.
    steps = segmentation.steps(_any_change)
    from_line = sum(abs(log - start - slope * index) for index, log in enumerate(cut))
    allowance = 1 + _LEVEL_ALLOWANCE * max(len(steps) - 1, 0)
    return drift if from_line < allowance * _distance_from_steps(cut, steps) else None


def _mann_kendall(logs: Sequence[float]) -> float:
    """Return the p-value of the test of Mann (1945) and Kendall for a monotonic trend, by its normal approximation."""
    number = len(logs)
    variance = number * (number - 1) * (2 * number + 5) / 18
    return _two_sided(max(abs(_balance(logs)) - 1, 0) / math.sqrt(variance))


def _balance(logs: Sequence[float]) -> int:
    """Return the number of pairs in which the later value is larger, less those in which it is smaller."""
    earlier: list[float] = []
    balance = 0
    for log in logs:
        smaller = bisect_left(earlier, log)
        larger = len(earlier) - bisect_right(earlier, log, lo=smaller)
        balance += smaller - larger
        insort(earlier, log)
    return balance


def _thinned(cut: Sequence[float]) -> list[tuple[float, float]]:
    """Return at most `_MAX_DRIFT_POINTS` points: the values with their indices, or the medians of neighbours."""
    size = math.ceil(len(cut) / _MAX_DRIFT_POINTS)
    return [
        (start + (len(cut[start : start + size]) - 1) / 2, median(cut[start : start + size]))
        for start in range(0, len(cut), size)
    ]


def _distance_from_steps(cut: Sequence[float], steps: Sequence[LevelStep]) -> float:
    edges = [0, *(step.first for step in steps), len(cut)]
    return sum(abs(log - level) for part in _parts(cut, edges) for level in (median(part),) for log in part)


def _parts(cut: Sequence[float], edges: Sequence[int]) -> list[Sequence[float]]:
    return [cut[start:end] for start, end in pairwise(edges)]


def _two_sided(deviation: float) -> float:
    """Return the probability that a normal value lies further from its mean than `deviation` standard deviations."""
    return math.erfc(deviation / math.sqrt(2))
