"""The state of a distributed database: nodes, shards, and how even they are."""

from __future__ import annotations

import pytest

from smartmob.distribution import PLACEMENTS
from smartmob.kernel.db import citus
from smartmob.kernel.db.cluster_status import ClusterNode, ClusterStatus, ShardGroup, cluster_status, group_of
from smartmob.kernel.db.database import Database


async def test_a_database_that_is_not_distributed_has_no_cluster(database: Database) -> None:
    """That is so without the extension, and before `smartmob db distribute`."""
    async with database.acquire() as connection:
        if not await citus.distributed_tables(connection):
            assert await cluster_status(connection, PLACEMENTS) is None


def test_the_skew_is_the_largest_shard_over_the_mean() -> None:
    """Shards without bytes are even."""
    assert group_of("g", ["t"], [10, 10, 40]) == ShardGroup("g", ["t"], 3, 60, 2.0)
    assert group_of("g", ["t"], [0, 0]).skew == 1.0


def test_the_bytes_of_a_cluster_are_those_of_its_nodes() -> None:
    """Each copy of a reference table counts."""
    nodes = [ClusterNode("a:5432", True, True, 2, 30), ClusterNode("b:5432", False, True, 4, 70)]
    assert ClusterStatus("13.2-1", nodes, [], [], {}).bytes == 100


@pytest.mark.citus
async def test_the_status_of_a_cluster(database: Database) -> None:
    """Each group is there with its tables, and partitions count with their table."""
    async with database.acquire() as connection:
        status = await cluster_status(connection, PLACEMENTS)

    assert status is not None
    assert status.waiting == []
    assert [group.name for group in status.groups] == ["hosts", "reference", "runs", "sessions"]
    assert status.groups[0].tables == ["host_clocks", "host_minutes", "host_samples", "hosts"]
    assert sum(node.coordinator for node in status.nodes) == 1
    assert status.bytes == sum(status.table_bytes.values())
