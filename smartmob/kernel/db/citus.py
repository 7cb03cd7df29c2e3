"""Distributes tables by Citus, with its own functions: `create_reference_table`, `create_distributed_table`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import msgspec

from smartmob.errors import DatabaseError
from smartmob.kernel.db import migrations
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.db.placement import LOCAL, REFERENCE, Placement, Sharded, groups

_DISTRIBUTION_LOCK = 7_330_461_125
"""The key of the advisory lock of a command that distributes tables. Any unused number."""
DEFAULT_SHARDS = 32
"""Shards of each group of tables: the default of Citus (`citus.shard_count`)."""

_INSTALLED = "SELECT extversion FROM pg_extension WHERE extname = 'citus'"
_WORKERS = "SELECT count(*) FROM pg_dist_node WHERE shouldhaveshards AND isactive AND noderole = 'primary'"
# An online distribution that was interrupted leaves a table that Citus manages on the coordinator: its method is 'n',
# as that of a reference table, but it has no copies ('t').
_DISTRIBUTED = """
SELECT logicalrelid::regclass::text AS name FROM pg_dist_partition
WHERE partmethod = 'h' OR (partmethod = 'n' AND repmodel = 't')
"""
_BYTES = """
SELECT n AS name, coalesce((
    SELECT sum(pg_relation_size(p.relid)) FROM pg_partition_tree(to_regclass(n)) AS p
), pg_relation_size(to_regclass(n)), 0)::bigint AS bytes
FROM unnest($1::text[]) AS n WHERE to_regclass(n) IS NOT NULL
"""
_SHOW_SHARDS = "SELECT format('ALTER DATABASE %I SET citus.override_table_visibility = off', current_database())"
_SHARDS = """
SELECT max(count) FROM (
    SELECT count(*) AS count FROM pg_dist_shard AS s JOIN pg_dist_partition AS p USING (logicalrelid)
    WHERE p.partmethod = 'h' GROUP BY logicalrelid
) AS counted
"""
_MOVES = """
SELECT table_name::text AS table, shardid AS shard, shard_size AS bytes,
       sourcename || ':' || sourceport AS source, targetname || ':' || targetport AS target
FROM get_rebalance_table_shards_plan()
"""
# The mode is a literal: only a superuser may name the schema of its type.
_REBALANCE = "SELECT citus_rebalance_start(shard_transfer_mode => '{mode}')"
_STATUS = "SELECT state::text, details::text FROM citus_rebalance_status()"
_RUNNING = frozenset({"scheduled", "running", "cancelling", "failing"})
_SEQUENTIAL = "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'"


class DistributionStep(msgspec.Struct, frozen=True):
    """The distribution of one table; `bytes` is the size of the data to move; writers of the table wait meanwhile."""

    table: str
    placement: Placement
    colocated_with: str | None
    bytes: int


class Move(msgspec.Struct, frozen=True):
    """A shard that the rebalancer would move, with its bytes, and the addresses of both nodes."""

    table: str
    shard: int
    bytes: int
    source: str
    target: str


async def version(connection: Connection) -> str | None:
    """Return the version of Citus in the database, or None without it."""
    found: str | None = await connection.fetchval(_INSTALLED)
    return found


async def require(connection: Connection) -> str:
    """Return the version of Citus in the database. Raises DatabaseError without it."""
    found = await version(connection)
    if found is None:
        raise DatabaseError(
            "this database has no Citus: install it on all nodes, CREATE EXTENSION citus, and add the nodes "
            "(docs/howto/run-on-citus.md)"
        )
    return found


async def require_ready(connection: Connection, known: Sequence[Migration]) -> None:
    """Check that tables can be distributed. Raises DatabaseError, which says in one line what is missing."""
    await require(connection)
    done = await migrations.applied(connection)
    migrations.check(known, done)
    if any((one.feature, one.number) not in done for one in known):
        raise DatabaseError("migrations are missing: smartmob db migrate")
    if not await connection.fetchval(_WORKERS):
        raise DatabaseError(
            "the cluster has no node for shards: SELECT citus_set_coordinator_host('this-host', 5432), then "
            "SELECT citus_add_node('other-host', 5432) for each (docs/howto/run-on-citus.md)"
        )


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an error of the server into a DatabaseError with its first line."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"the cluster refuses it: {str(error).splitlines()[0]}") from None


async def wait_for_others(connection: Connection) -> None:
    """Wait until no other session distributes tables; that of a killed command still ends its statement.

    The lock ends with the connection.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _DISTRIBUTION_LOCK)


async def set_visibility(connection: Connection) -> None:
    """Let catalogs show shards in new connections to the database, which the role must own.

    Citus hides them with a function that it calls for each row of pg_class, which makes a type look-up of the driver
    take seconds.
    """
    await connection.execute(await connection.fetchval(_SHOW_SHARDS))


async def distributed_tables(connection: Connection) -> set[str]:
    """Return the names of the tables that are distributed already; without Citus, none."""
    if await version(connection) is None:
        return set()
    return {row["name"].rpartition(".")[2] for row in await connection.fetch(_DISTRIBUTED)}


