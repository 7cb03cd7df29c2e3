"""Connections to the nodes of a distributed database, and the batches that are written on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import structlog

from smartmob.app import build
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.node_connections import IDENTITY, NodeConnections, ShardNode
from smartmob.kernel.db.shards import RowShards
from smartmob.kernel.db.writer import GroupCommitWriter, Submission
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings
from tests.each import each

_NODES = {ord("a"): ShardNode(1, "one", 1), ord("b"): ShardNode(1, "one", 1), ord("c"): ShardNode(2, "two", 2)}


class _Nodes(NodeConnections):
    """Shards a and b are on one node, and shard c is on another; all are the server of the tests."""

    async def connect(self) -> None:
        self._found_at = clock.steady()
        for shard, node in _NODES.items():
            self._nodes[shard] = node
            if self.connection(node) is None:
                self._connections[node] = await self._database.connect()


class _Shards(RowShards[str]):
    """The first letter of a row is its shard."""

    async def detect(self, connection: Connection) -> None:
        self.active = True

    async def learn(self, connection: Connection, batches: Iterable[Sequence[str]]) -> None:
        self._known |= {row[0]: ord(row[0]) for rows in batches for row in rows}


class _Commits:
    """Asks the server for something, and keeps the rows of each batch by the node that it was written on."""

    def __init__(self, nodes: NodeConnections) -> None:
        self._nodes = nodes
        self.gate = asyncio.Event()
        self.batches: list[tuple[bool, list[str]]] = []
        self.begun = asyncio.Semaphore(0)
        self.node_statement = "SELECT 1"

    async def __call__(self, connection: Connection, submissions: Sequence[Submission[str]]) -> None:
        self.begun.release()
        await self.gate.wait()
        await connection.fetchval(self.node_statement if self._nodes.owns(connection) else "SELECT 1")
        rows = [row for submission in submissions for row in submission.rows]
        self.batches.append((self._nodes.owns(connection), rows))


@pytest.fixture(name="nodes")
async def _connected(database: Database) -> _Nodes:
    nodes = _Nodes(database, "marks")
    await nodes.connect()
    return nodes


async def test_rows_of_all_shards_of_a_node_are_one_batch(database: Database, nodes: _Nodes) -> None:
    """It is written on the node's connection, one at a time; rows of a node that is not known go to the coordinator."""
    commits, tasks = _Commits(nodes), TaskRegistry()
    writer = GroupCommitWriter("marks", database, commits, shards=_Shards("marks", lambda row: row[0], nodes))
    await writer.start(tasks)
    puts = [asyncio.create_task(writer.put([row])) for row in ("a1", "b1", "c1", "a2", "d1")]
    for _ in range(3):
        await commits.begun.acquire()
    later = [asyncio.create_task(writer.put([row])) for row in ("b2", "a3")]
    commits.gate.set()

    await asyncio.gather(*puts, *later)
    await writer.close()
    await tasks.close()

    assert sorted(commits.batches) == [
        (False, ["d1"]), (True, ["a1", "b1", "a2"]), (True, ["b2", "a3"]), (True, ["c1"]),
    ]  # fmt: skip


async def test_the_coordinator_stores_the_rows_of_a_node_that_is_lost(database: Database, nodes: _Nodes) -> None:
    """They are stored once, and a node that is connected again stores its rows itself."""
    commits, tasks = _Commits(nodes), TaskRegistry()
    commits.gate.set()
    writer = GroupCommitWriter("marks", database, commits, shards=_Shards("marks", lambda row: row[0], nodes))
    await writer.start(tasks)
    await writer.put(["a1"])
    lost = nodes.connection(_NODES[ord("a")])
    assert lost is not None
    await database.fetch("SELECT pg_terminate_backend($1::integer, 60000::bigint)", lost.get_server_pid())
    with structlog.testing.capture_logs():
        await writer.put(["a2"])
    assert nodes.connection(_NODES[ord("a")]) is None
    await writer.put(["c1"])
    await nodes.connect()
    await writer.put(["a3"])
    await writer.close()
    await tasks.close()

    assert commits.batches == [(True, ["a1"]), (False, ["a2"]), (True, ["c1"]), (True, ["a3"])]


