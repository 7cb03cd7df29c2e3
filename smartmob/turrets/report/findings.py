"""The findings of a run, added up from its slices: statistics of each timer, over time and in total. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.model import (
    ALL_TRANSACTIONS,
    PERCENTILES,
    ErrorText,
    FailedStats,
    Interval,
    RunPoint,
    TimerStats,
)
from smartmob.turrets.names import counted_name
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import NO_KIND, TRANSACTION, Distribution

MOST_POINTS = 600  # points of a chart
MOST_ERROR_TEXTS = 1_000  # different error texts of a summary
_ROWS_PER_DECADE = 12
_STEP_PERCENTILES = (50.0, 95.0, 99.0)
_CURVE_PERCENTILES = (*range(0, 90, 5), *range(90, 99), 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100)


class TimerFindings(msgspec.Struct):
    """The findings of one timer; `open_step` and `open_interval` have the values of the present ones."""

    whole: Outcomes = msgspec.field(default_factory=Outcomes)
    points: list[RunPoint] = msgspec.field(default_factory=list)
    intervals: list[Interval] = msgspec.field(default_factory=list)
    open_step: Outcomes | None = None
    open_interval: Outcomes | None = None


class Findings:
    """The sums of slices, which must be added in the order of their seconds; call `close` after the last one.

    For each timer there are three distributions, whatever the length of the run: that of the present step (a point of a
    chart), that of the present interval (a row of a table), and that of the whole run. `step`, `interval` and
    `duration` are in seconds. The first `warm_up` seconds, rounded up to whole steps, are in the charts only.
    """

    def __init__(self, duration: float, interval: float, warm_up: float = 0.0) -> None:
        self.duration = duration
        self.has_times = True
        self.interval = interval
        self.step = max(1, math.ceil(duration / MOST_POINTS))
        self.warm_up = math.ceil(warm_up / self.step) * self.step
        self.timers: dict[str, TimerFindings] = {}
        self.heat: dict[int, Counter[int]] = {}
        self.failed_heat: dict[int, Counter[int]] = {}
        self.damaged = 0
        self._step_number = 0
        self._interval_number = 0

    def add(self, slices: Iterable[Slice]) -> None:
        """Add slices."""
        for part in slices:
            step, interval = part.second // self.step, int(part.second / self.interval)
            if step > self._step_number:
                self._end_step()
                self._step_number = step
            if interval > self._interval_number:
                self._end_interval()
                self._interval_number = interval
            self._add(part)

    def close(self) -> None:
        """End the present step and interval."""
        self._end_step()
        self._end_interval()

    def stats(self, name: str) -> TimerStats:
        """Return the statistics of a timer over the whole run."""
        found = self.timers.get(name)
        return timer_stats(found.whole if found is not None else Outcomes(), self.duration - self.warm_up)

    def all_stats(self) -> dict[str, TimerStats]:
        """Return the statistics of all timers by their names, the transactions themselves first."""
        names = [TRANSACTION, *sorted(name for name in self.timers if name != TRANSACTION)]
        return {name or ALL_TRANSACTIONS: self.stats(name) for name in names}

    def all_intervals(self) -> dict[str, list[Interval]]:
        """Return the statistics of all timers in each interval."""
        return {name or ALL_TRANSACTIONS: found.intervals for name, found in sorted(self.timers.items())}

    def error_texts(self, name: str = TRANSACTION, most: int | None = MOST_ERROR_TEXTS) -> list[ErrorText]:
        """Return the counts of at most `most` different errors of a timer, the most frequent first."""
        found = self.timers.get(name)
        if found is None:
            return []
        failed = found.whole.failed
        return [
            ErrorText(text, count, failed.kinds.get(text, NO_KIND).kind, failed.kinds.get(text, NO_KIND).code)
            for text, count in Counter(failed.errors).most_common(most)
        ]

    def timer_errors(self) -> dict[str, list[ErrorText]]:
        """Return the errors of each timer that failed, without those of the transactions themselves."""
        return {
            name: errors for name in sorted(self.timers) if name != TRANSACTION and (errors := self.error_texts(name))
        }

    def all_errors(self) -> dict[str, list[ErrorText]]:
        """Return all errors by the names of their timers, those of the transactions first."""
        names = sorted(self.timers, key=lambda name: (name != TRANSACTION, name))
        return {name or ALL_TRANSACTIONS: self.error_texts(name, most=None) for name in names}

    def other_errors(self) -> tuple[int, int]:
        """Return how many texts `error_texts` leaves out, and how many errors they have."""
        left = self.error_texts(most=None)[MOST_ERROR_TEXTS:]
        return len(left), sum(error.count for error in left)

    def curve(self, name: str, *, failed: bool = False) -> list[tuple[float, float]]:
        """Return the latency of the successes of a timer at many percentiles, as pairs of percentile and seconds.

        `failed` asks for that of its failures.
        """
        found = self.timers.get(name)
        if found is None:
            return []
        values = found.whole.failed if failed else found.whole.ok
        return sorted(values.percentiles([float(share) for share in _CURVE_PERCENTILES]).items())

    def _add(self, part: Slice) -> None:
        # An earlier version stored names unchanged.
        name = counted_name(part.timer) if part.timer != TRANSACTION else TRANSACTION
        found = self.timers.setdefault(name, TimerFindings())
        if found.open_step is None:
            found.open_step = Outcomes()
        try:
            found.open_step.merge(part)
        except InvalidInput:
            self.damaged += part.total_count

    def _end_step(self) -> None:
        at = self._step_number * self.step
        for name, found in self.timers.items():
            step, found.open_step = found.open_step, None
            if step is None or not step.count:
                continue
            found.points.append(_point(at, self.step, step))
            if name == TRANSACTION:
                self._add_heat(at, step)
            if at < self.warm_up:
                continue
            if found.open_interval is None:
                found.open_interval = Outcomes()
            found.open_interval.absorb(step)

    def _end_interval(self) -> None:
        self._end_step()
        for found in self.timers.values():
            interval, found.open_interval = found.open_interval, None
            if interval is not None:
                at = self._interval_number * self.interval
                end = min(at + self.interval, self.duration) if self.duration > at else at + self.interval
                length = end - max(at, self.warm_up)
                found.intervals.append(Interval(at=at, stats=timer_stats(interval, length)))
                found.whole.absorb(interval)

    def _add_heat(self, at: int, step: Outcomes) -> None:
        for heat, values in ((self.heat, step.ok), (self.failed_heat, step.failed)):
            if values.count:
                rows = heat[at] = Counter()
                for value, count in values.counts().items():
                    rows[heat_row(value)] += count


def heat_row(microseconds: int) -> int:
    """Return the row of the heat map for a latency: there are twelve rows to each power of ten."""
    return int(math.log10(max(microseconds, 1)) * _ROWS_PER_DECADE)


def heat_bound(row: int) -> float:
    """Return the latency in seconds at which a row of the heat map begins."""
    return float(10 ** (row / _ROWS_PER_DECADE)) / 1e6


def _point(at: int, seconds: int, step: Outcomes) -> RunPoint:
    """Return the point of a step of some seconds."""
    ok, failed = (values.percentiles(_STEP_PERCENTILES) for values in (step.ok, step.failed))
    return RunPoint(
        at=at,
        rate=step.count / seconds,
        error_rate=step.errors / seconds,
        p50=ok.get(50.0),
        p95=ok.get(95.0),
        p99=ok.get(99.0),
        maximum=step.ok.maximum if step.ok.count else None,
        failed_p50=failed.get(50.0),
        failed_p95=failed.get(95.0),
        failed_p99=failed.get(99.0),
        failed_maximum=step.failed.maximum if step.failed.count else None,
        codes=step.codes(),
    )


def timer_stats(values: Outcomes, duration: float) -> TimerStats:
    """Return the statistics of the values of `duration` seconds."""
    ok, failed = values.ok, values.failed
    return TimerStats(
        count=values.count,
        errors=values.errors,
        rate=values.count / duration if duration > 0 else 0.0,
        **_durations(ok),
        late=values.late,
        samples=ok.count,
        mixed=values.mixed,
        failed=FailedStats(count=failed.count, untimed=failed.untimed, **_durations(failed)) if values.errors else None,
    )


def _durations(values: Distribution) -> dict[str, Any]:
    """Return the fields of statistics that describe durations."""
    some = values.count > 0
    return {
        "min": values.minimum if some else None,
        "avg": values.mean if some else None,
        "percentiles": {f"{share:g}": value for share, value in values.percentiles(PERCENTILES).items()},
        "max": values.maximum if some else None,
        "stdev": values.stdev if some else None,
    }
