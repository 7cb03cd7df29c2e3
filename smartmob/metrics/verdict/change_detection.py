"""The rule of comparisons: which tests became slower, and which numbers only moved as they always do. No I/O.

What is compared are occasions, the test runs of one machine in the order of time. The rule, in the order in which it is
applied (docs/discussions/verdicts.md has the reasons and what was measured):

1. Values are taken as logarithms, so that a change is a factor.
2. What moved nearly all tests of an occasion by one factor is its *shift*. It is a finding about the machine, and is
   removed from each test.
3. A test's *level* is the median of its history, its *noise* the median distance from it, drawn towards that of the
   other tests where the history is short.
4. A value *departs* when it is further from the level than the noise explains, than the least effect and change that
   matter, and than nine tenths of the history.
5. One departure is a suspicion. Two in a row are a change, and the history of the test begins again with them.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

LEAST_HISTORY = 5
"""Earlier occasions of a test that its own noise can be told from."""

LEAST_TESTS = 5
"""Tests that a shift can be told from: with fewer it may as well be the change of one of them."""

_SPREADS = 4.0
_PRIOR = 4.0
_NOISY = 0.7
_ODD = 0.1
_CONSISTENCY = 1.4826
_MEDIAN_VARIANCE = math.pi / 2
_SMALL_SAMPLES = {2: 1.196, 3: 1.495, 4: 1.363, 5: 1.206, 6: 1.2, 7: 1.14, 8: 1.129, 9: 1.107}
_LEAST_NOISE = 1e-4
_SHIFT_FLOOR = 10.0
_LEAST_SHIFT = 0.03
_LARGEST = 1e15


class Scale(NamedTuple):
    """How a resource is compared: where its values are too small for a factor, which change matters, and its unit."""

    unit: str
    small: float
    least_change: float
    shifts: bool

    def forward(self, value: float) -> float:
        """Return the value as a logarithm; near zero it becomes a straight line, which also takes what is negative."""
        bounded = max(-_LARGEST, min(value, _LARGEST))
        return math.copysign(math.log1p(abs(bounded) / self.small), bounded)

    def backward(self, place: float) -> float:
        """Return the value of a logarithm."""
        return math.copysign(math.expm1(abs(place)) * self.small, place)


_TIME = Scale("s", 1e-4, 0.001, shifts=True)
SCALES = {
    "total_time": _TIME,
    "user_time": _TIME,
    "kernel_time": _TIME,
    "cpu_usage": Scale("cores", 0.01, 0.05, shifts=True),
    # Memory does not grow by a factor for all tests when the machine is busy.
    "mem_usage": Scale("MB", 1.0, 1.0, shifts=False),
}
"""By resource. Fields of a metric are their names."""

ItemName = tuple[str, str, str, str]
"""item_path, item, item_variant, kind: what is compared as the same test."""

Values = Mapping[ItemName, float]
"""What each test took on one occasion: the least of its executions."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What matters to whoever asks: the least effect as a share of the level, and the least change in its unit."""

    effect: float = 0.05
    change: float = 0.001


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The occasions of one machine, each list in the order of time.

    `history` ends with the `base` occasions that were asked for by name; none of them means that the head is compared
    with all that was before. `between` lies after the history and before the head, `after` behind it.
    """

    history: Sequence[Values]
    head: Sequence[Values]
    base: int = 0
    between: Values | None = None
    after: Values | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """By which factor all tests of the head moved, and how much that varies from one earlier occasion to the next.

    None where there is too little to tell it.
    """

    ratio: float | None
    usual: float | None
    tests: int

    @property
    def notable(self) -> bool:
        """Return whether the machine was slower or faster than it usually varies."""
        if self.ratio is None:
            return False
        return abs(math.log(self.ratio)) > max(math.log1p(_LEAST_SHIFT), 3 * math.log(self.usual or 1.0))


@dataclass(frozen=True, slots=True)
class Change:
    """What the rule says of a test. `direction` is 1 for more, -1 for less, 0 where nothing departed.

    `confirmed` tells whether another occasion departs in the same way, None while there is no later one that could.
    `noise` is the usual distance from the level as a share, None where it cannot be told.
    """

    direction: int
    confirmed: bool | None
    base: float | None
    head: float
    level: float
    corrected: float
    noise: float | None
    history: int

    @property
    def ratio(self) -> float | None:
        """Return the head in units of the base, or of the level where the base lacks the test."""
        return _ratio(self.head, self.level if self.base is None else self.base)

    @property
    def corrected_ratio(self) -> float | None:
        """Return the head without the shift, in units of the level."""
        return _ratio(self.corrected, self.level)


@dataclass(frozen=True, slots=True)
class DetectedChanges:
    """What the rule says of the head: the shift, the tests in both, and those only in the head or the base."""

    shift: Shift
    changes: dict[ItemName, Change]
    new: dict[ItemName, float]
    gone: dict[ItemName, float]


def judge(timeline: RunHistory, scale: Scale, limits: Limits) -> DetectedChanges:
    """Return what the rule says of the head of a timeline."""
    return _Judge(timeline, scale, limits).judgement()


class _Point(NamedTuple):
    """A value without the shift of its occasion, and that shift."""

    place: float
    shift: float


@dataclass(slots=True)
class _Series:
    """The history of a test as the rule has walked it.

    `points` are those since the last change, sorted; `residuals` the distances of earlier ones from the level of their
    time, and `pending` the last point if it has departed.
    """

    points: list[float] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    pending: _Point | None = None

    @property
    def level(self) -> float:
        return _middle(self.points)

    def add(self, place: float) -> None:
        insort(self.points, place)

    def keep_pending(self) -> None:
        """Take the pending point for noise."""
        if self.pending is not None:
            self.add(self.pending.place)
            self.pending = None

    def begin_again(self, *places: float) -> None:
        """Begin with these points at a new level."""
        level = self.level
        self.residuals += [place - level for place in self.points]
        self.points = sorted(places)
        self.pending = None

    def distances(self) -> list[float]:
        """Return the distances from the level, sorted."""
        level = self.level
        return sorted([*self.residuals, *(place - level for place in self.points)])


class _Judge:
    """One application of the rule."""

    def __init__(self, timeline: RunHistory, scale: Scale, limits: Limits) -> None:
        self._timeline = timeline
        self._scale = scale
        self._limits = limits
        forward = scale.forward
        further = [values for values in (timeline.between, timeline.after) if values is not None]
        self._logs = {
            id(values): {name: forward(value) for name, value in values.items()}
            for values in (*timeline.history, *timeline.head, *further)
        }
        self._levels: dict[ItemName, float] = {}
        self._shifts: dict[int, float] = dict.fromkeys(self._logs, 0.0)
        self._usual = 0.0
        self._shift_tests = 0
        self._pooled: float | None = None
        self._wary: float | None = None

    def judgement(self) -> DetectedChanges:
        """Return what the rule says."""
        timeline = self._timeline
        self._take_levels()
        if self._scale.shifts:
            self._remove_shifts()
        series = self._series()
        self._pool_noise(series)
        head = _together(timeline.head)
        base = _together(timeline.history[-timeline.base :] if timeline.base else timeline.history[-1:])
        changes = {}
        for name in head:
            if name in series:
                changes[name] = self._change(name, self._walk(series[name]), head[name], base.get(name))
        new = {name: value for name, value in head.items() if name not in series}
        gone = {name: value for name, value in base.items() if name not in head}
        return DetectedChanges(self._shift(), changes, new, gone)

    # -- shifts and noise ---------------------------------------------------------------------------------------------

    def _take_levels(self) -> None:
        gathered: dict[ItemName, list[float]] = {}
        for values in self._timeline.history:
            shift = self._shifts[id(values)]
            for name, place in self._logs[id(values)].items():
                gathered.setdefault(name, []).append(place - shift)
        self._levels = {name: _median(places) for name, places in gathered.items()}

    def _remove_shifts(self) -> None:
        """Find the shift of each occasion; twice, since a level without the shifts is a better one."""
        floor = self._scale.forward(_SHIFT_FLOOR * self._scale.small)
        for _ in range(2):
            steady = {name: level for name, level in self._levels.items() if level >= floor}
            steady = steady if len(steady) >= LEAST_TESTS else self._levels
            for key, logs in self._logs.items():
                moved = [place - steady[name] for name, place in logs.items() if name in steady]
                self._shifts[key] = _median(moved) if len(moved) >= LEAST_TESTS else 0.0
            self._take_levels()
        found = [self._shifts[id(values)] for values in self._timeline.history]
        self._usual = _median(found) if found else 0.0
        head = self._timeline.head[0] if self._timeline.head else {}
        self._shift_tests = sum(1 for name in head if name in self._levels)

    def _shift(self) -> Shift:
        if not self._scale.shifts or self._shift_tests < LEAST_TESTS:
            return Shift(None, None, self._shift_tests)
        head = _median([self._shifts[id(values)] for values in self._timeline.head])
        distances = [self._shifts[id(values)] - self._usual for values in self._timeline.history]
        usual = math.exp(_noise(distances)) if len(distances) >= LEAST_HISTORY else None
        return Shift(math.exp(head - self._usual), usual, self._shift_tests)

    def _series(self) -> dict[ItemName, list[_Point]]:
        """Return the history of each test, without shifts."""
        found: dict[ItemName, list[_Point]] = {}
        for values in self._timeline.history:
            shift = self._shifts[id(values)]
            for name, place in self._logs[id(values)].items():
                found.setdefault(name, []).append(_Point(place - shift, shift))
        return found

    def _pool_noise(self, series: Mapping[ItemName, Sequence[_Point]]) -> None:
        """Find the noise of a usual test and that of a noisy one, where there are enough tests to tell."""
        found = [
            _noise([point.place - self._levels[name] for point in points])
            for name, points in series.items()
            if len(points) > 1
        ]
        if len(found) < LEAST_TESTS and self._timeline.head:
            # With one earlier occasion, the two that there are tell the noise of each test.
            values = self._timeline.head[0]
            shift, logs = self._shifts[id(values)], self._logs[id(values)]
            moved = [place - shift - self._levels[name] for name, place in logs.items() if name in self._levels]
            found = [_CONSISTENCY * abs(distance) / math.sqrt(2) for distance in moved]
        if len(found) >= LEAST_TESTS:
            found.sort()
            self._pooled, self._wary = _middle(found), found[int(_NOISY * len(found))]

    # -- one test -----------------------------------------------------------------------------------------------------

    def _walk(self, points: Iterable[_Point]) -> _Series:
        """Return the history of a test, which begins again at each change."""
        series = _Series()
        for point in points:
            if len(series.points) + len(series.residuals) < LEAST_HISTORY:
                series.add(point.place)
                continue
            direction = self._departs(series, point)
            if not direction:
                series.keep_pending()
                series.add(point.place)
            elif series.pending is not None and self._departs(series, series.pending) == direction:
                series.begin_again(series.pending.place, point.place)
            else:
                series.keep_pending()
                series.pending = point
        return series

    def _departs(self, series: _Series, point: _Point) -> int:
        """Return 1 or -1 when a point lies above or below what the history explains, else 0."""
        level = series.level
        moved = point.place - level
        direction = 1 if moved > 0 else -1
        if not self._matters(level, point.place):
            return 0
        # A test that does not feel what slows the others down must not seem to change when their shift is removed.
        if not self._matters(level, point.place + point.shift - self._usual, 0.5, direction):
            return 0
        noise = self._noise_of(series)
        if noise is None or abs(moved) <= _SPREADS * noise * math.sqrt(1 + _MEDIAN_VARIANCE / len(series.points)):
            return 0
        distances = series.distances()
        if len(distances) >= LEAST_HISTORY:
            beyond = max(1, round(_ODD * len(distances)))
            further = distances[-1 - beyond] if direction > 0 else distances[beyond]
            if moved * direction <= further * direction:
                return 0
        return direction

    def _matters(self, level: float, place: float, share: float = 1.0, direction: int = 0) -> bool:
        """Return whether a change is as large as the limits want, or as a share of them; in a direction, if given."""
        was = self._scale.backward(level)
        change = self._scale.backward(place) - was
        if direction:
            change *= direction
        else:
            change = abs(change)
        return change >= share * max(self._limits.effect * abs(was), self._limits.change)

    def _noise_of(self, series: _Series) -> float | None:
        """Return the noise of a test, drawn towards that of all tests the more the shorter its history is.

        One that cannot be told from its own history yet counts as a noisy one.
        """
        distances = series.distances()
        known = len(distances) >= LEAST_HISTORY
        prior = self._pooled if known else self._wary
        if prior is None:
            return max(_noise(distances), _LEAST_NOISE) if known else None
        weight = len(distances) - 1.0
        own = _noise(distances) if weight else 0.0
        return max(math.sqrt((weight * own**2 + _PRIOR * prior**2) / (weight + _PRIOR)), _LEAST_NOISE)

    def _change(self, name: ItemName, series: _Series, head: float, base: float | None) -> Change:
        points = [self._point(values, name) for values in self._timeline.head]
        found = [point for point in points if point is not None]
        between, after = self._point(self._timeline.between, name), self._point(self._timeline.after, name)
        if not self._timeline.base:
            between = series.pending
            series.pending = None
        elif series.pending is not None:
            follower = between or found[0]
            if self._departs(series, series.pending) == self._departs(series, follower):
                series.begin_again(series.pending.place)
            else:
                series.keep_pending()
        departures = [self._departs(series, point) for point in found]
        direction, confirmed = _verdict(
            departures,
            self._departs(series, between) if between is not None else None,
            self._departs(series, after) if after is not None else None,
        )
        level, noise = series.level, self._noise_of(series)
        return Change(
            *(direction, confirmed, base, head, self._scale.backward(level + self._usual)),
            self._scale.backward(_median([point.place for point in found]) + self._usual),
            None if noise is None else math.expm1(noise),
            len(series.points) + len(series.residuals),
        )

    def _point(self, values: Values | None, name: ItemName) -> _Point | None:
        if values is None or name not in values:
            return None
        shift = self._shifts[id(values)]
        return _Point(self._logs[id(values)][name] - shift, shift)


def _verdict(departures: Sequence[int], before: int | None, after: int | None) -> tuple[int, bool | None]:
    """Return the direction in which the head departs, and whether another occasion confirms it.

    Of several occasions of the head most have to depart, and two at least.
    """
    last = departures[-1]
    if len(departures) > 1:
        for direction in (1, -1):
            number = departures.count(direction)
            if number > 1 and 2 * number > len(departures):
                return direction, True
        return (last, None if after is None else after == last) if last else (0, None)
    if not last:
        return 0, None
    if before == last or after == last:
        return last, True
    return last, None if after is None else False


def _together(occasions: Sequence[Values]) -> dict[ItemName, float]:
    """Return what each test took on some occasions, in the middle."""
    if len(occasions) == 1:
        return dict(occasions[0])
    gathered: dict[ItemName, list[float]] = {}
    for values in occasions:
        for name, value in values.items():
            gathered.setdefault(name, []).append(value)
    return {name: _median(values) for name, values in gathered.items()}


def _noise(distances: Sequence[float]) -> float:
    """Return the standard deviation that the median distance stands for, as small samples need it."""
    number = len(distances)
    factor = _SMALL_SAMPLES.get(number, number / (number - 0.8) if number > 1 else 1.0)
    return factor * _CONSISTENCY * _median([abs(distance) for distance in distances])


def _median(values: Iterable[float]) -> float:
    return _middle(sorted(values))


def _middle(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _ratio(value: float, unit: float) -> float | None:
    return value / unit if unit > 0 and value >= 0 else None
