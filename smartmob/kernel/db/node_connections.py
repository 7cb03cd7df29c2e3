"""Connections to the nodes of a distributed database, so that a batch of one node is committed there alone.

Each node of Citus can store rows of all shards: those of its own in a local transaction, others through the nodes that
have them. So rows are stored right at any node, also after their shard was moved. The coordinator stores the rows of
nodes that cannot be reached.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable

import asyncpg
import msgspec

from smartmob.kernel.db.database import Connection, Database, Record, reason
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

_REFRESH_SECONDS = 20.0  # the time after which shards that were moved are noticed, and missing nodes are tried again
_SECONDS_AFTER_ERROR = 5.0  # the same after a connection was lost
_MOST_SECONDS = 40.0
"""The age up to which a placement is used. A node that was removed passes rows on by what it knew then, and so might
store them in a shard that was moved since.
"""
_LONGEST_REFRESH_SECONDS = 30.0
_COORDINATOR_GROUP = 0  # the number that Citus gives to the group of the coordinator

_PLACEMENTS = """
SELECT p.shardid AS shard, n.groupid AS node, n.nodename AS host, n.nodeport AS port
FROM pg_dist_shard AS s JOIN pg_dist_placement AS p USING (shardid) JOIN pg_dist_node AS n USING (groupid)
WHERE s.logicalrelid = $1::text::regclass AND n.noderole = 'primary' AND n.isactive AND n.metadatasynced
"""
IDENTITY = "SELECT concat_ws(' ', system_identifier, current_database(), pg_is_in_recovery()) FROM pg_control_system()"
"""Tells a node apart from other servers: an address such as localhost may lead the service elsewhere than the nodes."""
_IDENTITIES = "SELECT nodename AS host, nodeport AS port, result FROM run_command_on_workers($1) WHERE success"
_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class ShardNode(msgspec.Struct, frozen=True):
    """A node of the cluster: the number of its group, and its address."""

    group: int
    host: str
    port: int


class NodeConnections:
    """The connections of one writer to the nodes that have the shards of a table."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table
        self._nodes: dict[object, ShardNode] = {}
        self._connections: dict[ShardNode, asyncpg.Connection[Record]] = {}
        self._unused: dict[ShardNode, str] = {}
        self._due = 0.0
        self._found_at = -math.inf
        self._refreshing: asyncio.Task[None] | None = None

    def node_of(self, shard: object) -> ShardNode | None:
        """Return the node of a shard if it is connected, and was the node of the shard lately."""
        node = self._nodes.get(shard)
        if node is None or self.connection(node) is None or clock.steady() - self._found_at > _MOST_SECONDS:
            return None
        return node

    def connection(self, node: ShardNode) -> Connection | None:
        """Return the connection to a node, or None if there is none."""
        connection = self._connections.get(node)
        return None if connection is None or connection.is_closed() else connection

    def owns(self, connection: Connection) -> bool:
        """Return whether a connection leads to a node."""
        return any(each is connection for each in self._connections.values())

    async def on_coordinator(self, connection: Connection, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do some work on tables of the coordinator, on another connection if this one leads to a node."""
        if not self.owns(connection):
            await work(connection)
            return
        async with self._database.acquire() as coordinator:
            await work(coordinator)

    def disconnect(self, node: ShardNode) -> None:
        """Close the connection to a node after an error; the coordinator stores its rows until the next try."""
        self._due = min(self._due, clock.steady() + _SECONDS_AFTER_ERROR)
        connection = self._connections.pop(node, None)
        if connection is not None:
            connection.terminate()

    def refresh(self, tasks: TaskRegistry, name: str) -> None:
        """Look for the shards and connect to their nodes, in a task with this name, if it is time."""
        if clock.steady() >= self._due and (self._refreshing is None or self._refreshing.done()):
            self._due = clock.steady() + _REFRESH_SECONDS
            self._refreshing = tasks.start(name, self.connect())

    async def close(self) -> None:
        """Close all connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for connection in self._connections.values():
            await connection.close()

    async def connect(self) -> None:
        """Find out which node has which shard, and connect to the nodes without a connection."""
        try:
            async with asyncio.timeout(_LONGEST_REFRESH_SECONDS):
                now = clock.steady()
                async with self._database.acquire() as coordinator:
                    rows = await coordinator.fetch(_PLACEMENTS, self._table)
                self._nodes = {row["shard"]: ShardNode(row["node"], row["host"], row["port"]) for row in rows}
                self._found_at = now
                self._leave(self._connections.keys() - set(self._nodes.values()))
                missing = [node for node in set(self._nodes.values()) if self.connection(node) is None]
                identities = await self._identities() if missing else {}
                for node in missing:
                    self._note(node, await self.reach(node, identities.get((node.host, node.port))))
        except _ERRORS as error:
            log.warning("database.nodes_unknown", table=self._table, reason=reason(error))

    def _leave(self, nodes: Iterable[ShardNode]) -> None:
        """Close the connections to nodes without shards."""
        for node in tuple(nodes):
            self._connections.pop(node).terminate()

    async def _identities(self) -> dict[tuple[str, int], str]:
        """Return the identity of each node that the coordinator reaches, by its address."""
        # Not from the pool, since the coordinator waits for nodes that do not answer.
        coordinator = await self._database.connect()
        try:
            rows = await coordinator.fetch(_IDENTITIES, IDENTITY)
        finally:
            coordinator.terminate()
        return {(row["host"], row["port"]): row["result"] for row in rows}

    async def reach(self, node: ShardNode, identity: str | None) -> str | None:
        """Connect to a node that has this identity for the coordinator; return why that is not possible, or None."""
        coordinator = node.group == _COORDINATOR_GROUP
        if identity is None and not coordinator:
            return "the coordinator does not reach it"
        if not coordinator and not self._database.may_connect_to(node.host):
            return "no --database-node-hosts allows its host"
        try:
            connection = await self._database.connect(None if coordinator else (node.host, node.port))
        except _ERRORS as error:
            return reason(error)
        try:
            known = coordinator or await connection.fetchval(IDENTITY) == identity
        except BaseException:
            connection.terminate()
            raise
        if not known:
            connection.terminate()
            return "another server answers at this address"
        self._connections[node] = connection
        return None

    def _note(self, node: ShardNode, problem: str | None) -> None:
        """Log once why a node is not used."""
        if problem is None:
            self._unused.pop(node, None)
        elif self._unused.get(node) != problem:
            self._unused[node] = problem
            log.warning("database.node_unused", node=f"{node.host}:{node.port}", table=self._table, reason=problem)
