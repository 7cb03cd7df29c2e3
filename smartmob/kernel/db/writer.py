"""Group commit: the rows of concurrent callers are written in one transaction, and acknowledged after its commit.

A batch begins when the last one has been committed, and contains everything that was submitted meanwhile; there is no
timer. So a single caller waits for one commit, and a thousand concurrent callers share one. A writer for whose commits
no caller waits can be given a delay, in which it gathers rows. While the database is not available, submissions wait
until their deadline and then fail. A submission that the database refuses for its content fails alone.

Rows of a distributed table are written in batches of one node each, or of one shard where the node is not connected,
several at a time: each commits on one node alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Generic, TypeVar

import asyncpg

from smartmob.errors import Unavailable
from smartmob.kernel.db.database import (
    Connection,
    Database,
    Record,
    is_unavailable,
    reason,
    refused_by_server,
    unavailable,
)
from smartmob.kernel.db.node_connections import ShardNode
from smartmob.kernel.db.shards import RowShards
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.row_writer import WriterStats
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

R = TypeVar("R")

_FIRST_DELAY_SECONDS = 0.02  # before a retry; doubled each time
_LONGEST_DELAY_SECONDS = 0.5
_LANES = 8
"""Batches of a distributed table that are written at a time, each on a connection of its own."""
_SHORTEST_ATTEMPT_SECONDS = 1.0  # an attempt gets at least this time, however short the patience is


class Submission(Generic[R]):
    """Rows of one caller that are committed together; in a distributed table, `shard` is where they belong.

    `commit_key` belongs to the commit function. It stores there the keys that it chose at the first attempt, and finds
    them at the next. `uncertain` is whether the rows may be stored, because an attempt ended without an answer of the
    server. `deadline` is a time of the event loop.
    """

    __slots__ = ("commit_key", "deadline", "done", "rows", "shard", "uncertain")

    def __init__(self, rows: Sequence[R], done: asyncio.Future[None] | _Callback, deadline: float) -> None:
        self.rows = rows
        self.done = done
        self.deadline = deadline
        self.commit_key: Any = None
        self.uncertain = False
        self.shard: Hashable = None


class _Callback:
    """Calls a function with the outcome at once, where a future would wake a task first. It looks like a future."""

    __slots__ = ("_call", "_called")

    def __init__(self, call: Callable[[Exception | None], None]) -> None:
        self._call = call
        self._called = False

    def done(self) -> bool:
        return self._called

    def set_result(self, _: None) -> None:
        self._called = True
        self._call(None)

    def set_exception(self, error: Exception) -> None:
        self._called = True
        self._call(error)


Commit = Callable[[Connection, Sequence[Submission[R]]], Awaitable[None]]
"""Commits the rows of all submissions or of none.