async def plan(connection: Connection, placements: Mapping[str, Placement]) -> list[DistributionStep]:
    """Return the steps that are missing, reference tables first: the others are joined with them."""
    done = await distributed_tables(connection)
    wanted = [name for name, placement in placements.items() if placement is not LOCAL]
    sizes = {row["name"]: row["bytes"] for row in await connection.fetch(_BYTES, wanted)}
    steps = [DistributionStep(name, REFERENCE, None, sizes[name]) for name in sizes if placements[name] is REFERENCE]
    for tables in groups(placements).values():
        # All tables of a group are colocated with the one that was distributed first.
        first = next((table for table in tables if table in done), tables[0])
        for table in (first, *(table for table in tables if table != first)):
            if table in sizes:
                other = None if table == first else first
                steps.append(DistributionStep(table, placements[table], other, sizes[table]))
    return [step for step in steps if step.table not in done]


async def distribute(connection: Connection, step: DistributionStep, shards: int, *, online: bool = True) -> None:
    """Distribute one table with its rows and partitions; with `online`, writers go on if Citus can do that."""
    table = step.table
    if not isinstance(step.placement, Sharded):
        await connection.execute("SELECT create_reference_table($1::text::regclass)", table)
    elif not (online and step.bytes and await _distribute_online(connection, step, shards)):
        call = f"SELECT create_distributed_table($1::text::regclass, $2, {_colocation(step, shards)})"
        await connection.execute(call, table, step.placement.column)
    if step.bytes:
        # The table on the coordinator still has hidden copies of the moved rows.
        await connection.execute("SELECT truncate_local_data_after_distributing_table($1::text::regclass)", table)


async def _distribute_online(connection: Connection, step: DistributionStep, shards: int) -> bool:
    """Distribute a table while it is written to; return False if Citus cannot.

    Citus cannot do this for a table with partitions or without a key, without logical replication, or where the server
    forbids its output plugin.
    """
    assert isinstance(step.placement, Sharded)
    call = f"SELECT create_distributed_table_concurrently($1::text::regclass, $2, {_colocation(step, shards)})"
    try:
        await connection.execute(call, step.table, step.placement.column)
    except (
        asyncpg.FeatureNotSupportedError,
        asyncpg.ObjectNotInPrerequisiteStateError,
        asyncpg.InternalServerError,  # the code of errors that come from other connections of the cluster
    ):
        return False
    return True


def _colocation(step: DistributionStep, shards: int) -> str:
    """Return the arguments that colocate a table with the others of its group, or begin a new group."""
    if step.colocated_with is None:
        return f"colocate_with => 'none', shard_count => {shards}"
    return f"colocate_with => '{step.colocated_with}'"


class Distributor:
    """Distributes the tables that migrations make in a distributed database; does nothing in another one."""

    def __init__(self, placements: Mapping[str, Placement]) -> None:
        self._placements = placements

    async def begin(self, connection: Connection) -> bool:
        """Prepare a transaction that changes tables: each node gets one connection, which sees earlier changes.

        Returns whether the database has Citus, which accepts changes of distributed tables only as single statements.
        """
        if await version(connection) is None:
            return False
        await connection.execute(_SEQUENTIAL)
        return True

    async def distribute_new(self, connection: Connection) -> None:
        """Distribute the tables that are new, in the caller's transaction, if others are distributed."""
        if await distributed_tables(connection):
            await self.distribute_all(connection, await shards(connection))

    async def distribute_all(self, connection: Connection, shards: int) -> None:
        """Distribute all existing tables, in the caller's transaction."""
        for step in await plan(connection, self._placements):
            await distribute(connection, step, shards, online=False)


async def shards(connection: Connection) -> int:
    """Return the number of shards of the distributed tables, or the default if there are none."""
    if not await distributed_tables(connection):
        return DEFAULT_SHARDS
    return int(await connection.fetchval(_SHARDS) or DEFAULT_SHARDS)


# -- rebalancing ------------------------------------------------------------------------------------------------------


async def moves(connection: Connection) -> list[Move]:
    """Return the moves that the rebalancer of Citus plans."""
    return [Move(**dict(row)) for row in await connection.fetch(_MOVES)]


async def start_rebalance(connection: Connection, *, block_writes: bool) -> None:
    """Start the rebalancer in the background of the server, unless it is running."""
    state, _ = await _rebalancer(connection)
    if state not in _RUNNING:
        # Results of load tests have no key, for which Citus refuses `auto`.
        await connection.execute(_REBALANCE.format(mode="block_writes" if block_writes else "force_logical"))


async def finished_moves(connection: Connection) -> int | None:
    """Return how many moves of the rebalancer are done, or None at its end. Raises DatabaseError if it failed."""
    state, details = await _rebalancer(connection)
    if state in _RUNNING:
        return int((details.get("task_state_counts") or {}).get("done", 0))
    if state not in (None, "finished"):
        raise DatabaseError(f"the rebalancer has {state}: {_problem(details)}")
    return None


async def _rebalancer(connection: Connection) -> tuple[str | None, dict[str, Any]]:
    row = await connection.fetchrow(_STATUS)
    return (None, {}) if row is None else (row["state"], json.loads(row["details"]))


def _problem(details: Mapping[str, Any]) -> str:
    texts = [str(task.get("message") or task.get("state")) for task in details.get("tasks") or ()]
    return "; ".join(texts).split("\n", 1)[0] or "see citus_rebalance_status()"
