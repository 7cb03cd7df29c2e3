"""The nodes of a distributed database, and how its shards are spread over them, from the catalogs of Citus."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from smartmob.kernel.db import citus
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.placement import REFERENCE, Placement, Sharded

_NODES = """
SELECT n.nodename || ':' || n.nodeport AS name, n.groupid = 0 AS coordinator, n.isactive AS active,
       count(DISTINCT s.shardid)::integer AS shards, coalesce(sum(s.shard_size), 0)::bigint AS bytes
FROM pg_dist_node AS n
LEFT JOIN citus_shards AS s ON s.nodename = n.nodename AND s.nodeport = n.nodeport
WHERE n.noderole = 'primary'
GROUP BY n.groupid, n.nodename, n.nodeport, n.isactive ORDER BY n.groupid
"""
# The shards of a group's tables with the same range of hashes are one unit, which the rebalancer moves as a whole.
_UNITS = """
SELECT coalesce(i.inhparent, s.table_name)::regclass::text AS name, coalesce(p.shardminvalue, '') AS range,
       max(s.colocation_id) AS colocation, sum(s.shard_size)::bigint AS bytes
FROM citus_shards AS s JOIN pg_dist_shard AS p ON p.shardid = s.shardid
LEFT JOIN pg_inherits AS i ON i.inhrelid = s.table_name
GROUP BY 1, 2
"""


class ClusterNode(msgspec.Struct, frozen=True):
    """A server of the cluster: its address, the number of shards on it, and their bytes."""

    name: str
    coordinator: bool
    active: bool
    shards: int
    bytes: int


class ShardGroup(msgspec.Struct, frozen=True):
    """The tables that share their shards. `skew` is the size of the largest shard divided by the mean; 1 is even."""

    name: str
    tables: list[str]
    shards: int
    bytes: int
    skew: float


class ClusterStatus(msgspec.Struct, frozen=True):
    """The state of a distributed database. `waiting` are tables that are not distributed yet.

    `table_bytes` has the bytes of each distributed table, by name, with all copies counted.
    """

    citus: str
    nodes: list[ClusterNode]
    groups: list[ShardGroup]
    waiting: list[str]
    table_bytes: dict[str, int]

    @property
    def bytes(self) -> int:
        """Return the bytes of all distributed tables, with all copies counted."""
        return sum(node.bytes for node in self.nodes)


async def cluster_status(connection: Connection, placements: Mapping[str, Placement]) -> ClusterStatus | None:
    """Return the state of the cluster, or None if the database is not distributed."""
    version = await citus.version(connection)
    if version is None or not await citus.distributed_tables(connection):
        return None
    nodes = [ClusterNode(**dict(row)) for row in await connection.fetch(_NODES)]
    units: dict[str, dict[str, int]] = {}
    tables: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(_UNITS):
        name = row["name"].rpartition(".")[2]
        placement = placements.get(name)
        group = placement.group if isinstance(placement, Sharded) else REFERENCE.value
        of_group = units.setdefault(group, {})
        of_group[row["range"]] = of_group.get(row["range"], 0) + row["bytes"]
        of_table = tables.setdefault(group, {})
        of_table[name] = of_table.get(name, 0) + row["bytes"]
    groups = [group_of(name, sorted(tables[name]), list(units[name].values())) for name in sorted(units)]
    waiting = [step.table for step in await citus.plan(connection, placements)]
    sizes = {name: size for of_table in tables.values() for name, size in of_table.items()}
    return ClusterStatus(version, nodes, groups, waiting, sizes)


def group_of(name: str, tables: list[str], sizes: list[int]) -> ShardGroup:
    """Return the group of some tables; `sizes` are the bytes of its shards."""
    mean = sum(sizes) / len(sizes)
    return ShardGroup(name, tables, len(sizes), sum(sizes), round(max(sizes) / mean, 2) if mean else 1.0)
