"""The writing of metrics on the nodes of Citus themselves, and after their shards were moved."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest

from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.node_connections import NodeConnections, ShardNode
from smartmob.kernel.db.writer import GroupCommitWriter, Submission
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.metrics import protocol
from smartmob.metrics.model import MetricRow, metric_row
from smartmob.metrics.store.writer import MetricsWriter
from tests.metrics.samples import metric

pytestmark = pytest.mark.citus


def _row(number: int, session_h: str) -> MetricRow:
    new = metric(item=f"test_{number}", session_h=session_h)
    return metric_row(protocol.METRIC.decode(orjson.dumps(new)), time.time())


def _submission(*rows: MetricRow) -> Submission[MetricRow]:
    return Submission(rows, asyncio.get_running_loop().create_future(), 0.0)


async def _stored(database: Database) -> list[tuple[str, str]]:
    rows = await database.fetch("SELECT session_h, item FROM test_metrics JOIN test_items USING (item_id)")
    return sorted((row["session_h"], row["item"]) for row in rows)


class _Cluster:
    """A writer that is connected to all nodes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.writer = MetricsWriter(database)
        assert self.writer.shards.nodes is not None
        self.nodes: NodeConnections = self.writer.shards.nodes

    async def sessions(self, count: int) -> list[tuple[str, ShardNode]]:
        """Return sessions with the nodes of their shards."""
        names = [f"session-{number}" for number in range(count)]
        async with self.database.acquire() as coordinator:
            await self.writer.shards.detect(coordinator)
            await self.writer.shards.learn(coordinator, [[_row(0, name)] for name in names])
        await self.nodes.connect()
        found = [(name, self.nodes.node_of(self.writer.shards.of([_row(0, name)]))) for name in names]
        return [(name, node) for name, node in found if node is not None]

    async def of_one_node(self, count: int) -> tuple[list[str], Connection, ShardNode]:
        """Return sessions of one node with several shards, its connection and the node."""
        sessions = await self.sessions(40)
        node = sessions[0][1]
        connection = self.nodes.connection(node)
        assert connection is not None
        return [name for name, each in sessions if each == node][:count], connection, node


@pytest.fixture(name="cluster")
async def _connected(database: Database) -> AsyncIterator[_Cluster]:
    cluster = _Cluster(database)
    yield cluster
    await cluster.nodes.close()


async def _move_shards(database: Database, names: Sequence[str], source: ShardNode, target: ShardNode) -> None:
    """Move the shards of some sessions from a node to another one."""
    async with database.acquire() as connection:
        shards = set()
        for name in names:
            shards.add(await connection.fetchval(
                "SELECT get_shard_id_for_distribution_column('test_metrics', $1::text)", name))  # fmt: skip
        for shard in shards:
            await connection.execute(
                "SELECT citus_move_shard_placement($1, $2, $3, $4, $5, shard_transfer_mode => 'block_writes')",
                *(shard, source.host, source.port, target.host, target.port),
            )


async def test_metrics_of_many_sessions_are_stored_once(cluster: _Cluster) -> None:
    """Single metrics and lists go to all nodes, and blocks are opened and counted on the coordinator."""
    sessions = await cluster.sessions(12)
    live = GroupCommitWriter("metrics", cluster.database, cluster.writer.commit, shards=cluster.writer.shards)
    tasks = TaskRegistry()
    await live.start(tasks)
    singles = [live.put([_row(number, name)]) for number in range(6) for name, _ in sessions]
    lists = [live.put([_row(number, name) for number in range(6, 30)]) for name, _ in sessions]
    await asyncio.gather(*singles, *lists)
    await live.close()
    await tasks.close()

    assert len({node for _, node in sessions}) > 1
    assert await _stored(cluster.database) == sorted(
        (name, f"test_{number}") for number in range(30) for name, _ in sessions
    )
    assert await cluster.database.fetchval("SELECT count(*) FROM test_metric_blocks") == 1


@pytest.mark.parametrize("rows", [1, 3, 40])
async def test_a_batch_is_completed_by_its_next_attempt(cluster: _Cluster, rows: int) -> None:
    """If a part of it was stored, or all, the next attempt stores the rest, on a node and on the coordinator."""
    names, connection, _ = await cluster.of_one_node(4)
    submissions = [_submission(_row(number, names[number % len(names)])) for number in range(rows)]
    expected = sorted((names[number % len(names)], f"test_{number}") for number in range(rows))

    await cluster.writer.commit(connection, submissions)
    assert await _stored(cluster.database) == expected
    await cluster.writer.commit(connection, submissions)
    assert await _stored(cluster.database) == expected
    for again in (connection, await cluster.database.connect()):
        await cluster.database.fetch("DELETE FROM test_metrics WHERE session_h = $1", names[0])
        await cluster.writer.commit(again, submissions)
        assert await _stored(cluster.database) == expected
    await again.close()


@pytest.mark.parametrize("rows", [1, 3, 40])
async def test_rows_are_stored_by_a_node_that_has_lost_their_shards(cluster: _Cluster, rows: int) -> None:
    """Until the service notices that shards were moved, the node passes the rows on."""
    names, connection, node = await cluster.of_one_node(4)
    other = next(each for _, each in await cluster.sessions(40) if each != node)
    submissions = [_submission(_row(number, names[number % len(names)])) for number in range(rows)]
    await _move_shards(cluster.database, names, node, other)
    try:
        await cluster.writer.commit(connection, submissions)
        stored = await _stored(cluster.database)
        await cluster.nodes.connect()
        assert cluster.nodes.node_of(cluster.writer.shards.of([_row(0, names[0])])) == other
    finally:
        await _move_shards(cluster.database, names, other, node)

    assert stored == sorted((names[number % len(names)], f"test_{number}") for number in range(rows))