async def test_the_coordinator_stores_the_rows_that_a_node_refuses(database: Database, nodes: _Nodes) -> None:
    """A node that was removed may lack a shard, although it answers."""
    commits, tasks = _Commits(nodes), TaskRegistry()
    writer = GroupCommitWriter("marks", database, commits, shards=_Shards("marks", lambda row: row[0], nodes))
    await writer.start(tasks)
    commits.node_statement = "SELECT 1 FROM no_such_shard"
    puts = [asyncio.create_task(writer.put([row])) for row in ("a1", "b1")]
    await commits.begun.acquire()
    commits.gate.set()
    await asyncio.gather(*puts)
    await writer.close()
    await tasks.close()

    assert commits.batches == [(False, ["a1"]), (False, ["b1"])]


async def test_a_placement_that_was_found_long_ago_is_not_used(nodes: _Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was removed since might store rows in a shard that was moved; the coordinator never does."""
    assert nodes.node_of(ord("a")) is not None
    later = clock.steady() + 41
    monkeypatch.setattr(clock, "steady", lambda: later)
    assert nodes.node_of(ord("a")) is None
    await nodes.connect()
    assert nodes.node_of(ord("a")) is not None
    await nodes.close()


async def test_another_server_at_the_address_of_a_node_is_not_used(database: Database) -> None:
    """An address such as localhost is another machine for the service than for the coordinator."""
    parts = urlsplit(database.url)
    host = parts.hostname or dict(pair.split("=", 1) for pair in parts.query.split("&"))["host"]
    node, nodes = ShardNode(1, host.replace("%2F", "/"), parts.port or 5432), NodeConnections(database, "marks")

    assert await nodes.reach(node, None) == "the coordinator does not reach it"
    assert await nodes.reach(node, "7 other f") == "another server answers at this address"
    assert nodes.connection(node) is None
    assert await nodes.reach(node, await database.fetchval(IDENTITY)) is None
    assert nodes.connection(node) is not None
    await nodes.close()


@each("patterns, allowed", [((), True), (("db?.example.com", "127.0.0.*"), True), (("*.EXAMPLE.com",), False)])
async def test_the_password_is_sent_to_allowed_hosts_alone(
    database_url: str, patterns: tuple[str, ...], allowed: bool
) -> None:
    """Nothing connects to another host, whatever the catalog of the coordinator says."""
    seen = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(True)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    node = ShardNode(1, "127.0.0.1", server.sockets[0].getsockname()[1])
    database = Database(DatabaseSettings(url=database_url, node_hosts=patterns), None)
    await database.open()
    nodes = NodeConnections(database, "marks")
    async with server:
        problem = await nodes.reach(node, "7 other f")
    await nodes.close()
    await database.close()

    assert (seen != []) is allowed
    assert (problem == "no --database-node-hosts allows its host") is not allowed


async def test_no_node_is_connected_where_that_is_turned_off(settings: Settings) -> None:
    """The coordinator stores all rows; its catalog is not asked for nodes."""

    def nodes(direct: bool) -> list[bool]:
        changed = replace(settings, database=replace(settings.database, direct_nodes=direct))
        writers = [feature.writer for feature in build(changed).features]
        found = [writer._shards for writer in writers if isinstance(writer, GroupCommitWriter)]
        return [shards.nodes is not None for shards in found if shards is not None]

    assert sum(nodes(True)) == 2  # of measures and of samples
    assert sum(nodes(False)) == 0


async def test_shards_that_cannot_be_found_are_logged(database: Database) -> None:
    """The coordinator then stores the rows; the catalogs of Citus may be missing after a restore."""
    nodes = NodeConnections(database, "no_such_table")
    with structlog.testing.capture_logs() as lines:
        await nodes.connect()

    assert [(line["event"], line["table"]) for line in lines] == [("database.nodes_unknown", "no_such_table")]
    assert nodes.node_of(1) is None


@pytest.mark.citus
async def test_each_shard_has_a_connected_node(database: Database) -> None:
    """The connection leads to the node that has the shard."""
    nodes = NodeConnections(database, "test_metrics")
    await nodes.connect()
    rows = await database.fetch(
        "SELECT shardid, groupid FROM pg_dist_placement JOIN pg_dist_shard USING (shardid) "
        "WHERE logicalrelid = 'test_metrics'::regclass"
    )
    assert rows
    for row in rows:
        node = nodes.node_of(row["shardid"])
        assert node is not None
        assert node.group == row["groupid"]
        connection = nodes.connection(node)
        assert connection is not None
        assert await connection.fetchval("SELECT groupid FROM pg_dist_local_group") == row["groupid"]
    await nodes.close()
