"""Trends: the tests whose level changed over the history of a machine, as steps or as a drift. No I/O.

The change points of one test are those of `change_points`. Here the shift of each run, which all tests have in common,
is removed first, and is searched for changes itself: a slower machine is one finding instead of one for each test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from smartmob.metrics import model
from smartmob.metrics.verdict.change_detection import MIN_TESTS, ChangeLimits, ItemName, Values
from smartmob.metrics.verdict.change_points import MIN_RUNS, LevelStep, Matters, find_changes
from smartmob.metrics.verdict.robust_statistics import median
from smartmob.metrics.verdict.scales import Scale
from smartmob.metrics.verdict.verdicts import DEFAULT_EFFECT, Effect, Name, Resource

ALL_TESTS: ItemName = ("", "all tests together", "", "")
"""The name of the series of shifts."""

_RECENT_RUNS = 10
"""Latest runs in one of which a test must have been measured: the trends of a removed test no longer matter."""

_PERSISTS = 0.5
"""Share of a change that the present level must still have for the change to last: the nearer of the two levels."""

_ZERO_SHARE = 0.01
"""Share of `Scale.linear_below` up to which a level counts as zero: 1 microsecond, of benchmarks 1 picosecond."""


class TrendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The tests whose trends are listed, and the changes that matter.

    `name` is a part of the name of tests, as `path::variant`; it may be repeated. `item` is the id of one test. `since`
    is a date and time: older runs are left out. `branch` is the tag `pipeline_branch` of the runs, by default the one
    with the most runs. `min_effect` is a share of the level. `limit` bounds the trends in the answer.
    """

    name: Name | None = None
    item: Name | None = None
    since: datetime | None = None
    branch: Name | None = None
    resource: Resource = "total_time"
    min_effect: Effect = DEFAULT_EFFECT
    limit: model.Limit = 50


class Trend(msgspec.Struct, frozen=True):
    """A change of the level of a test on one machine; its item_id is null if it is the change of all tests together.

    A `step` changed the level `before` to `after` with the run `run`, which began at `started_at` and measured the
    commit `scm_ref`; `previous_ref` is the commit of the run before. A `drift` led from `before` to `after` from the
    first run to the last one. Values are in the unit of the resource, without the shift of all tests. `confidence` is 1
    minus the p-value of its test. `still` is whether the change lasts: whether the present level `now` is
    nearer to `after`.
    """

    change: Literal["step", "drift"]
    direction: Literal["more", "less"]
    item_id: str | None
    path: str
    item: str
    variant: str
    kind: str
    context_h: str
    machine_node: str
    started_at: datetime
    run: str
    scm_ref: str
    previous_ref: str
    before: float
    after: float
    ratio: float | None
    confidence: float
    now: float
    still: bool
    runs: int


class TrendPlace(msgspec.Struct, frozen=True):
    """A machine and a Python with the runs that were searched: those of one branch, null if they have no such tag."""

    context_h: str
    machine_node: str
    python_info: str
    branch: str | None
    runs: int
    tests: int
    first: datetime
    last: datetime


class TrendReport(msgspec.Struct, frozen=True):
    """The tests whose level changed, the worst first: lasting changes for the worse, by size.

    `found` counts all trends, of which `limit` are listed. `explanation` says it in words.
    """

    resource: str
    unit: str
    explanation: str
    found: int
    places: list[TrendPlace]
    trends: list[Trend]


class MeasuredRun(NamedTuple):
    """A run with the values of its tests."""

    started_at: datetime
    run: str
    scm_ref: str
    values: Values


class MeasuredPlace(NamedTuple):
    """A machine and a Python, and the ids of the tests that were measured there."""

    context_h: str
    machine_node: str
    python_info: str
    ids: Mapping[ItemName, str]


def find_trends(runs: Sequence[MeasuredRun], place: MeasuredPlace, scale: Scale, limits: ChangeLimits) -> list[Trend]:
    """Return the trends in the runs of one place, which are in the order of time."""
    logs = [{name: scale.of(name[3]).to_log(value) for name, value in run.values.items()} for run in runs]
    shifts = _shifts(logs) if scale.has_shift else [0.0] * len(runs)
    recent = {name for values in logs[-_RECENT_RUNS:] for name in values}
    finder = _TrendFinder(runs, place, scale, limits)
    trends = finder.trends(ALL_TESTS, list(range(len(runs))), shifts, shifts) if any(shifts) else []
    for name in sorted(recent):
        indexes = [index for index, values in enumerate(logs) if name in values]
        if len(indexes) >= MIN_RUNS:
            raw = [logs[index][name] for index in indexes]
            corrected = [log - shifts[index] for log, index in zip(raw, indexes, strict=True)]
            trends += finder.trends(name, indexes, corrected, raw)
    return trends


def by_importance(trends: Iterable[Trend]) -> list[Trend]:
    """Return trends, those that last and are for the worse first, and among equal ones the largest first."""
    return sorted(
        trends,
        key=lambda one: (not one.still, one.direction != "more", -_size(one), one.path, one.item, one.variant),
    )


