"""The shards of rows, and batches of one shard each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest
import structlog

from smartmob.errors import Unavailable
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.shards import MIXED, RowShards, insert_rows
from smartmob.kernel.db.writer import GroupCommitWriter, Submission
from smartmob.kernel.runtime.tasks import TaskRegistry


class _Shards(RowShards[str]):
    """The first letter of a row is its shard; the server knows nothing of that."""

    def __init__(self) -> None:
        super().__init__("marks", lambda row: row[0])
        self.asked: list[list[str]] = []

    async def detect(self, connection: Connection) -> None:
        self.active = True

    async def learn(self, connection: Connection, batches: Iterable[Sequence[str]]) -> None:
        found = sorted({row[0] for rows in batches for row in rows} - self._known.keys())
        self.asked += [found] if found else []
        self._known |= {name: ord(name) for name in found}


class _Commits:
    """Keeps the rows of each batch until the gate is open, and counts how many are written at a time."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.batches: list[list[str]] = []
        self.connections: set[int] = set()
        self.begun = asyncio.Semaphore(0)

    async def __call__(self, connection: Connection, submissions: Sequence[Submission[str]]) -> None:
        self.batches.append([row for submission in submissions for row in submission.rows])
        self.connections.add(id(connection))
        self.begun.release()
        await self.gate.wait()


async def test_batches_of_several_shards_are_written_at_a_time(database: Database) -> None:
    """Each has rows of one shard, in the order of submission, and one at a time of a shard; mixed rows are alone."""
    commits, shards, tasks = _Commits(), _Shards(), TaskRegistry()
    writer = GroupCommitWriter("marks", database, commits, shards=shards)
    await writer.start(tasks)
    puts = [asyncio.create_task(writer.put([row])) for row in ("a1", "b1", "a2", "c1", "b2", "a3")]
    puts.append(asyncio.create_task(writer.put(["a4", "c2"])))
    for _ in range(4):
        await commits.begun.acquire()
    later = asyncio.create_task(writer.put(["a5"]))
    commits.gate.set()

    await asyncio.gather(*puts, later)
    await writer.close()
    await tasks.close()

    assert sorted(commits.batches[:4]) == [["a1", "a2", "a3"], ["a4", "c2"], ["b1", "b2"], ["c1"]]
    assert commits.batches[4:] == [["a5"]]
    assert len(commits.connections) >= 4
    assert shards.asked == [["a", "b", "c"]]
    assert (writer.stats.rows, writer.stats.batches, writer.stats.waiting) == (9, 5, 0)


@pytest.mark.parametrize("shards", [None, _Shards()], ids=["one server", "distributed"])
async def test_a_node_may_have_stored_what_the_coordinator_did_not_acknowledge(
    database_url: str, shards: _Shards | None
) -> None:
    """A statement that one server cancels has stored nothing; a node may have committed its part."""

    async def commit(connection: Connection, submissions: Sequence[Submission[str]]) -> None:
        submissions[0].commit_key = 1
        await connection.execute("SET statement_timeout = 1")
        await connection.fetchval("SELECT pg_sleep(3600)")

    database, tasks = Database(DatabaseSettings(url=database_url, patience=0.2), None), TaskRegistry()
    await database.open()
    writer = GroupCommitWriter("marks", database, commit, shards=shards)
    await writer.start(tasks)
    with structlog.testing.capture_logs(), pytest.raises(Unavailable) as refusal:
        await writer.put(["a1"])
    await writer.close()
    await tasks.close()
    await database.close()

    said = "it is not known whether this was stored" if shards is not None else "nothing was stored"
    assert f"canceling statement due to statement timeout); {said}" in str(refusal.value)


async def test_a_table_that_is_not_distributed_has_no_shards(database: Database) -> None:
    """Its rows go in one batch on one connection, as without Citus."""
    shards: RowShards[str] = RowShards("marks", lambda row: row)
    async with database.acquire() as connection:
        await shards.detect(connection)

    assert not shards.active
    assert shards.of(["x"]) is None


async def test_few_rows_are_inserted_and_many_are_copied(database: Database) -> None:
    """Both ways store the same rows, and none is no error."""
    async with database.acquire() as connection:
        for sharded, size in ((True, 0), (True, 3), (True, 65), (False, 2)):
            records = [(f"{sharded}-{size}-{number}", "m", "b") for number in range(size)]
            columns = ("name", "role", "digest")
            await connection.execute("CREATE TEMP TABLE IF NOT EXISTS inserted (name text, role text, digest text)")
            await insert_rows(connection, "inserted", columns, records, sharded=sharded)
        assert await connection.fetchval("SELECT count(*) FROM inserted") == 70
        await connection.execute("DROP TABLE inserted")


@pytest.mark.citus
async def test_the_server_tells_the_shards_of_keys(database: Database) -> None:
    """Rows of one session have one shard; those of many sessions have several."""
    shards: RowShards[str] = RowShards("test_metrics", lambda row: row)
    rows = [f"session-{number}" for number in range(40)]
    async with database.acquire() as connection:
        await shards.detect(connection)
        await shards.learn(connection, [rows])

    assert shards.active
    assert shards.of([rows[0], rows[0]]) == shards.of([rows[0]])
    assert len({shards.of([row]) for row in rows}) > 1
    assert shards.of(rows) == MIXED
