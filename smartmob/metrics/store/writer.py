"""Writes the tables of the feature `metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from uuid import UUID

import asyncpg
import orjson
from asyncpg.transaction import Transaction

from smartmob.kernel.db import queries
from smartmob.kernel.db.connection_loss import ended_with
from smartmob.kernel.db.database import (
    READ_COMMITTED,
    Connection,
    Database,
    Record,
    is_duplicate,
    is_unavailable,
    unavailable,
)
from smartmob.kernel.db.node_connections import NodeConnections
from smartmob.kernel.db.seen_connections import SeenConnections
from smartmob.kernel.db.shards import RowShards
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import MEASURES, ItemKey, MetricRow, item_id
from smartmob.metrics.store.block_allocator import BlockAllocator, BlockNumbers, first_block
from smartmob.metrics.store.reader import PACKAGE, tags_from

_MAX_KNOWN_ROWS = 50_000  # tests or links that are remembered as stored
_KNOWN_SECONDS = 3600.0  # the time after which they are stored again, so that they are not removed as unused
_EXPIRED_BLOCKS_AT_ONCE = 25  # blocks in one statement, with about 100,000 metrics
_FEW_LINKS = 16
"""Up to this many links are stored one by one in a distributed table: one node commits each, but all nodes a batch."""
_ITEMS_AT_ONCE = 1_000  # tests that one statement checks
_ITEMS_PER_ROUND = 50_000  # tests that are checked every hour
_FIRST_ITEM = UUID(int=0)
UNUSED_AFTER = timedelta(days=1)
"""Time since a test was last stored, after which it may be removed: far longer than `_KNOWN_SECONDS` of any service."""

_COLUMNS = ("block", "seq", "session_h", "context_h", "item_id", "item_start_time", "started_at", *MEASURES)


class MetricsWriter:
    """Writes contexts, sessions, tests and metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)
        self._block_numbers = BlockNumbers()
        self._blocks = BlockAllocator(self._block_numbers)
        nodes = NodeConnections(database, "test_metrics")
        self.shards: RowShards[MetricRow] = RowShards("test_metrics", lambda row: row.session_h, nodes)
        self._known = _KnownRows(database, self._sql, self.shards)
        self._connections = SeenConnections()
        self._open_blocks: dict[int, int] = {}  # the number of submissions of each that are not stored yet
        self._opened, self._last_checked_item = set[int](), _FIRST_ITEM

    @cached_property
    def _bulk_loads(self) -> asyncio.Semaphore:
        """Let loads take all connections but one, which a load with a new test needs for a moment."""
        return asyncio.Semaphore(max(1, self._database.pool_size - 1))  # known once the database is open

    async def insert_context(self, values: Sequence[object]) -> Record:
        """Store a context unless its hash is stored already; return the stored row."""

        async def insert(connection: Connection) -> Record:
            await connection.execute(self._sql["insert_context"], *values)
            row = await connection.fetchrow(self._sql["select_contexts"] + " WHERE h = $1", values[0])
            assert row is not None
            return row

        return await self._database.run(insert)

    async def insert_session(
        self,
        values: Sequence[object],
        *,
        stated_at: datetime | None = None,
        sender: str | None = None,
        host: str | None = None,
    ) -> tuple[Record, bool]:
        """Store a session unless its hash is stored already; return the stored row and whether it is new.

        `stated_at` is the time that its sender stated, if that is not plausible. `sender` is the address from which it
        came, and `host` the machine with this address.
        """

        async def insert(connection: Connection) -> tuple[Record, bool]:
            status = await connection.execute(self._sql["insert_session"], *values, stated_at, sender, host)
            row = await connection.fetchrow(self._sql["select_sessions"] + " WHERE session_h = $1", values[0])
            assert row is not None
            return row, status.endswith(" 1")

        return await self._database.run(insert)

    async def change_session(
        self, session_h: str, change: Callable[[str, dict[str, str]], tuple[str, dict[str, str], str | None, str]]
    ) -> Record | None:
        """Change a session and return its row, or None if it is not stored.

        `change` gets the commit and the tags, and returns the new ones, the tag of the run and the key of the run.
        """

        async def replace(connection: Connection) -> Record | None:
            async with connection.transaction():
                stored = await connection.fetchrow(self._sql["lock_stored_session"], session_h)
                if stored is None:
                    return None
                scm_ref, tags, run_tag, run_key = change(stored["scm_ref"], tags_from(stored))
                values = (session_h, scm_ref, orjson.dumps(tags).decode(), run_tag, run_key)
                return await connection.fetchrow(self._sql["change_session"], *values)

        return await self._database.run(replace)

    async def delete_session(self, session_h: str) -> tuple[int, int]:
        """Delete a session and its metrics; return the number of each."""

        async def delete(connection: Connection) -> tuple[int, int]:
            async with connection.transaction():
                gone = await connection.fetch(self._sql["delete_metrics"], session_h)
                blocks, counts = [row["block"] for row in gone], [row["metrics"] for row in gone]
                await connection.execute(self._sql["subtract_metrics"], blocks, counts)
                await connection.execute(self._sql["delete_links"], session_h)
                return _affected(await connection.execute(self._sql["delete_session"], session_h)), sum(counts)

        counts = await self._database.run(delete)
        self._known.forget_session(session_h)
        return counts

    def forget_session(self, session_h: str) -> None:
        """Forget the known links of a session that another process of the service has deleted."""
        self._known.forget_session(session_h)

    async def expire(self, before: datetime) -> tuple[int, int]:
        """Delete the sessions and metrics that arrived before a time, in small steps; return their numbers."""
        oldest, metrics = first_block(before), 0

        async def step(connection: Connection) -> tuple[int, int]:
            async with connection.transaction():
                rows = await connection.fetch(self._sql["old_blocks"], oldest, _EXPIRED_BLOCKS_AT_ONCE)
                blocks = [row["block"] for row in rows]
                gone = _affected(await connection.execute(self._sql["expire_metrics"], blocks)) if blocks else 0
                return gone, _affected(await connection.execute(self._sql["expire_blocks"], blocks))

        while True:
            gone, blocks = await self._database.run(step)
            metrics += gone
            if not blocks:
                break
        sessions = _affected(
            await self._database.run(lambda connection: connection.execute(self._sql["expire_sessions"], before))
        )
        await self._database.run(lambda connection: connection.execute(self._sql["expire_links"]))
        self._known.forget()
        return sessions, metrics

    async def remove_unused_items(self, unused: timedelta = UNUSED_AFTER) -> int:
        """Check the next tests, and delete those that no metric refers to; return how many were deleted.

        A test that was stored less than `unused` ago is kept, because a service may be about to store its metrics. A
        bulk load can last longer than that, so nothing is deleted during one.
        """
        removed = 0
        for _ in range(0, _ITEMS_PER_ROUND, _ITEMS_AT_ONCE):
            rows = await self._database.fetch(self._sql["next_items"], self._last_checked_item, _ITEMS_AT_ONCE, unused)
            old = [row["item_id"] for row in rows if row["old"]]
            without = await self._database.run(partial(self._without_metrics, items=old))
            gone = await self._database.run(partial(self._remove_items, items=without, unused=unused))
            if gone is None:
                break
            removed += gone
            self._last_checked_item = rows[-1]["item_id"] if rows else _FIRST_ITEM
            if not rows:
                break
        if removed:
            self._known.forget()
        return removed

    async def _without_metrics(self, connection: Connection, items: Iterable[UUID]) -> list[UUID]:
        """Return those of some tests that no metric refers to."""
        return [item for item in items if await connection.fetchrow(self._sql["metric_of_item"], item) is None]

    async def _remove_items(self, connection: Connection, items: Sequence[UUID], unused: timedelta) -> int | None:
        """Delete those of some tests that are still unused; return their number, or None during a bulk load."""
        if not items:
            return 0
        async with connection.transaction():
            if not await connection.fetchval(self._sql["try_lock_items"]):
                return None
            still = await self._without_metrics(connection, items)
            return _affected(await connection.execute(self._sql["remove_items"], still, unused))

    async def commit(self, connection: Connection, submissions: Sequence[Submission[MetricRow]]) -> None:
        """Write the metrics of all submissions in one transaction; see `smartmob.kernel.db.writer.Commit`."""
        if self._connections.add(connection):
            # A new connection may lead to a restored database, in which known rows are missing.
            self._known.forget()
        rows = [row for submission in submissions for row in submission.rows]
        ids = await self._known.ensure(rows)
        again = submissions[0].commit_key is not None
        if not again:
            await self._assign_positions(connection, submissions, len(rows))
        block, first = submissions[0].commit_key
        seqs: Sequence[int] = range(first, first + len(rows))
        if again:  # submissions between them may have been refused since
            seqs = [seq for s in submissions for seq in range(s.commit_key[1], s.commit_key[1] + len(s.rows))]
        records = _records(block, seqs, ids, rows)
        try:
            if len(records) == 1 and not again:
                # A prepared INSERT waits for the server once, a COPY twice.
                await connection.execute(self._sql["insert_metric"], *records[0])
            else:
                separate = len(submissions) == len(records)
                await self.shards.insert(connection, _COLUMNS, records, separate=separate, again=again)
        except asyncpg.PostgresError as error:
            if not again or not is_duplicate(error):
                raise
            # The attempt before was committed after all; only its answer was lost.
        self._open_blocks[block] = self._open_blocks.get(block, 0) - len(submissions)
        await self._close_full_blocks(connection)

    async def _assign_positions(
        self, connection: Connection, submissions: Sequence[Submission[MetricRow]], rows: int
    ) -> None:
        """Set the positions of the submissions; open a new block if it is time."""
        block, seq = self._blocks.take(rows, clock.now())
        self._open_blocks[block] = self._open_blocks.get(block, 0) + len(submissions)
        if block not in self._opened:
            try:
                await self.shards.on_coordinator(connection, partial(self._open_block, block=block))
            except BaseException:
                self._open_blocks[block] -= len(submissions)
                raise
            self._opened.add(block)
        for submission in submissions:
            submission.commit_key = (block, seq)
            seq += len(submission.rows)

    async def _close_full_blocks(self, connection: Connection) -> None:
        """Close the blocks before the present one to which nothing is written any more.

        One with a refused submission stays open: it is closed like those of a service that crashed.
        """
        for block in [each for each, left in self._open_blocks.items() if each != self._blocks.block and left <= 0]:
            await self.shards.on_coordinator(connection, partial(self._close_block, block=block))
            self._open_blocks.pop(block, None)
            self._opened.discard(block)

    async def _open_block(self, connection: Connection, block: int) -> None:
        await connection.execute(self._sql["open_block"], block)

    async def _close_block(self, connection: Connection, block: int) -> None:
        async with connection.transaction():
            # Lock before counting, so that a session that is deleted meanwhile is subtracted exactly once.
            await connection.execute(self._sql["lock_block"], block)
            metrics = await connection.fetchval(self._sql["count_block"], block)
            await connection.execute(self._sql["close_block"], block, metrics)

    async def close_abandoned_blocks(self, before: datetime) -> None:
        """Close the blocks that a service opened before a time and left open when it crashed."""

        async def close(connection: Connection) -> None:
            for row in await connection.fetch(self._sql["abandoned_blocks"], first_block(before)):
                await self._close_block(connection, row["block"])

        await self._database.run(close)

    @asynccontextmanager
    async def bulk(self) -> AsyncIterator[BulkLoad]:
        """Write any number of metrics in one transaction, which is committed at the end of the block or not at all.

        Raises Unavailable if the connection is lost, or if other loads take too long. The load is not repeated, since
        the metrics come from a stream.
        """
        try:
            async with self._bulk_load(), self._database.acquire() as connection:
                load = BulkLoad(connection, self._known, self._block_numbers, self._sql)
                transaction = connection.transaction(isolation=READ_COMMITTED)
                await transaction.start()
                try:
                    await connection.execute(self._sql["lock_items_shared"])
                    yield load
                    await load.tally()
                except BaseException:
                    await _roll_back(connection, transaction)
                    raise
                await self._commit_bulk(transaction, load)
        except Exception as error:
            raise (unavailable(error) if is_unavailable(error) else error) from error
        # Metrics that arrive from now on get a later position than those of the transaction.
        self._blocks.close()

    @asynccontextmanager
    async def _bulk_load(self) -> AsyncIterator[None]:
        """Wait until another load may begin, and count it until the end of the block."""
        async with asyncio.timeout(self._database.patience):
            await self._bulk_loads.acquire()
        try:
            yield
        finally:
            self._bulk_loads.release()

    async def _commit_bulk(self, transaction: Transaction, load: BulkLoad) -> None:
        try:
            await transaction.commit()
        except Exception as error:
            # The answer to a commit can be lost; the blocks show whether it was done.
            if not is_unavailable(error) or not await self._database.fetchval(self._sql["blocks_exist"], load.blocks):
                raise


