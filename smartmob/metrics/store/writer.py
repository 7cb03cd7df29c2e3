"""Writes the tables of the feature `metrics`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
from asyncpg.transaction import Transaction

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database, Record, away, is_away
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import MEASURES, ItemKey, MetricRow, item_id
from smartmob.metrics.store.reader import PACKAGE

_BLOCK_METRICS = 4096
_BLOCK_AGE = timedelta(minutes=10)
_BLOCK_EPOCH_MS = 1_577_836_800_000  # 2020-01-01
_BLOCK_RANDOM_BITS = 22
_REMEMBERED = 50_000
_EXPIRED_BLOCKS_AT_ONCE = 25
_ITEMS_AT_ONCE = 1_000
_ITEMS_OF_A_ROUND = 50_000
_RELIED_ON_SECONDS = 3600.0
_FIRST_ITEM = UUID(int=0)
UNASKED = timedelta(days=1)
"""For how long nobody has asked for a test that is removed: far longer than anybody relies on having asked."""

_COLUMNS = (
    *("block", "seq", "session_h", "context_h", "item_id", "item_start_time", "started_at"),
    *MEASURES,
)


class MetricsWriter:
    """Writes contexts, sessions, tests and metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)
        self._blocks = BlockAllocator()
        self._known = _Known(database, self._sql)
        self._connection: Connection | None = None
        self._open_block: int | None = None
        self._items_looked_at = _FIRST_ITEM

    async def insert_context(self, values: Sequence[object]) -> Record:
        """Store a context unless its hash is known, and return what is stored."""

        async def insert(connection: Connection) -> Record:
            await connection.execute(self._sql["insert_context"], *values)
            row = await connection.fetchrow(self._sql["select_contexts"] + " WHERE h = $1", values[0])
            assert row is not None
            return row

        return await self._database.run(insert)

    async def insert_session(self, values: Sequence[object]) -> tuple[Record, bool]:
        """Store a session unless its hash is known; return what is stored and whether it is new."""

        async def insert(connection: Connection) -> tuple[Record, bool]:
            status = await connection.execute(self._sql["insert_session"], *values)
            row = await connection.fetchrow(self._sql["select_sessions"] + " WHERE session_h = $1", values[0])
            assert row is not None
            return row, status.endswith(" 1")

        return await self._database.run(insert)

    async def delete_session(self, session_h: str) -> tuple[int, int]:
        """Remove a session and its metrics; return how many of each were there."""
        row = await self._database.fetchrow(self._sql["delete_session"], session_h)
        assert row is not None
        self._known.forget_session(session_h)
        return row["sessions"], row["metrics"]

    async def expire(self, before: datetime) -> tuple[int, int]:
        """Remove what arrived before a time, a little at a time; return how many sessions and metrics went."""
        oldest, metrics = first_block(before), 0
        while True:
            row = await self._database.fetchrow(self._sql["expire_blocks"], oldest, _EXPIRED_BLOCKS_AT_ONCE)
            assert row is not None
            metrics += row["metrics"]
            if not row["blocks"]:
                break
        sessions = int(await self._database.fetchval(self._sql["expire_sessions"], before))
        await self._database.run(lambda connection: connection.execute(self._sql["expire_links"]))
        self._known.forget()
        return sessions, metrics

    async def remove_unnamed_items(self, unasked: timedelta = UNASKED) -> int:
        """Remove tests that no metric names, of the next so many; return how many those were.

        None goes that a service may be about to name: that has asked for it a moment ago. A load can last for longer
        than that, so nothing is removed while there is one.
        """

        async def step(connection: Connection) -> Record | None:
            async with connection.transaction():
                if not await connection.fetchval(self._sql["may_remove_items"]):
                    return None
                query = self._sql["remove_unnamed_items"]
                return await connection.fetchrow(query, self._items_looked_at, _ITEMS_AT_ONCE, unasked)

        removed = 0
        for _ in range(0, _ITEMS_OF_A_ROUND, _ITEMS_AT_ONCE):
            row = await self._database.run(step)
            if row is None:
                break
            removed += row["items"]
            self._items_looked_at = row["last"] or _FIRST_ITEM
            if row["last"] is None:
                break
        if removed:
            self._known.forget()
        return removed

    async def commit(self, connection: Connection, submissions: Sequence[Submission[MetricRow]]) -> None:
        """Write the metrics of all submissions in one transaction; see `smartmob.kernel.db.writer.Commit`."""
        if connection is not self._connection:
            # A new connection may lead to a restored database, in which what was known is missing.
            self._known.forget()
            self._connection = connection
        rows = [row for submission in submissions for row in submission.rows]
        ids = await self._known.ensure(rows)
        again = submissions[0].commit_key is not None
        if not again:
            await self._place(connection, submissions, len(rows))
        block = submissions[0].commit_key[0]
        seqs = [seq for s in submissions for seq in range(s.commit_key[1], s.commit_key[1] + len(s.rows))]
        try:
            await connection.copy_records_to_table(
                "test_metrics", records=_records(block, seqs, ids, rows), columns=_COLUMNS
            )
        except asyncpg.UniqueViolationError:
            if not again:
                raise
            # The attempt before had been committed after all; only its answer was lost.

    async def _place(self, connection: Connection, submissions: Sequence[Submission[MetricRow]], rows: int) -> None:
        """Give the submissions their place; an old block is closed and a new one opened where that is due."""
        block, seq = self._blocks.take(rows, clock.now())
        if block != self._open_block:
            await connection.execute(self._sql["open_block"], block)
            before, self._open_block = self._open_block, block
            if before is not None:
                await self._close_block(connection, before)
        for submission in submissions:
            submission.commit_key = (block, seq)
            seq += len(submission.rows)

    async def _close_block(self, connection: Connection, block: int) -> None:
        async with connection.transaction():
            # Locked first and counted then, so that a session that is removed meanwhile is counted either way once.
            await connection.execute(self._sql["lock_block"], block)
            await connection.execute(self._sql["close_block"], block)

    async def close_abandoned_blocks(self, before: datetime) -> None:
        """Close the blocks that a service had opened before a time and did not come to close."""

        async def close(connection: Connection) -> None:
            for row in await connection.fetch(self._sql["abandoned_blocks"], first_block(before)):
                await self._close_block(connection, row["block"])

        await self._database.run(close)

    @asynccontextmanager
    async def bulk(self) -> AsyncIterator[BulkLoad]:
        """Write any number of metrics in one transaction: committed at the end, or not at all.

        Raises Unavailable when the database went away meanwhile; the metrics cannot be had a second time.
        """
        try:
            async with self._database.acquire() as connection:
                load = BulkLoad(connection, self._known, self._sql)
                transaction = connection.transaction()
                await transaction.start()
                try:
                    await connection.execute(self._sql["hold_items"])
                    yield load
                    await load.tally()
                except BaseException:
                    await _undo(connection, transaction)
                    raise
                await self._commit_bulk(transaction, load)
        except Exception as error:
            raise (away(error) if is_away(error) else error) from error
        # What arrives from now on has a later place than what the transaction brought.
        self._blocks.close()

    async def _commit_bulk(self, transaction: Transaction, load: BulkLoad) -> None:
        try:
            await transaction.commit()
        except Exception as error:
            # The answer to a commit can be lost on its way; the blocks tell whether it was done.
            if not is_away(error) or not await self._database.fetchval(self._sql["blocks_exist"], load.blocks):
                raise


