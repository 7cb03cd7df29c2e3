"""The tables of a run as CSV: the statistics of all its timers, and all its different errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

from smartmob import csv_cells
from smartmob.turrets.model import PERCENTILES, ErrorText, FailedStats, Summary, TimerStats

_ROWS = 1_000  # rows that are encoded at a time
_SHARES = [f"{share:g}" for share in PERCENTILES]
_TIMERS = ("timer", "count", "ok", "failed", "rate", "min", "avg", *(f"p{share}" for share in _SHARES), "max", "stdev")
_FAILED = ("count", "untimed", "min", "avg", *(f"p{share}" for share in _SHARES), "max", "stdev")
_ERRORS = ("count", "error", "timer", "kind", "code")


async def timers(summary: Summary) -> AsyncIterator[bytes]:
    """Yield the table of the timers of a run; durations are in seconds, `rate` is per second.

    The durations are those of `samples` successes; after them come those of failures.
    """
    head = (*_TIMERS, "samples", *(f"failed_{name}" for name in _FAILED))
    async for part in _encoded(head, _timer_rows(summary)):
        yield part


async def errors(found: Mapping[str, Iterable[ErrorText]]) -> AsyncIterator[bytes]:
    """Yield the table of the errors of each timer."""
    rows = ([each.count, each.text, name, each.kind, each.code] for name, errors in found.items() for each in errors)
    async for part in _encoded(_ERRORS, rows):
        yield part


def _timer_rows(summary: Summary) -> Iterator[list[object]]:
    for name, stats in summary.timers.items():
        counts = (stats.count, stats.count - stats.errors, stats.errors, stats.rate)
        failed = stats.failed
        failures = (
            [failed.count, failed.untimed, *_durations(failed)] if failed else [0, 0, *[None] * (len(_FAILED) - 2)]
        )
        yield [name, *counts, *_durations(stats), stats.samples, *failures]


def _durations(stats: TimerStats | FailedStats) -> list[object]:
    percentiles = (stats.percentiles.get(share) for share in _SHARES)
    return [stats.min, stats.avg, *percentiles, stats.max, stats.stdev]


async def _encoded(head: Iterable[str], rows: Iterable[list[object]]) -> AsyncIterator[bytes]:
    part: list[list[object]] = [list(head)]
    for row in rows:
        part.append(row)
        if len(part) >= _ROWS:
            yield csv_cells.encoded(part)
            part = []
    if part:
        yield csv_cells.encoded(part)
