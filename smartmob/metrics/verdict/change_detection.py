"""The change detection behind verdicts: decides which tests became slower and which only vary as usual. No I/O.

Its input are the test runs of one machine in the order of time. The steps, in the order in which they are applied
(docs/discussions/verdicts.md has the reasons and the measurements):

1. Values are taken as logarithms, so that a change is a factor.
2. The *shift* of a run is the factor by which nearly all of its tests moved. It is a finding about the machine and is
   removed from each test.
3. The *level* of a test is the median of its history. Its *noise* is the median absolute deviation (MAD) from the
level, shrunk towards the noise of the other tests where the history is short.
4. A value *deviates* when its distance from the level exceeds the noise by a factor, the least effect and the least
change that matter, and nine tenths of the history.
5. One deviation is a suspicion. Two in a row are a confirmed change, and the history of the test restarts with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from smartmob.metrics.verdict.item_history import HistoryPoint, ItemHistory
from smartmob.metrics.verdict.robust_statistics import MAD_CONSISTENCY, MEDIAN_VARIANCE, median, middle, noise_of
from smartmob.metrics.verdict.scales import Scale

MIN_HISTORY = 5
"""Earlier runs of a test from which its own noise can be estimated. Below five a MAD is mostly chance."""

MIN_TESTS = 5
"""Tests from which a shift can be estimated. With fewer, the shift may be the change of one of them."""

_DEVIATION_FACTOR = 4.0
"""The multiple of the noise above which a value deviates. Chosen by benchmarks/verdicts.py: 3 doubles the confirmed
false alarms, 5 loses half of the changes of 10 %."""

_PRIOR_RUNS = 4.0
"""Weight of the noise of all tests, in runs of history: the prior degrees of freedom d0 of Smyth's moderated variance,
(d0 * s0^2 + d * s^2) / (d0 + d). G. K. Smyth, Statistical Applications in Genetics and Molecular Biology 3 (2004),
art. 3. The weight is a choice of this project."""

_NOISY_TEST_QUANTILE = 0.7
"""Quantile of the noise of all tests that stands for a test whose own noise is not known yet: a cautious choice."""

_OUTLIER_SHARE = 0.1
"""Share of the history that may lie further from the level than a deviating value: the rank test of
docs/discussions/verdicts.md, which needs no assumption about the distribution."""

_MIN_NOISE = 1e-4
"""Least noise, as a difference of logarithms: 0.01 %. A history of equal values would otherwise have none."""

_SHIFT_FLOOR = 10.0
"""Tests count for the shift from this multiple of `Scale.linear_below` on: below it a value is no factor of another."""

_SHIFT_ROUNDS = 2
"""Rounds in which shifts and levels are estimated alternately, because removing the shifts makes the level more
accurate.
"""

_NOTABLE_SHIFT = 0.03
"""Least shift that is reported as a slower or faster machine, as a share of the usual time: a choice."""

_NOTABLE_SHIFT_FACTOR = 3.0
"""Multiples of the usual variation of the shift from which it is reported: the three-sigma rule."""

_UNKNOWN_SHIFT_VARIATION = 0.04
"""Variation of the shift that is assumed while it is not known, as a difference of logarithms: that of the simulated
machines of benchmarks/histories.py."""

ItemName = tuple[str, str, str, str]
"""item_path, item, item_variant, kind: executions with the same four are compared as the same test."""

Values = Mapping[ItemName, float]
"""The value of each test in one run: the least of its executions."""


class ChangeLimits(msgspec.Struct, frozen=True):
    """The changes that matter: the least effect as a share of the level, the least change in the resource's unit.

    Without a `change` it is that of the scale.
    """

    effect: float = 0.05
    change: float | None = None

    def least_change(self, scale: Scale) -> float:
        """Return the least change that matters on a scale, in its unit."""
        return scale.least_change if self.change is None else self.change


class RunHistory(msgspec.Struct, frozen=True):
    """The runs of one machine, each list in the order of time.

    `history` ends with the `base` runs that the request names; if `base` is 0, the head is compared with all earlier
    runs. `between` lies after the history and before the head, `after` lies after the head. `names` are the names of
    the runs of the history, such as their commits.
    """

    history: Sequence[Values]
    head: Sequence[Values]
    base: int = 0
    between: Values | None = None
    after: Values | None = None
    names: Sequence[str] = ()


class Shift(msgspec.Struct, frozen=True):
    """The factor by which all tests of the head moved, and by which it usually varies from one run to the next.

    Each is None where the data are not enough to estimate it. `tests` is the number of tests from which it was
    estimated.
    """

    ratio: float | None
    usual: float | None
    tests: int

    @property
    def notable(self) -> bool:
        """Return whether the machine was slower or faster than it usually varies."""
        if self.ratio is None:
            return False
        variation = _UNKNOWN_SHIFT_VARIATION if self.usual is None else math.log(self.usual)
        usual = _NOTABLE_SHIFT_FACTOR * variation
        return abs(math.log(self.ratio)) > max(math.log1p(_NOTABLE_SHIFT), usual)


class DetectedChange(msgspec.Struct, frozen=True):
    """The finding about a test. `direction` is 1 for more, -1 for less, 0 where the head does not deviate.

    `confirmed` tells whether another run deviates in the same direction; it is None while there is no later run that
    could. `noise` is the usual distance from the level as a share, None where it cannot be estimated. `history` counts
    the earlier runs. `since` is the run since which the test takes more, or None.
    """

    direction: int
    confirmed: bool | None
    base: float | None
    head: float
    level: float
    corrected: float
    noise: float | None
    history: int
    since: str | None = None

    @property
    def ratio(self) -> float | None:
        """Return the head in units of the base, or of the level where the base lacks the test."""
        return _ratio(self.head, self.level if self.base is None else self.base)

    @property
    def corrected_ratio(self) -> float | None:
        """Return the head without the shift, in units of the level."""
        return _ratio(self.corrected, self.level)


class DetectedChanges(msgspec.Struct, frozen=True):
    """The findings about the head: the shift, the tests on both sides, and those only in the head or in the base."""

    shift: Shift
    changes: dict[ItemName, DetectedChange]
    new: dict[ItemName, float]
    gone: dict[ItemName, float]


def detect_changes(runs: RunHistory, scale: Scale, limits: ChangeLimits) -> DetectedChanges:
    """Return what changed in the head against the runs before it."""
    return _ChangeDetector(runs, scale, limits).detect()


class _ChangeDetector:
    """The detection of the changes of one head."""

    def __init__(self, runs: RunHistory, scale: Scale, limits: ChangeLimits) -> None:
        self._runs = runs
        self._scale = scale
        self._limits = limits
        further = [values for values in (runs.between, runs.after) if values is not None]
        # By the identity of the values of a run.
        self._logs = {
            id(values): {name: scale.of(name[3]).to_log(value) for name, value in values.items()}
            for values in (*runs.history, *runs.head, *further)
        }
        self._shifts: dict[int, float] = dict.fromkeys(self._logs, 0.0)
        self._levels: dict[ItemName, float] = {}
        self._usual_shift = 0.0
        self._shift_tests = 0
        self._typical_noise: float | None = None
        self._noisy_test_noise: float | None = None

    def detect(self) -> DetectedChanges:
        """Return the findings about the head."""
        runs = self._runs
        self._compute_levels()
        if self._scale.has_shift:
            self._remove_shifts()
        first = runs.head[0] if runs.head else {}
        self._shift_tests = sum(1 for name in first if name in self._levels)
        points = self._points_by_test()
        self._pool_noise(points)
        head = _median_by_test(runs.head)
        base = _median_by_test(runs.history[-runs.base :] if runs.base else runs.history[-1:])
        changes = {}
        for name in head:
            if name in points:
                changes[name] = self._change(name, self._replay(name, points[name]), head[name], base.get(name))
        new = {name: value for name, value in head.items() if name not in points}
        gone = {name: value for name, value in base.items() if name not in head}
        return DetectedChanges(self._shift(), changes, new, gone)

    # -- shifts and noise ---------------------------------------------------------------------------------------------

    def _compute_levels(self) -> None:
        gathered: dict[ItemName, list[float]] = {}
        for values in self._runs.history:
            shift = self._shifts[id(values)]
            for name, log in self._logs[id(values)].items():
                gathered.setdefault(name, []).append(log - shift)
        self._levels = {name: median(logs) for name, logs in gathered.items()}

    def _remove_shifts(self) -> None:
        """Estimate the shift of each run."""
        floor = self._scale.to_log(_SHIFT_FLOOR * self._scale.linear_below)
        for _ in range(_SHIFT_ROUNDS):
            levels = {name: level for name, level in self._levels.items() if level >= floor}
            levels = levels if len(levels) >= MIN_TESTS else self._levels
            for key, logs in self._logs.items():
                moved = [log - levels[name] for name, log in logs.items() if name in levels]
                self._shifts[key] = median(moved) if len(moved) >= MIN_TESTS else 0.0
            self._compute_levels()
        found = [self._shifts[id(values)] for values in self._runs.history]
        self._usual_shift = median(found) if found else 0.0

    def _shift(self) -> Shift:
        if not self._scale.has_shift or self._shift_tests < MIN_TESTS:
            return Shift(None, None, self._shift_tests)
        head = median([self._shifts[id(values)] for values in self._runs.head])
        distances = [self._shifts[id(values)] - self._usual_shift for values in self._runs.history]
        usual = math.exp(noise_of(distances)) if len(distances) >= MIN_HISTORY else None
        return Shift(math.exp(head - self._usual_shift), usual, self._shift_tests)

    def _points_by_test(self) -> dict[ItemName, list[HistoryPoint]]:
        """Return the history of each test, oldest first, without the shifts that are known so far."""
        found: dict[ItemName, list[HistoryPoint]] = {}
        names = self._runs.names or [""] * len(self._runs.history)
        for values, run in zip(self._runs.history, names, strict=True):
            shift = self._shifts[id(values)]
            for name, log in self._logs[id(values)].items():
                found.setdefault(name, []).append(HistoryPoint(log - shift, shift, run))
        return found

    def _pool_noise(self, points_by_test: Mapping[ItemName, Sequence[HistoryPoint]]) -> None:
        """Compute the noise of a typical test and of a noisy one, where there are enough tests."""
        found = [
            noise_of([point.log - self._levels[name] for point in points])
            for name, points in points_by_test.items()
            if len(points) > 1
        ]
        if len(found) < MIN_TESTS and self._runs.head:
            # With one earlier run, all that is known of a test is the difference of two values, and its standard
            # deviation is that of a value times the root of two.
            values = self._runs.head[0]
            shift, logs = self._shifts[id(values)], self._logs[id(values)]
            moved = [log - shift - self._levels[name] for name, log in logs.items() if name in self._levels]
            found = [MAD_CONSISTENCY * abs(distance) / math.sqrt(2) for distance in moved]
        if len(found) >= MIN_TESTS:
            found.sort()
            self._typical_noise = middle(found)
            self._noisy_test_noise = found[int(_NOISY_TEST_QUANTILE * len(found))]

    # -- one test -----------------------------------------------------------------------------------------------------

    def _replay(self, name: ItemName, points: Iterable[HistoryPoint]) -> ItemHistory:
        """Return the history of a test, restarted at each confirmed change."""
        history = ItemHistory(self._scale.of(name[3]))
        for point in points:
            if len(history) < MIN_HISTORY:
                history.add(point.log)
                continue
            direction = self._deviation(history, point)
            if not direction:
                history.accept_pending()
                history.add(point.log)
            elif history.pending is not None and self._deviation(history, history.pending) == direction:
                history.restart(history.pending, point.log)
            else:
                history.accept_pending()
                history.pending = point
        return history

    def _deviation(self, history: ItemHistory, point: HistoryPoint) -> int:
        """Return 1 or -1 when a value lies above or below what the history explains, else 0."""
        level = history.level
        moved = point.log - level
        direction = 1 if moved > 0 else -1
        if not self._matters(history.scale, level, point.log):
            return 0
        # A test that a busy machine does not slow down must not seem faster when the shift of the others is removed.
        if not self._matters(history.scale, level, point.log + point.shift - self._usual_shift, 0.5, direction):
            return 0
        noise = self._noise_of(history)
        if noise is None:
            return 0
        # The level varies too: it is a median of few values.
        if abs(moved) <= _DEVIATION_FACTOR * noise * math.sqrt(1 + MEDIAN_VARIANCE / len(history.points)):
            return 0
        distances = history.distances()
        if len(distances) >= MIN_HISTORY:
            outliers = max(1, round(_OUTLIER_SHARE * len(distances)))
            limit = distances[-1 - outliers] if direction > 0 else distances[outliers]
            if moved * direction <= limit * direction:
                return 0
        return direction

    def _matters(self, scale: Scale, level: float, log: float, share: float = 1.0, direction: int = 0) -> bool:
        """Return whether a change reaches a share of the limits, in one direction if one is given."""
        before = scale.from_log(level)
        change = scale.from_log(log) - before
        if direction:
            change *= direction
        else:
            change = abs(change)
        return change >= share * max(self._limits.effect * abs(before), self._limits.least_change(scale))

    def _noise_of(self, history: ItemHistory) -> float | None:
        """Return the noise of a test, shrunk towards that of all tests; see `_PRIOR_RUNS`.

        A test with too short a history counts as a noisy one. None means that there are too few tests as well.
        """
        distances = history.distances()
        known = len(distances) >= MIN_HISTORY
        prior = self._typical_noise if known else self._noisy_test_noise
        if prior is None:
            return max(noise_of(distances), _MIN_NOISE) if known else None
        weight = len(distances) - 1.0
        own = noise_of(distances) if weight else 0.0
        return max(math.sqrt((weight * own**2 + _PRIOR_RUNS * prior**2) / (weight + _PRIOR_RUNS)), _MIN_NOISE)

    def _change(self, name: ItemName, history: ItemHistory, head: float, base: float | None) -> DetectedChange:
        points = [self._point(values, name) for values in self._runs.head]
        found = [point for point in points if point is not None]
        between, after = self._point(self._runs.between, name), self._point(self._runs.after, name)
        if not self._runs.base:
            between = history.pending
            history.pending = None
        elif history.pending is not None:
            follower = between or found[0]
            if self._deviation(history, history.pending) == self._deviation(history, follower):
                history.restart(history.pending)
            else:
                history.accept_pending()
        direction, confirmed = _confirm(
            [self._deviation(history, point) for point in found],
            self._deviation(history, between) if between is not None else None,
            self._deviation(history, after) if after is not None else None,
        )
        level, noise = history.level, self._noise_of(history)
        log = median([point.log for point in found])
        return DetectedChange(
            direction=direction,
            confirmed=confirmed,
            base=base,
            head=head,
            level=history.scale.from_log(level + self._usual_shift),
            corrected=history.scale.from_log(log + self._usual_shift),
            noise=None if noise is None else math.expm1(noise),
            history=len(history),
            since=next(
                (rise.run for rise in history.rises if self._matters(history.scale, rise.before, log, direction=1)),
                None,
            ),
        )

    def _point(self, values: Values | None, name: ItemName) -> HistoryPoint | None:
        if values is None or name not in values:
            return None
        shift = self._shifts[id(values)]
        return HistoryPoint(self._logs[id(values)][name] - shift, shift)


def _confirm(deviations: Sequence[int], before: int | None, after: int | None) -> tuple[int, bool | None]:
    """Return the direction in which the head deviates, and whether another run confirms it.

    `deviations` are those of the head's runs, `before` and `after` those of the runs around it. More than half of
    several runs, and at least two, confirm a direction. Otherwise another run must confirm that of the last one.
    """
    last = deviations[-1]
    if len(deviations) > 1:
        for direction in (1, -1):
            number = deviations.count(direction)
            if number > 1 and 2 * number > len(deviations):
                return direction, True
        return (last, None if after is None else after == last) if last else (0, None)
    if not last:
        return 0, None
    if before == last or after == last:
        return last, True
    return last, None if after is None else False


def _median_by_test(runs: Sequence[Values]) -> dict[ItemName, float]:
    """Return the median of the values of each test in some runs."""
    if len(runs) == 1:
        return dict(runs[0])
    gathered: dict[ItemName, list[float]] = {}
    for values in runs:
        for name, value in values.items():
            gathered.setdefault(name, []).append(value)
    return {name: median(values) for name, values in gathered.items()}


def _ratio(value: float, unit: float) -> float | None:
    return value / unit if unit > 0 and value >= 0 else None
