"""Rows of samples for tests of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from smartmob.hosts.model import SampleData, SampleRow, sample_row
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.hosts.time_series import Span
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission

DAY = datetime(2026, 11, 20, tzinfo=UTC)
START = DAY.timestamp()


def row(time: float, number: int = 0, host: str = "a", **values: Any) -> SampleRow:
    """Return a sample `time` seconds after the beginning of `DAY`."""
    return sample_row(host, SampleData(time=START + time, **values), number)


def submission(rows: Sequence[SampleRow]) -> Submission[SampleRow]:
    """Return a submission of rows."""
    return Submission(rows, asyncio.get_running_loop().create_future(), 0.0)


async def store(database: Database, writer: HostsWriter, *rows: SampleRow) -> None:
    """Commit rows."""
    connection = await database.connect()
    await writer.commit(connection, [submission(rows)])
    await connection.close()


def span(start: float, end: float) -> Span:
    """Return a span by its seconds after the beginning of `DAY`."""
    return Span(datetime.fromtimestamp(START + start, UTC), datetime.fromtimestamp(START + end, UTC))


async def buckets(reader: HostsReader, width: int, end: float = 86_400.0, host: str = "a") -> list[tuple[Any, ...]]:
    """Return the buckets of a day: seconds, samples, and minimum, mean and maximum of the processor load."""
    found = [row async for rows in reader.buckets([host], span(0, end), width) for row in rows]
    return [
        (row["at"].timestamp() - START, row["samples"], row["cpu_min"], row["cpu_avg"], row["cpu_max"]) for row in found
    ]
