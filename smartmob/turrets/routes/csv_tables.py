"""The tables of a run as CSV: the statistics of all its timers, and all its different errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from smartmob import csv_cells
from smartmob.turrets.model import PERCENTILES, ErrorText, Summary

_ROWS = 1_000  # rows that are encoded at a time
_SHARES = [f"{share:g}" for share in PERCENTILES]
_TIMERS = ("timer", "count", "ok", "failed", "rate", "min", "avg", *(f"p{share}" for share in _SHARES), "max", "stdev")


async def timers(summary: Summary) -> AsyncIterator[bytes]:
    """Yield the table of the timers of a run; durations are in seconds, `rate` is per second."""
    async for part in _encoded(_TIMERS, _timer_rows(summary)):
        yield part


async def errors(found: Iterable[ErrorText]) -> AsyncIterator[bytes]:
    """Yield the table of errors."""
    async for part in _encoded(("count", "error"), ([error.count, error.text] for error in found)):
        yield part


def _timer_rows(summary: Summary) -> Iterator[list[object]]:
    for name, stats in summary.timers.items():
        percentiles = (stats.percentiles.get(share) for share in _SHARES)
        counts = (stats.count, stats.count - stats.errors, stats.errors, stats.rate)
        yield [name, *counts, stats.min, stats.avg, *percentiles, stats.max, stats.stdev]


async def _encoded(head: Iterable[str], rows: Iterable[list[object]]) -> AsyncIterator[bytes]:
    part: list[list[object]] = [list(head)]
    for row in rows:
        part.append(row)
        if len(part) >= _ROWS:
            yield csv_cells.encoded(part)
            part = []
    if part:
        yield csv_cells.encoded(part)
