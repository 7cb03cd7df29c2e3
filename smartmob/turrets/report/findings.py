"""What the slices of a run say: figures of each timer, over time and in all. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from smartmob.errors import InvalidInput
from smartmob.turrets.model import PERCENTILES, TRANSACTION, CoursePoint, ErrorText, Interval, TimerStats
from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import TRANSACTION as OWN
from smartmob.turrets.slices import Distribution

MOST_POINTS = 600
MOST_ERROR_TEXTS = 100
_ROWS_PER_DECADE = 12
_SHOWN = (50.0, 95.0, 99.0)
_CURVE = (*range(0, 90, 5), *range(90, 99), 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100)


@dataclass(slots=True)
class TimerFindings:
    """What was found of one timer."""

    whole: Distribution = field(default_factory=Distribution)
    points: list[CoursePoint] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    stretch: Distribution | None = None
    interval: Distribution | None = None


class Findings:
    """Adds up slices, which must come in the order of their seconds; `close` it when all have been added.

    Of each timer three distributions are held at a time, however long the run was: the present stretch (a point of a
    chart), the present interval (a row of a table), and the whole.
    """

    def __init__(self, duration: float, interval: float) -> None:
        self.duration = duration
        self.interval = interval
        self.step = max(1, math.ceil(duration / MOST_POINTS))
        self.timers: dict[str, TimerFindings] = {}
        self.heat: dict[int, Counter[int]] = {}
        self.errors: Counter[str] = Counter()
        self.damaged = 0
        self._stretch = 0
        self._interval = 0

    def add(self, slices: Iterable[Slice]) -> None:
        """Add slices."""
        for part in slices:
            stretch, interval = part.second // self.step, int(part.second / self.interval)
            if stretch > self._stretch:
                self._end_stretch()
                self._stretch = stretch
            if interval > self._interval:
                self._end_interval()
                self._interval = interval
            self._add(part)

    def close(self) -> None:
        """End what is still open."""
        self._end_stretch()
        self._end_interval()

    def figures(self, name: str) -> TimerStats:
        """Return the figures of a timer over the whole run."""
        found = self.timers.get(name)
        return figures(found.whole if found is not None else Distribution(), self.duration)

    def all_figures(self) -> dict[str, TimerStats]:
        """Return the figures of all timers by their names, the transactions themselves first."""
        names = [OWN, *sorted(name for name in self.timers if name != OWN)]
        return {name or TRANSACTION: self.figures(name) for name in names}

    def all_intervals(self) -> dict[str, list[Interval]]:
        """Return the figures of all timers in each interval."""
        return {name or TRANSACTION: found.intervals for name, found in sorted(self.timers.items())}

    def error_texts(self) -> list[ErrorText]:
        """Return how often each error was told, the most frequent first."""
        return [ErrorText(text, count) for text, count in self.errors.most_common(MOST_ERROR_TEXTS)]

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Return the latency at many percentiles."""
        found = self.timers.get(name)
        values = found.whole.percentiles([float(share) for share in _CURVE]) if found is not None else {}
        return sorted(values.items())

    def _add(self, part: Slice) -> None:
        found = self.timers.setdefault(part.timer, TimerFindings())
        if found.stretch is None:
            found.stretch = Distribution()
        try:
            found.stretch.merge(part)
        except InvalidInput:
            self.damaged += part.count
            return
        self.errors.update(part.errors)

    def _end_stretch(self) -> None:
        at = self._stretch * self.step
        for name, found in self.timers.items():
            stretch, found.stretch = found.stretch, None
            if stretch is None or not stretch.count:
                continue
            shown = stretch.percentiles(_SHOWN)
            found.points.append(
                CoursePoint(
                    at=at,
                    rate=stretch.count / self.step,
                    error_rate=stretch.failed / self.step,
                    p50=shown[50.0],
                    p95=shown[95.0],
                    p99=shown[99.0],
                    maximum=stretch.maximum,
                )
            )
            if name == OWN:
                self._heat(at, stretch)
            if found.interval is None:
                found.interval = Distribution()
            found.interval.absorb(stretch)

    def _end_interval(self) -> None:
        self._end_stretch()
        for found in self.timers.values():
            interval, found.interval = found.interval, None
            if interval is not None:
                at = self._interval * self.interval
                length = min(self.interval, self.duration - at) if self.duration > at else self.interval
                found.intervals.append(Interval(at=at, figures=figures(interval, length)))
                found.whole.absorb(interval)

    def _heat(self, at: int, stretch: Distribution) -> None:
        rows = self.heat[at] = Counter()
        for value, count in stretch.counts().items():
            rows[heat_row(value)] += count


def heat_row(microseconds: int) -> int:
    """Return the row of the heat map in which a latency lies: twelve to each power of ten."""
    return int(math.log10(max(microseconds, 1)) * _ROWS_PER_DECADE)


def heat_bound(row: int) -> float:
    """Return the latency in seconds with which a row of the heat map begins."""
    return float(10 ** (row / _ROWS_PER_DECADE)) / 1e6


def figures(values: Distribution, duration: float) -> TimerStats:
    """Return the figures of a distribution whose values came in so many seconds."""
    some = values.count > 0
    return TimerStats(
        count=values.count,
        errors=values.failed,
        rate=values.count / duration if duration > 0 else 0.0,
        min=values.minimum if some else None,
        avg=values.mean if some else None,
        percentiles={f"{share:g}": value for share, value in values.percentiles(PERCENTILES).items()},
        max=values.maximum if some else None,
        stdev=values.stdev if some else None,
        late=values.late,
    )
