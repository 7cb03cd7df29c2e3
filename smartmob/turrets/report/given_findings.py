"""The findings of an imported run that has statistics instead of samples: they are shown unchanged. No I/O."""

from __future__ import annotations

from smartmob.turrets.model import ALL_TRANSACTIONS, ErrorText, FailedStats, Interval, TimerStats
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.report.findings import MOST_ERROR_TEXTS, Findings, TimerFindings, timer_stats
from smartmob.turrets.result_files.imported_run import GivenStats
from smartmob.turrets.slices import TRANSACTION


class GivenFindings(Findings):
    """Findings without distributions: there is no heat map, and a curve has only the percentiles of the file."""

    def __init__(self, given: GivenStats, duration: float) -> None:
        super().__init__(duration, duration)
        self._given = given
        for name in given.timers:
            own = TRANSACTION if name == ALL_TRANSACTIONS else name
            self.timers[own] = TimerFindings(points=given.points.get(name, []))
        self.has_times = bool(given.points.get(ALL_TRANSACTIONS))

    def stats(self, name: str) -> TimerStats:
        """Return the given statistics of a timer."""
        return self._given.timers.get(name or ALL_TRANSACTIONS) or timer_stats(Outcomes(), self.duration)

    def all_intervals(self) -> dict[str, list[Interval]]:
        """Return no statistics of intervals, because those of a file cannot be added up."""
        return {}

    def error_texts(self, name: str = TRANSACTION, most: int | None = MOST_ERROR_TEXTS) -> list[ErrorText]:
        """Return at most `most` of the given errors of a timer."""
        return self._given.errors.get(name or ALL_TRANSACTIONS, [])[:most]

    def curve(self, name: str, *, failed: bool = False) -> list[tuple[float, float]]:
        """Return the given percentiles of a timer, or of its failures, as pairs of percentile and seconds."""
        stats: TimerStats | FailedStats | None = self.stats(name).failed if failed else self.stats(name)
        return sorted((float(share), value) for share, value in stats.percentiles.items()) if stats else []