async def _roll_back(connection: Connection, transaction: Transaction) -> None:
    """Roll a transaction back, or close its connection if that fails."""
    try:
        await transaction.rollback()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        # The connection is busy, or lost and back in the pool. Closing it ends the transaction as well.
        with suppress(asyncpg.InterfaceError):
            connection.terminate()


class BulkLoad:
    """One transaction of `MetricsWriter.bulk`."""

    def __init__(
        self, connection: Connection, known: _KnownRows, block_numbers: BlockNumbers, sql: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._known = known
        self._sql = sql
        self._blocks = BlockAllocator(block_numbers)
        self._tally: dict[int, int] = {}

    @property
    def blocks(self) -> list[int]:
        """Return the blocks that contain the metrics."""
        return list(self._tally)

    @property
    def metrics(self) -> int:
        """Return the number of metrics that were written."""
        return sum(self._tally.values())

    async def lock_session(self, session_h: str) -> int:
        """Wait until no other load writes to a session; return the number of its metrics."""
        await self._connection.execute(self._sql["lock_session"], session_h)
        return int(await self._connection.fetchval(self._sql["count_session_metrics"], session_h))

    async def write(self, batches: AsyncIterator[Sequence[MetricRow]]) -> None:
        """Write all metrics by one COPY, so that the database stores a batch while the next one is decoded."""
        async with aclosing(self._records(batches)) as records, ended_with(self._connection):
            await self._connection.copy_records_to_table("test_metrics", records=records, columns=_COLUMNS)

    async def _records(self, batches: AsyncIterator[Sequence[MetricRow]]) -> AsyncGenerator[tuple[object, ...]]:
        async for rows in batches:
            if self._connection.is_closed():
                # The driver would read the whole stream before it raises this.
                raise ConnectionResetError
            ids = await self._known.ensure(rows)
            block, seq = self._blocks.take(len(rows), clock.now())
            self._tally[block] = self._tally.get(block, 0) + len(rows)
            for record in _records(block, range(seq, seq + len(rows)), ids, rows):
                yield record

    async def tally(self) -> None:
        """Store the number of metrics of each new block."""
        for block, metrics in self._tally.items():
            await self._connection.execute(self._sql["add_closed_block"], block, metrics)


class _KnownRows:
    """The tests, and the links of sessions to contexts, that are known to be stored.

    Unknown ones are stored on another connection, outside the transaction of the metrics that refer to them. If that
    transaction fails, they remain, which is harmless. Known rows are stored again every hour, so that they do not count
    as unused.
    """

    def __init__(self, database: Database, sql: Mapping[str, str], shards: RowShards[MetricRow]) -> None:
        self._database = database
        self._sql = sql
        self._shards = shards
        self._storing = asyncio.Lock()
        self._items: dict[ItemKey, UUID] = {}
        self._links: set[tuple[str, str]] = set()
        self._since = clock.steady()

    def forget(self) -> None:
        """Forget all known rows."""
        self._items.clear()
        self._links.clear()
        self._since = clock.steady()

    def forget_session(self, session_h: str) -> None:
        """Forget the known links of a session."""
        self._links = {link for link in self._links if link[0] != session_h}

    async def ensure(self, rows: Sequence[MetricRow]) -> list[UUID]:
        """Store the unknown tests and links of some metrics; return the ids of their tests."""
        too_many = len(self._items) > _MAX_KNOWN_ROWS or len(self._links) > _MAX_KNOWN_ROWS
        if too_many or clock.steady() - self._since > _KNOWN_SECONDS:
            self.forget()
        # Computed before the first await, since another writer may call `forget` meanwhile.
        found = [self._items.get(row.item) for row in rows]
        new_items: dict[ItemKey, UUID] = {}
        if not all(found):
            new_items = {row.item: item_id(row.item) for row, ident in zip(rows, found, strict=True) if ident is None}
        ids = [ident or new_items[row.item] for ident, row in zip(found, rows, strict=True)]
        new_links = {(row.session_h, row.context_h) for row in rows} - self._links
        if self._shards.active and (new_items or new_links):
            # Batches of several shards are written at the same time: one of them also stores the rows that others lack.
            async with self._storing:
                new_items = {key: ident for key, ident in new_items.items() if key not in self._items}
                new_links -= self._links
                await self._store(new_items, new_links)
        else:
            await self._store(new_items, new_links)
        return ids

    async def _store(self, new_items: Mapping[ItemKey, UUID], new_links: Set[tuple[str, str]]) -> None:
        if not new_items and not new_links:
            return
        async with self._database.acquire() as connection:
            # Sorted, so that two services that write the same rows wait for each other and do not deadlock.
            items = sorted((ident, *key) for key, ident in new_items.items())
            if self._shards.active and items:
                # All nodes take part in a change of a reference table, but the coordinator alone reads it.
                rows = await connection.fetch(self._sql["recent_items"], [item[0] for item in items])
                recent = {row["item_id"] for row in rows}
                items = [item for item in items if item[0] not in recent]
            if items:
                await connection.execute(self._sql["insert_items"], *map(list, zip(*items, strict=True)))
            if self._shards.active and len(new_links) <= _FEW_LINKS:
                for link in sorted(new_links):
                    await connection.execute(self._sql["insert_session_context"], *link)
            elif new_links:
                pairs = zip(*sorted(new_links), strict=True)
                await connection.execute(self._sql["insert_session_contexts"], *map(list, pairs))
        self._items |= new_items
        self._links |= new_links


def _affected(status: str) -> int:
    """Return the number of rows in the status of a command, such as `DELETE 3`."""
    return int(status.rpartition(" ")[2])


def _records(
    block: int, seqs: Iterable[int], ids: Iterable[UUID], rows: Iterable[MetricRow]
) -> list[tuple[object, ...]]:
    """Return the values of some rows in the order of `_COLUMNS`."""
    from_timestamp = datetime.fromtimestamp
    return [
        (
            block,
            seq,
            row.session_h,
            row.context_h,
            ident,
            row.item_start_time,
            from_timestamp(row.started_at, UTC),
            row.total_time,
            row.user_time,
            row.kernel_time,
            row.cpu_usage,
            row.mem_usage,
        )
        for seq, ident, row in zip(seqs, ids, rows, strict=True)
    ]