def explain(found: Sequence[Trend], places: Sequence[TrendPlace], *, selected: bool = False) -> str:
    """Return in words what was found, or why nothing could be; `selected` if a branch or a time was asked for."""
    if not places:
        return "No run of this branch and time has been measured." if selected else "No run has been measured."
    if all(place.runs < MIN_RUNS for place in places):
        most = max(place.runs for place in places)
        return (
            f"Too few runs: finding a change point takes at least {MIN_RUNS} runs on one machine, and there are {most}."
        )
    lasting = {(one.path, one.item, one.variant, one.kind) for one in found if one.still and one.direction == "more"}
    lasting.discard(ALL_TESTS)
    tests = {(one.path, one.item, one.variant, one.kind) for one in found} - {ALL_TESTS}
    number = f"{len(tests)} test changed its level" if len(tests) == 1 else f"{len(tests)} tests changed their level"
    words = f"{number}; {len(lasting)} of them {'is' if len(lasting) == 1 else 'are'} slower or larger now."
    if any(one.item_id is None for one in found):
        words += " All tests together changed too: look at the machine, or at what all tests share."
    return words if found else "No test changed its level."


class _TrendFinder:
    """Finds the trends of one series after another, and describes them by the runs of a place."""

    def __init__(self, runs: Sequence[MeasuredRun], place: MeasuredPlace, scale: Scale, limits: ChangeLimits) -> None:
        self._runs = runs
        self._place = place
        self._scale = scale
        self._limits = limits

    def trends(
        self, name: ItemName, indexes: Sequence[int], logs: Sequence[float], raw: Sequence[float]
    ) -> list[Trend]:
        """Return the trends of a series, whose values belong to some of the runs; `raw` has the shifts."""
        together, scale = name == ALL_TESTS, self._scale.of(name[3])
        matters = _factor_matters(self._limits) if together else partial(self._matters, scale)
        found = find_changes(logs, matters)
        if found.drift is not None:
            return [self._trend(name, indexes, 0, found.drift, found.drift.after, drift=True)]
        edges = [0, *(step.first for step in found.steps), len(logs)]
        return [
            self._trend(name, indexes, step.first, step[1:], found.level, drift=False)
            for number, step in enumerate(found.steps)
            if together or self._moved_as_measured(scale, step, raw[edges[number] : edges[number + 2]], edges[number])
        ]

    def _matters(self, scale: Scale, before: float, after: float, share: float = 1.0) -> bool:
        level = scale.from_log(before)
        change = abs(scale.from_log(after) - level)
        return change >= share * max(self._limits.effect * abs(level), self._limits.least_change(scale))

    def _least_level(self, name: ItemName) -> float:
        """Return the level below which changes are not judged as ratios: correcting a shift moves a zero by less."""
        return 0.0 if name == ALL_TESTS else _ZERO_SHARE * self._scale.of(name[3]).linear_below

    def _moved_as_measured(self, scale: Scale, step: LevelStep, raw: Sequence[float], start: int) -> bool:
        """Return whether a step also exists without the correction: a test that a slow machine does not slow down must
        not seem faster when the shift of the other tests is removed.
        """
        before, after = median(raw[: step.first - start]), median(raw[step.first - start :])
        return (after > before) == (step.after > step.before) and self._matters(scale, before, after, 0.5)

    def _trend(
        self, name: ItemName, indexes: Sequence[int], index: int, change: tuple[float, float, float], now: float,
        *, drift: bool,
    ) -> Trend:  # fmt: skip
        before, after, p_value = change
        run = self._runs[indexes[index]]
        # All tests together have no unit: their level is a factor of the usual one.
        value = math.exp if name == ALL_TESTS else self._scale.of(name[3]).from_log
        first, last = value(before), value(after)
        path, item, variant, kind = name
        return Trend(
            change="drift" if drift else "step",
            direction="more" if after > before else "less",
            item_id=self._place.ids.get(name),
            path=path,
            item=item,
            variant=variant,
            kind=kind,
            context_h=self._place.context_h,
            machine_node=self._place.machine_node,
            started_at=run.started_at,
            run=run.run,
            scm_ref=run.scm_ref,
            previous_ref=self._runs[indexes[index - 1]].scm_ref if index else "",
            before=first,
            after=last,
            ratio=last / first if first > self._least_level(name) and last >= 0 else None,
            confidence=1.0 - p_value,
            now=value(now),
            still=(now - before) * math.copysign(1.0, after - before) >= _PERSISTS * abs(after - before),
            runs=len(indexes),
        )


def _factor_matters(limits: ChangeLimits) -> Matters:
    """Return the test of a change of the factor of all tests, which has no unit and therefore no least change."""
    return lambda before, after: abs(math.expm1(after - before)) >= limits.effect


def _shifts(logs: Sequence[Mapping[ItemName, float]]) -> list[float]:
    """Return the shift of each run: the median of the distances of its tests from their medians."""
    gathered: dict[ItemName, list[float]] = {}
    for values in logs:
        for name, log in values.items():
            gathered.setdefault(name, []).append(log)
    levels = {name: median(found) for name, found in gathered.items() if len(found) >= MIN_RUNS}
    shifts = []
    for values in logs:
        moved = [log - levels[name] for name, log in values.items() if name in levels]
        shifts.append(median(moved) if len(moved) >= MIN_TESTS else 0.0)
    return shifts


def _size(trend: Trend) -> float:
    return abs(math.log(trend.ratio)) if trend.ratio else abs(trend.after - trend.before)
