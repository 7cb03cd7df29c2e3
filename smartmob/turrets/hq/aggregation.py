"""The aggregation of single results into slices of one second, like those that turrets of ours send. No I/O.

A second is open as long as results of it may come. A result that comes after its second was closed makes a further
slice of the same second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from smartmob.turrets.hq.batch import SliceRow
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.protocol import LONGEST_ERROR, MOST_ERROR_TEXTS
from smartmob.turrets.slices import TRANSACTION, Distribution

OTHER_ERRORS = "(other errors)"
"""The text under which errors are counted once a second has `MOST_ERROR_TEXTS` different ones."""


@dataclass(slots=True)
class RunTotals:
    """The counts of a run so far: transactions, errors, and the values of each timer."""

    transactions: int = 0
    errors: int = 0
    timers: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class OpenSecond:
    """A second that is being aggregated, by timer; `pending` values are not recorded in the distributions yet."""

    distributions: dict[str, Distribution] = field(default_factory=dict)
    pending: dict[str, list[float]] = field(default_factory=dict)

    def flush(self) -> None:
        """Record the pending values: recording many at once is faster."""
        for timer, values in self.pending.items():
            if values:
                self.distributions[timer].record_many(values)
                values.clear()

    def add_error(self, error: str) -> None:
        """Count an error of a transaction by its text."""
        own = self.distributions[TRANSACTION]
        text = error[:LONGEST_ERROR]
        if text not in own.errors and len(own.errors) >= MOST_ERROR_TEXTS:
            text = OTHER_ERRORS
        own.fail(text)


class Aggregator:
    """The open seconds of a run; their distributions are also in `live`."""

    def __init__(self, live: LiveSeconds) -> None:
        self._live = live
        self._seconds: dict[int, OpenSecond] = {}

    def __len__(self) -> int:
        return len(self._seconds)

    def open(self, second: int) -> OpenSecond:
        """Return a second of the run, which is opened if it is not."""
        found = self._seconds.get(second)
        if found is None:
            found = self._seconds[second] = OpenSecond()
            self.open_timer(found, second, TRANSACTION)
        return found

    def open_timer(self, into: OpenSecond, second: int, timer: str) -> list[float]:
        """Add a timer to an open second; return the list of its pending values."""
        distribution = into.distributions[timer] = Distribution()
        values: list[float] = []
        into.pending[timer] = values
        self._live.add(second, timer, distribution)
        return values

    def add_timers(self, into: OpenSecond, second: int, timers: Iterable[tuple[str, float]]) -> None:
        """Add values to timers, each given with the name of its timer."""
        for name, value in timers:
            values = into.pending.get(name)
            if values is None:
                values = self.open_timer(into, second, name)
            values.append(value)

    def flush(self) -> None:
        """Record the pending values of all open seconds."""
        for second in self._seconds.values():
            second.flush()

    def close(self, before: float) -> tuple[list[SliceRow], int]:
        """Close the seconds before a second of the run; return their slices, and how many results these count."""
        rows: list[SliceRow] = []
        aggregated = 0
        for second in [second for second in self._seconds if second < before]:
            closed = self._seconds.pop(second)
            rows += [
                SliceRow("", distribution.slice(second, timer))
                for timer, distribution in closed.distributions.items()
                if distribution.count
            ]
            aggregated += closed.distributions[TRANSACTION].count
        return rows, aggregated