It is called again when an attempt has failed or its outcome is unknown, with the same submissions except those whose
deadline has passed. It must not store twice what was stored already.
"""


class GroupCommitWriter(Generic[R]):
    """Writes the rows of many callers in shared transactions, on a connection of its own; with `shards` on several.

    Call `start` after the database was opened, and `close`, which commits what is waiting, before it is closed.
    `committed` is called after each commit with its number of rows. `max_batch` and `max_waiting` are numbers of rows.
    `delay` are the seconds from the first rows of a batch to its commit; with it, the writer has no own connection.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        commit: Commit[R],
        *,
        committed: Callable[[int], None] = lambda _: None,
        max_batch: int = 10_000,
        max_waiting: int = 100_000,
        delay: float = 0.0,
        shards: RowShards[R] | None = None,
    ) -> None:
        self.name = name
        self.stats = WriterStats()
        self._database = database
        self._commit = commit
        self._committed = committed
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._delay = delay
        self._queue: deque[Submission[R]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._space_freed = asyncio.Event()
        self._closing = False
        self._closed = asyncio.Event()
        self._shards = shards
        self._busy: set[Hashable] = set()
        self._lanes: list[asyncio.Task[None]] = []
        self._add_lane: Callable[[], None] = lambda: None
        self._tasks: TaskRegistry | None = None
        self._connections: dict[int, asyncpg.Connection[Record]] = {}

    @property
    def _connection(self) -> asyncpg.Connection[Record] | None:
        return self._connections.get(0)

    async def start(self, tasks: TaskRegistry) -> None:
        """Start to write. The connection is opened with the first rows, so that an idle feature needs none."""

        def add() -> None:
            lane = len(self._lanes)
            name = f"writer-{self.name}-{lane}" if lane else f"writer-{self.name}"
            self._lanes.append(tasks.supervise(name, partial(self._write_until_closed, lane)))

        self._add_lane = add
        self._tasks = tasks
        add()

    async def close(self) -> None:
        """Accept no more rows, commit or refuse what is waiting, and stop."""
        self._closing = True
        self._closed.set()
        self._wake_all()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        for connection in self._connections.values():
            await connection.close()
        if self._shards is not None and self._shards.nodes is not None:
            await self._shards.nodes.close()

    async def put(self, rows: Sequence[R]) -> None:
        """Write `rows` in one transaction, and return after its commit.

        Raises Unavailable when the database was not available for too long, or too many rows are waiting.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._database.patience
        if self.full and not self._closing:
            await self._wait_for_space(deadline)
        done = loop.create_future()
        self._enqueue(rows, done, deadline)
        await done

    def submit(self, rows: Sequence[R], callback: Callable[[Exception | None], None]) -> None:
        """Write `rows` like `put`, but return at once. Check `full` first; this method never blocks.

        `callback` is called once, with None after the commit or with the error; it must not raise. Raises Unavailable
        when the service is stopping.
        """
        self._enqueue(rows, _Callback(callback), asyncio.get_running_loop().time() + self._database.patience)

    @property
    def full(self) -> bool:
        """Return whether so many rows are waiting that further callers must wait, too."""
        return self.stats.waiting >= self._max_waiting

    def _enqueue(self, rows: Sequence[R], done: asyncio.Future[None] | _Callback, deadline: float) -> None:
        if self._closing:
            raise Unavailable("the service is stopping; nothing was stored")
        submission = Submission(rows, done, deadline)
        busy = False
        if self._shards is not None and self._shards.active:
            submission.shard = self._shards.of(rows)
            busy = submission.shard is not None and self._shards.destination_of(submission.shard) in self._busy
        self._queue.append(submission)
        self.stats.waiting += len(rows)
        if not busy:
            # Otherwise the lane that writes to its destination takes it next.
            self._wake()

    def _wake(self) -> None:
        """Wake a lane that waits for submissions, if there is one."""
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._idle:
            self._wake()

    async def _wait_for_submissions(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        await waiter

    async def _wait_for_space(self, deadline: float) -> None:
        while self.full:
            self._space_freed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._space_freed.wait()
            except TimeoutError:
                self.stats.refused += 1
                raise Unavailable("too many writes are waiting; nothing was stored. Try again in a moment.") from None

    async def _write_until_closed(self, lane: int) -> None:
        while True:
            if self._delay and self._queue:
                await self._gather_rows()
            batch = self._next_batch()
            if not batch:
                if self._closing and not self._queue:
                    return
                await self._wait_for_submissions()
                continue
            if batch[0].shard is None and await self._find_shards(lane, batch):
                continue
            destination = self._destination_of(batch[0].shard)
            self._busy.add(destination)
            if self._queue:
                # Another lane may write them to another destination meanwhile.
                self._wake()
            try:
                await self._store(batch, lane, destination)
            finally:
                self._busy.discard(destination)
                # After an unexpected exception, too, no caller may wait for an answer that never comes.
                rows = 0
                for submission in batch:
                    rows += len(submission.rows)
                    if not submission.done.done():
                        submission.done.set_exception(
                            Unavailable("the writer failed; it is not known whether this was stored")
                        )
                self.stats.waiting -= rows
                self._space_freed.set()
                if self._closing:
                    self._wake_all()

    async def _gather_rows(self) -> None:
        """Wait until the delay is over, or the writer is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._delay):
                await self._closed.wait()

    async def _find_shards(self, lane: int, batch: list[Submission[R]]) -> bool:
        """Put a batch back with the shard of each submission; return False where there are none, or on an error."""
        if self._shards is None:
            return False
        try:
            connection = await self._connected(lane)
            if not self._shards.active:
                return False
            await self._shards.learn(connection, [submission.rows for submission in batch])
        except Exception:
            # To store the batch as it is tells the callers the same, with retries.
            await self._disconnect(lane)
            return False
        for submission in batch:
            submission.shard = self._shards.of(submission.rows)
        if any(submission.shard is None for submission in batch):
            return False
        self._queue.extendleft(reversed(batch))
        while len(self._lanes) < _LANES:
            self._add_lane()
        return True

    def _destination_of(self, shard: Hashable) -> Hashable:
        """Return where a batch with this shard is written, and begin to connect to nodes if it is time."""
        if shard is None or self._shards is None:
            return shard
        if self._shards.nodes is not None and self._tasks is not None:
            self._shards.nodes.refresh(self._tasks, f"writer-{self.name}-nodes")
        return self._shards.destination_of(shard)

    def _next_batch(self) -> list[Submission[R]]:
        """Return the oldest submissions, with at most `max_batch` rows unless the first one has more.

        Those of a distributed table belong to one node or shard, to which no other batch is being written.
        """
        if self._shards is not None and self._shards.active:
            return self._next_of_shard()
        batch: list[Submission[R]] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].rows) <= self._max_batch):
            submission = self._queue.popleft()
            batch.append(submission)
            rows += len(submission.rows)
        return batch

    def _next_of_shard(self) -> list[Submission[R]]:
        """Return the oldest submissions of one destination; those of an unknown shard come first, and alone."""
        assert self._shards is not None
        batch: list[Submission[R]] = []
        left: deque[Submission[R]] = deque()
        rows, wanted = 0, None
        for submission in self._queue:
            destination = self._shards.destination_of(submission.shard)
            fits = not batch or (destination == wanted and rows + len(submission.rows) <= self._max_batch)
            if fits and (destination is None or destination not in self._busy):
                wanted = destination
                batch.append(submission)
                rows += len(submission.rows)
            else:
                left.append(submission)
        self._queue = left
        return batch

    async def _store(self, batch: list[Submission[R]], lane: int, destination: Hashable) -> None:
        """Commit `batch`, with retries until it is committed or the deadline of each submission has passed.

        After an error of its node, the coordinator stores it.
        """
        delay = _FIRST_DELAY_SECONDS
        longest = max(self._database.patience, _SHORTEST_ATTEMPT_SECONDS)
        while waiting := [submission for submission in batch if not submission.done.done()]:
            begun = False
            try:
                async with asyncio.timeout(longest), self._usable(lane, destination) as connection:
                    begun = True
                    await self._commit(connection, waiting)
            except Exception as error:
                await self._disconnect(lane, destination)
                # Without the node the waiting submissions have other destinations.
                self._wake()
                if is_unavailable(error):
                    if begun and (self._distributed or not refused_by_server(error)):
                        for submission in waiting:
                            submission.uncertain = True
                    self._refuse_late(waiting, error, delay)
                    self.stats.retries += 1
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
                elif len(waiting) > 1:
                    # The database refuses the content of one of them: find it by writing each alone.
                    for submission in waiting:
                        await self._store([submission], lane, destination)
                else:
                    _fail(waiting[0], error)
            else:
                rows = 0
                for submission in waiting:
                    rows += len(submission.rows)
                    if not submission.done.done():
                        submission.done.set_result(None)
                self.stats.batches += 1
                self.stats.rows += rows
                self._committed(rows)
                return

    def _refuse_late(self, waiting: Sequence[Submission[R]], error: Exception, delay: float) -> None:
        """Refuse the submissions whose deadline passes within the next `delay` seconds."""
        horizon = asyncio.get_running_loop().time() + delay
        late = [submission for submission in (*waiting, *self._queue) if submission.deadline <= horizon]
        log.warning("writer.waiting", writer=self.name, reason=reason(error), waiting=self.stats.waiting)
        for submission in late:
            self.stats.refused += 1
            _fail(submission, unavailable(error, uncertain=submission.uncertain))

    @property
    def _distributed(self) -> bool:
        """Return whether a node may have committed an attempt that ended with an error of the coordinator."""
        return self._shards is not None and self._shards.active

    @asynccontextmanager
    async def _usable(self, lane: int, destination: Hashable) -> AsyncIterator[Connection]:
        """Give the connection to a destination, or one of the pool.

        The pool is used if the server allows no further connection, and by a writer with a delay: it commits rarely.
        """
        connection = self._connection_to(destination)
        if connection is None and not self._delay:
            with suppress(asyncpg.TooManyConnectionsError):
                connection = await self._connected(lane)
        if connection is not None:
            yield connection
            return
        async with self._database.acquire() as shared:
            yield shared

    async def _connected(self, lane: int) -> asyncpg.Connection[Record]:
        connection = self._connections.get(lane)
        if connection is None or connection.is_closed():
            connection = self._connections[lane] = await self._database.connect()
            if self._shards is not None:
                await self._shards.detect(connection)
        return connection

    def _connection_to(self, destination: Hashable) -> Connection | None:
        """Return the connection to a node, or None if the destination is no node or not connected."""
        nodes = None if self._shards is None else self._shards.nodes
        return nodes.connection(destination) if nodes is not None and isinstance(destination, ShardNode) else None

    async def _disconnect(self, lane: int, destination: Hashable = None) -> None:
        if self._connection_to(destination) is not None and isinstance(destination, ShardNode):
            assert self._shards is not None and self._shards.nodes is not None
            self._shards.nodes.disconnect(destination)
            return
        connection = self._connections.pop(lane, None)
        if connection is not None:
            connection.terminate()


def _fail(submission: Submission[Any], error: Exception) -> None:
    if not submission.done.done():
        submission.done.set_exception(error)
