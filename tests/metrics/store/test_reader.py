"""The queries of listings: pages at any depth, missing measures, and the cost of a page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from smartmob.kernel.db.database import Database
from smartmob.metrics.model import ImportedMetric, MetricFilter, MetricRow, SessionFilter, metric_row
from smartmob.metrics.store.reader import MetricsReader
from smartmob.metrics.store.writer import MetricsWriter
from tests import citus_databases
from tests.metrics.samples import metric


async def _batch(documents: list[dict[str, Any]]) -> AsyncIterator[list[MetricRow]]:
    yield [metric_row(ImportedMetric(**document), None) for document in documents]


async def _load(database: Database, *loads: list[dict[str, Any]]) -> MetricsReader:
    writer = MetricsWriter(database)
    for documents in loads:
        async with writer.bulk() as load:
            await load.write(_batch(documents))
    return MetricsReader(database)


async def test_a_page_across_blocks_has_the_right_metrics(database: Database) -> None:
    """A page that spans two blocks has the right metrics, wherever it begins."""
    loads = [[metric(item=f"{load}-{n}") for n in range(3)] for load in range(4)]
    reader = await _load(database, *loads)

    expected = [document["item"] for load in loads for document in load]
    for offset in range(13):
        assert [row["item"] for row in await reader.metrics_page(offset, 5)] == expected[offset : offset + 5]


async def test_a_deep_page_reads_no_more_than_a_first_one(database: Database) -> None:
    """The query plan reads only the metrics of the page and of one block."""
    if citus_databases.url() is not None:
        pytest.skip("a plan on several nodes has another form")
    reader = await _load(database, *([metric(item=f"test_{n}") for n in range(200)] for _ in range(20)))
    await database.fetch("ANALYZE test_metrics")
    block = await database.fetchrow(reader._sql["find_block"], 3_950)
    assert block is not None

    explained = await database.fetch(
        "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) " + reader._sql["metrics_page"],
        *(block["block"], 3_950 - int(block["before"]), 50),
    )

    plan = "\n".join(row[0] for row in explained)
    assert "test_metrics_by_arrival" in plan, plan
    rows = [float(part.split("rows=")[1].split()[0]) for part in plan.splitlines() if "on test_metrics " in part]
    assert max(rows) <= 200, plan


async def test_missing_measures_come_last(database: Database) -> None:
    """A missing measure is neither the most nor the least."""
    reader = await _load(
        database,
        [metric(item="low", cpu_usage=0.1), metric(item="none", cpu_usage=None), metric(item="high", cpu_usage=9)],
    )

    for most, expected in ((True, ["high", "low", "none"]), (False, ["low", "high", "none"])):
        rows = await reader.extreme_metrics(MetricFilter(), "cpu_usage", most, 10)
        assert [row["item"] for row in rows] == expected


async def test_a_cursor_yields_all_selected_metrics(database: Database) -> None:
    """The cursor yields all metrics, or those of a filter, in the order of arrival."""
    reader = await _load(database, [metric(item=f"test_{n}", kind="ab"[n % 2]) for n in range(2_500)])

    assert [row["item"] async for row in reader.all_metrics(MetricFilter())] == [f"test_{n}" for n in range(2_500)]
    assert len([row async for row in reader.all_metrics(MetricFilter(kind="a"))]) == 1_250


@pytest.mark.parametrize("name", ["it's", 'a"b', "{0}", "%s", "$1", "; DROP TABLE test_sessions"])
async def test_names_are_never_part_of_a_query(database: Database, name: str) -> None:
    """Names of tags and prefixes are passed as arguments, whatever they contain."""
    reader = MetricsReader(database)

    assert await reader.sessions(SessionFilter(prefix=name, tags=((name, name), (name, ""))), 0, 1) == []
    assert await reader.metrics(MetricFilter(item=name, item_like=name, pipeline=name, build=name), 0, 1) == []
