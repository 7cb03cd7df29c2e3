"""The aggregation of single results into slices of one second, like those that turrets of smartmob send. No I/O.

A second is open as long as results of it may arrive. A result that arrives after its second was closed makes another
slice of the same second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from smartmob.turrets.hq.batch import SliceRow
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import LONGEST_ERROR, MOST_ERROR_TEXTS, ErrorKind, ResultDetails, TimerError
from smartmob.turrets.slices import NO_KIND, TRANSACTION, Distribution

OTHER_ERRORS = "(other errors)"
"""The text under which errors are counted once a timer has `MOST_ERROR_TEXTS` different ones in a second."""


class RunTotals(msgspec.Struct):
    """The counts of a run so far: transactions, errors, and of each timer the values and the failures among them."""

    transactions: int = 0
    errors: int = 0
    timers: dict[str, int] = msgspec.field(default_factory=dict)
    failures: dict[str, int] = msgspec.field(default_factory=dict)

    def count(self, timer: str, values: int, failures: int) -> None:
        """Count values of a timer and the failures among them."""
        self.timers[timer] = self.timers.get(timer, 0) + values
        if failures:
            self.failures[timer] = self.failures.get(timer, 0) + failures


class OpenSecond(msgspec.Struct):
    """A second that is being aggregated, by timer; `pending` successful values are not recorded yet."""

    outcomes: dict[str, Outcomes] = msgspec.field(default_factory=dict)
    pending: dict[str, list[float]] = msgspec.field(default_factory=dict)

    def flush(self) -> None:
        """Record the pending values: recording many at once is faster."""
        for timer, values in self.pending.items():
            if values:
                self.outcomes[timer].ok.record_many(values)
                values.clear()

    def fail(self, timer: str, seconds: float | None, error: str, kind: ErrorKind = NO_KIND) -> None:
        """Count a failure of a timer by its text, and its duration unless that is None."""
        failed = self.outcomes[timer].failed
        if seconds is None:
            failed.untimed += 1
        else:
            failed.record(seconds)
        count_error(failed, error, kind)


def count_error(failed: Distribution, error: str, kind: ErrorKind = NO_KIND) -> None:
    """Count an error by its text and kind, or with the others once there are `MOST_ERROR_TEXTS` different ones."""
    text = error[:LONGEST_ERROR]
    known = text in failed.errors and failed.kinds.get(text, NO_KIND) == kind
    if known or len(failed.errors) < MOST_ERROR_TEXTS:
        failed.fail(text, 1, kind)
    else:
        failed.fail(OTHER_ERRORS)


def failed_timers(error: str, timers: Iterable[str], details: object) -> Mapping[str, TimerError]:
    """Return the errors of the timers of a result that failed.

    A turret of OCT does not tell in which part a transaction failed, so all timers of a failed one count as failed.
    """
    if isinstance(details, ResultDetails):
        return details.timers
    return dict.fromkeys(timers, TimerError(error=error[:LONGEST_ERROR])) if error else {}


class Aggregator:
    """The open seconds of a run; their outcomes are also in `live`."""

    def __init__(self, live: LiveSeconds | None = None) -> None:
        self._live = live
        self._seconds: dict[int, OpenSecond] = {}

    def __len__(self) -> int:
        return len(self._seconds)

    def open(self, second: int) -> OpenSecond:
        """Return a second of the run; open it if it is not open."""
        found = self._seconds.get(second)
        if found is None:
            found = self._seconds[second] = OpenSecond()
            self.open_timer(found, second, TRANSACTION)
        return found

    def open_timer(self, into: OpenSecond, second: int, timer: str) -> list[float]:
        """Add a timer to an open second; return the list of its pending values."""
        outcomes = into.outcomes[timer] = Outcomes()
        values: list[float] = []
        into.pending[timer] = values
        if self._live is not None:
            self._live.add(second, timer, outcomes)
        return values

    def add_timers(
        self, into: OpenSecond, second: int, timers: Iterable[tuple[str, float]], failed: Mapping[str, TimerError]
    ) -> None:
        """Add values to timers, each given with the name of its timer; `failed` has the errors of those that failed."""
        for name, value in timers:
            values = into.pending.get(name)
            if values is None:
                values = self.open_timer(into, second, name)
            error = failed.get(name) if failed else None
            if error is None:
                values.append(value)
            else:
                into.fail(name, value, error.error, ErrorKind(error.kind, error.code))

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
                SliceRow("", part)
                for timer, outcomes in closed.outcomes.items()
                for part in outcomes.slices(second, timer)
            ]
            aggregated += closed.outcomes[TRANSACTION].count
        return rows, aggregated