async def _undo(connection: Connection, transaction: Transaction) -> None:
    try:
        await transaction.rollback()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        # The connection is in the middle of something, or lost and with the pool again: without it the transaction
        # ends as well.
        with suppress(asyncpg.InterfaceError):
            connection.terminate()


class BulkLoad:
    """One transaction of `MetricsWriter.bulk`."""

    def __init__(self, connection: Connection, known: _Known, sql: dict[str, str]) -> None:
        self._connection = connection
        self._known = known
        self._sql = sql
        self._blocks = BlockAllocator()
        self._tally: dict[int, int] = {}

    @property
    def blocks(self) -> list[int]:
        """Return the blocks that hold the metrics."""
        return list(self._tally)

    @property
    def metrics(self) -> int:
        """Return how many metrics were added."""
        return sum(self._tally.values())

    async def lock_session(self, session_h: str) -> int:
        """Wait for the other loads into a session; return how many metrics it has."""
        await self._connection.execute(self._sql["lock_session"], session_h)
        return int(await self._connection.fetchval(self._sql["count_session_metrics"], session_h))

    async def write(self, batches: AsyncIterator[Sequence[MetricRow]]) -> None:
        """Write all metrics by one COPY, so that the server stores a batch while the next one is made."""
        async with aclosing(self._records(batches)) as records:
            await self._connection.copy_records_to_table("test_metrics", records=records, columns=_COLUMNS)

    async def _records(self, batches: AsyncIterator[Sequence[MetricRow]]) -> AsyncGenerator[tuple[object, ...]]:
        async for rows in batches:
            if self._connection.is_closed():
                # The driver would take all that comes before it says so.
                raise ConnectionResetError
            ids = await self._known.ensure(rows)
            block, seq = self._blocks.take(len(rows), clock.now())
            self._tally[block] = self._tally.get(block, 0) + len(rows)
            for record in _records(block, range(seq, seq + len(rows)), ids, rows):
                yield record

    async def tally(self) -> None:
        """Write how many metrics the new blocks have."""
        for block, metrics in self._tally.items():
            await self._connection.execute(self._sql["add_closed_block"], block, metrics)


