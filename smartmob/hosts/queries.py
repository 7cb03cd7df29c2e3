"""The queries of machines and of their samples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import orjson

from smartmob.errors import NotFound
from smartmob.hosts import model
from smartmob.hosts.fields import NAMES
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.time_series import MINUTE, HostLoad, MinAvgMax, Point, Span, bucket_width
from smartmob.kernel.db.database import Record
from smartmob.kernel.runtime import clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


class HostQueries:
    """Lists machines, and reads their samples. Raw samples are kept for `keep_days`, averages of minutes for longer."""

    def __init__(self, reader: HostsReader, keep_days: float) -> None:
        self._reader = reader
        self._keep_days = keep_days

    async def hosts(self, after: str, limit: int) -> list[model.Host]:
        """Return up to `limit` machines in the order of their names, beginning after the name `after`."""
        return [_host(row) for row in await self._reader.hosts(after, limit)]

    async def heard_within(self, names: Sequence[str], seconds: float) -> set[str]:
        """Return those of some machines whose samples, of any time, were stored within the last `seconds`."""
        return await self._reader.heard_within(names, seconds)

    async def host(self, name: str) -> model.Host:
        """Return one machine; raises NotFound."""
        row = await self._reader.host(name)
        if row is None:
            raise NotFound(f"there is no machine {name}; GET /hosts/ lists them")
        return _host(row)

    async def sample_span(self, name: str) -> tuple[datetime, datetime] | None:
        """Return the times of the first and the last sample of a machine, or None when it has none."""
        first, last = await self._reader.sample_span(name)
        return None if first is None or last is None else (first, last)

    def report(self, name: str, first: datetime | None, last: datetime | None) -> AsyncIterator[list[Record]]:
        """Yield the samples of a span, both ends included, as JSON objects in the shape of seed 001."""
        return self._reader.report(name, first or _EPOCH, last or _LATEST)

    async def points(self, name: str, span: Span, most: int) -> tuple[float, AsyncIterator[list[Point]]]:
        """Return the width in seconds and at most `most` points of a span: raw samples (width 0) where they fit."""
        if not await self._reader.secret(name):
            raise NotFound(f"there is no machine {name}; GET /hosts/ lists them")
        kept_since = clock.now() - timedelta(days=self._keep_days)
        if span.start >= kept_since and await self._reader.count_samples(name, span, most + 1) <= most:
            return 0.0, self.samples(name, span)
        width = bucket_width(span, most)
        if span.start < kept_since:
            width = max(width, MINUTE)
        return float(width), self._bucketed(name, span, width)

    async def samples(self, name: str, span: Span) -> AsyncIterator[list[Point]]:
        """Yield the samples of a machine in a span, in the order of time, in batches."""
        async for rows in self._reader.samples(name, span):
            yield [_sample_point(row) for row in rows]

    async def _bucketed(self, name: str, span: Span, width: int) -> AsyncIterator[list[Point]]:
        async for rows in self._reader.buckets([name], span, width):
            yield [_bucket_point(row, width) for row in rows]

    async def time_series(self, names: Sequence[str], span: Span, most: int) -> dict[str, list[Point]]:
        """Return at most `most` points of a span for each machine, all of the same width."""
        width = bucket_width(span, most)
        if span.start < clock.now() - timedelta(days=self._keep_days):
            width = max(width, MINUTE)
        found: dict[str, list[Point]] = {name: [] for name in names}
        async for rows in self._reader.buckets(names, span, width):
            for row in rows:
                found[row["host"]].append(_bucket_point(row, width))
        return found

    async def busy(self, start: datetime, end: datetime) -> list[HostLoad]:
        """Return the processor load of each machine from `start` until before `end`, as far as raw samples are kept."""
        return [
            HostLoad(row["host"], row["samples"], _min_avg_max(row, "cpu"))
            for row in await self._reader.host_loads(Span(start, end))
        ]


def _host(row: Record) -> model.Host:
    latest = None
    if row["at"] is not None:
        values = {name: row[name] for name in NAMES}
        latest = model.latest_of(row["at"], values, orjson.loads(row["detail"] or "{}"), clock.now())
    offset = None
    if row["clock_at"] is not None:
        offset = model.ClockOffset(row["clock_at"], row["offset_seconds"], row["delay_seconds"])
    return model.Host(row["name"], row["own"], row["registered_at"], latest, offset)


def _sample_point(row: Record) -> Point:
    values = {name: None if (value := row[name]) is None else MinAvgMax(value, value, value) for name in NAMES}
    return Point(row["at"], 0.0, 1, **values)


def _bucket_point(row: Record, width: int) -> Point:
    values = {name: _min_avg_max(row, name) for name in NAMES}
    return Point(row["at"], float(width), row["samples"], **values)


def _min_avg_max(row: Record, name: str) -> MinAvgMax | None:
    least = row[f"{name}_min"]
    return None if least is None else MinAvgMax(least, row[f"{name}_avg"], row[f"{name}_max"])
