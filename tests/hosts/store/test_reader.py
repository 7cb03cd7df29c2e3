"""Reading machines and samples."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from smartmob.errors import Unavailable
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Database
from tests.hosts.store.rows import DAY, START, buckets, row, span, store
from tests.waiting import SECONDS


async def test_machines_come_in_order_with_their_newest_sample(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """With the newest sample and the last clock offset."""
    for name in ("b", "a", "c"):
        await writer.insert_host(name, DAY, own=name == "c")
    await store(database, writer, row(1, 1, cpu=1.0), row(9, 2, cpu=9.0, cores=[9.0]), row(5, 3, cpu=5.0))
    await writer.insert_offset("a", DAY, 0.5, 0.1)
    found = await reader.hosts("", 2)
    assert [(one["name"], one["own"], one["cpu"], one["offset_seconds"]) for one in found] == [
        ("a", False, 9.0, 0.5),
        ("b", False, None, None),
    ]
    assert json.loads(found[0]["detail"]) == {"cores": [9.0]}
    assert [one["name"] for one in await reader.hosts("b", 2)] == ["c"]
    assert await reader.host("z") is None


async def test_the_first_and_last_sample_of_a_machine(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """Their times, or nothing."""
    assert await reader.sample_span("a") == (None, None)
    await store(database, writer, row(5, 1), row(1, 2), row(3, 3))
    first, last = await reader.sample_span("a")
    assert first is not None
    assert last is not None
    assert (first.timestamp() - START, last.timestamp() - START) == (1, 5)


async def test_a_report_has_the_shape_of_the_seed(database: Database, reader: HostsReader, writer: HostsWriter) -> None:
    """JSON objects in the order of time, both ends included, whole numbers without a point, null for missing values."""
    await store(
        database,
        writer,
        row(2.5, 1, cpu=20.5, mem=8516.0, storage=81708.0),
        row(1, 2, cpu=18.0, mem=8513.0),
        *(row(0, 3), row(9, 4), row(1, 5, host="b")),
    )
    ends = (datetime.fromtimestamp(START + end, UTC) for end in (1, 2.5))
    lines = [line[0] for rows in [rows async for rows in reader.report("a", *ends)] for line in rows]
    assert lines == [
        f'{{"cpu":18,"mem":8513,"storage":null,"unix_time":{START + 1:.0f}}}',
        f'{{"cpu":20.5,"mem":8516,"storage":81708,"unix_time":{START + 2.5:.1f}}}',
    ]


async def test_narrow_buckets_come_from_the_samples(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """The end of the span cuts the last bucket."""
    await store(database, writer, *(row(n, n, cpu=float(n)) for n in range(10)))
    assert await buckets(reader, 5) == [(0.0, 5, 0.0, 2.0, 4.0), (5.0, 5, 5.0, 7.0, 9.0)]
    assert await buckets(reader, 5, end=6.0) == [(0.0, 5, 0.0, 2.0, 4.0), (5.0, 1, 5.0, 5.0, 5.0)]


async def test_wide_buckets_include_minutes_that_are_not_rolled_up(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """The newest minutes come from the samples, and no sample is counted twice."""
    await store(database, writer, row(0, 1, cpu=2.0))
    await writer.roll_up(0)
    await database.fetchval("UPDATE host_progress SET until = $1", datetime.fromtimestamp(START + 90, UTC))
    await store(database, writer, row(61, 2, cpu=4.0), row(300, 3, cpu=9.0))
    assert await buckets(reader, 300) == [(0.0, 2, 2.0, 3.0, 4.0), (300.0, 1, 9.0, 9.0, 9.0)]


async def test_the_load_of_each_machine_in_a_span(database: Database, reader: HostsReader, writer: HostsWriter) -> None:
    """Each machine with samples in the span, with its aggregates."""
    for name in ("a", "b", "c"):
        await writer.insert_host(name, DAY, own=False)
    await store(database, writer, row(1, 1, cpu=10.0), row(2, 1, cpu=30.0), row(1, 1, host="b"), row(99, 1, host="c"))
    found = [tuple(one) for one in await reader.host_loads(span(0, 50))]
    assert found == [("a", 2, 10.0, 20.0, 30.0), ("b", 1, None, None, None)]


async def test_counting_stops_at_the_limit(database: Database, reader: HostsReader, writer: HostsWriter) -> None:
    """Samples above the limit are not counted."""
    await store(database, writer, *(row(n, n) for n in range(20)))
    assert await reader.count_samples("a", span(0, 100), 5) == 5
    assert await reader.count_samples("a", span(0, 10), 50) == 10


async def test_many_samples_come_in_batches(database: Database, reader: HostsReader, writer: HostsWriter) -> None:
    """A batch is bounded, however many samples there are."""
    await store(database, writer, *(row(n / 100, n) for n in range(9_000)))
    sizes = [len(rows) async for rows in reader.samples("a", span(0, 100))]
    assert sum(sizes) == 9_000
    assert max(sizes) < 9_000


async def test_a_listing_that_is_cut_off_is_unavailable(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """The error says that the database is away."""
    await store(database, writer, *(row(n / 100, n) for n in range(9_000)))
    admin = await database.connect()
    listing = reader.samples("a", span(0, 100))
    await anext(listing)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
    )
    with pytest.raises(Unavailable):
        async with asyncio.timeout(SECONDS):
            async for _ in listing:
                pass
    await admin.close()


async def test_a_machine_is_heard_by_the_arrival_of_a_sample(
    database: Database, reader: HostsReader, writer: HostsWriter
) -> None:
    """The time of the sample does not count, only when it was stored."""
    await store(database, writer, row(5, 1))
    assert await reader.heard_within(["a", "b"], 3600.0) == {"a"}
    assert await reader.heard_within(["b"], 3600.0) == set()
    assert await reader.heard_within(["a"], 0.0) == set()