class _Known:
    """The tests and the links of sessions to contexts that are known to be stored.

    Unknown ones are stored on a connection of the pool, outside the transaction of the metrics that need them: should
    that fail, they are still there, and harmless. What is known is asked for anew each hour, so that it is not removed.
    """

    def __init__(self, database: Database, sql: dict[str, str]) -> None:
        self._database = database
        self._sql = sql
        self._items: dict[ItemKey, UUID] = {}
        self._links: set[tuple[str, str]] = set()
        self._since = clock.steady()

    def forget(self) -> None:
        """Take nothing for known."""
        self._items.clear()
        self._links.clear()
        self._since = clock.steady()

    def forget_session(self, session_h: str) -> None:
        """Take nothing of a session for known."""
        self._links = {link for link in self._links if link[0] != session_h}

    async def ensure(self, rows: Sequence[MetricRow]) -> list[UUID]:
        """Return the ids of the rows' tests once those and the links are stored."""
        too_many = len(self._items) > _REMEMBERED or len(self._links) > _REMEMBERED
        if too_many or clock.steady() - self._since > _RELIED_ON_SECONDS:
            self.forget()
        known = self._items
        new_items = {row.item: item_id(row.item) for row in rows if row.item not in known}
        new_links = {(row.session_h, row.context_h) for row in rows} - self._links
        # Before anything is waited for: another writer may `forget` meanwhile.
        ids = [known.get(row.item) or new_items[row.item] for row in rows]
        if new_items or new_links:
            async with self._database.acquire() as connection:
                # Sorted, so that two services that write the same ones wait for each other instead of deadlocking.
                if new_items:
                    found = sorted((ident, *key) for key, ident in new_items.items())
                    await connection.execute(self._sql["insert_items"], *map(list, zip(*found, strict=True)))
                if new_links:
                    pairs = zip(*sorted(new_links), strict=True)
                    await connection.execute(self._sql["insert_session_contexts"], *map(list, pairs))
            self._items |= new_items
            self._links |= new_links
        return ids


class BlockAllocator:
    """Gives metrics their place in the order of arrival.

    A block's number is the time at which it was opened, in ms, and random bits that keep two services apart.
    """

    def __init__(self) -> None:
        self.block = 0
        self._used = 0
        self._opened: datetime | None = None

    def take(self, rows: int, now: datetime) -> tuple[int, int]:
        """Return the block and the first number in it for the next `rows` metrics."""
        if self._opened is None or self._used >= _BLOCK_METRICS or now - self._opened > _BLOCK_AGE:
            fresh = first_block(now) | secrets.randbits(_BLOCK_RANDOM_BITS)
            # A clock that was set back must not turn the order of arrival round.
            self.block = max(fresh, self.block + 1)
            self._used = 0
            self._opened = now
        place = self.block, self._used
        self._used += rows
        return place

    def close(self) -> None:
        """Open a new block next time."""
        self._opened = None


def first_block(moment: datetime) -> int:
    """Return the number below which all blocks were opened before `moment`."""
    return (int(moment.timestamp() * 1000) - _BLOCK_EPOCH_MS) << _BLOCK_RANDOM_BITS


def _records(
    block: int, seqs: Iterable[int], ids: Iterable[UUID], rows: Iterable[MetricRow]
) -> list[tuple[object, ...]]:
    """Return the rows in the order of `_COLUMNS`."""
    moment = datetime.fromtimestamp
    return [
        (
            *(block, seq, row.session_h, row.context_h, ident, row.item_start_time, moment(row.started_at, UTC)),
            *(row.total_time, row.user_time, row.kernel_time, row.cpu_usage, row.mem_usage),
        )
        for seq, ident, row in zip(seqs, ids, rows, strict=True)
    ]
