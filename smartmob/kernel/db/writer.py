"""Group commit: concurrent writers wait for a shared batch and are told only after it has been committed.

A batch begins as soon as the last one has been committed, with all that has come meanwhile; there is no timer. So a
lone writer waits for one commit, and a thousand writers share one. What cannot be committed because the database is
away waits until its time is up and is then refused; what the database refuses for its content fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import asyncpg
import structlog

from smartmob.errors import Unavailable
from smartmob.kernel.db.database import Connection, Database, Record, away, is_away, reason
from smartmob.kernel.runtime.tasks import TaskRegistry

log = structlog.get_logger()

R = TypeVar("R")

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 0.5
_SHORTEST_ATTEMPT = 1.0


class Submission(Generic[R]):
    """Rows that one caller wants to have committed together.

    `mark` belongs to the function that commits: what it keeps there at the first attempt (the keys that it chose) is
    what it finds at the next. It is `uncertain` whether the rows are stored once an attempt ended without a word of
    the server.
    """

    __slots__ = ("commit_key", "deadline", "done", "rows", "uncertain")

    def __init__(self, rows: Sequence[R], done: asyncio.Future[None] | _Callback, deadline: float) -> None:
        self.rows = rows
        self.done = done
        self.deadline = deadline
        self.commit_key: Any = None
        self.uncertain = False


class _Callback:
    """What tells a function of the outcome, where a future would have to wake a task first."""

    __slots__ = ("_tell", "_told")

    def __init__(self, tell: Callable[[Exception | None], None]) -> None:
        self._tell = tell
        self._told = False

    def done(self) -> bool:
        return self._told

    def set_result(self, _: None) -> None:
        self._told = True
        self._tell(None)

    def set_exception(self, error: Exception) -> None:
        self._told = True
        self._tell(error)


Commit = Callable[[Connection, Sequence[Submission[R]]], Awaitable[None]]
"""Commits the rows of all submissions or of none.

It is called again with the same submissions (or fewer: those whose time is up are gone) when the outcome of an
attempt is not known, and must then not store twice what was stored.
"""


@dataclass(slots=True)
class WriterStats:
    """What a writer has done since the start."""

    rows: int = 0
    batches: int = 0
    retries: int = 0
    refused: int = 0
    waiting: int = field(default=0)


class GroupCommitWriter(Generic[R]):
    """Writes the rows of many callers in shared transactions, over a connection of its own.

    `start` it once the database is open, and `close` it before the database is closed; `close` commits what waits.
    `committed` is told after each commit how many rows it had.
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
    ) -> None:
        self.name = name
        self.stats = WriterStats()
        self._database = database
        self._commit = commit
        self._committed = committed
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._queue: deque[Submission[R]] = deque()
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection[Record] | None = None

    async def start(self, tasks: TaskRegistry) -> None:
        """Begin to write. The connection is made with the first rows, so that an idle room costs the database none."""
        self._task = tasks.supervise(f"writer-{self.name}", self._write_until_closed)

    async def close(self) -> None:
        """Take nothing more, commit or refuse what waits, and end."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()

    async def put(self, rows: Sequence[R]) -> None:
        """Return when `rows` have been committed, all of them in one transaction.

        Raises Unavailable when they are not stored: the database was away for too long, or too much is waiting.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._database.patience
        if self.full and not self._closing:
            await self._wait_for_room(deadline)
        done = loop.create_future()
        self._enqueue(rows, done, deadline)
        await done

    def submit(self, rows: Sequence[R], tell: Callable[[Exception | None], None]) -> None:
        """Do what `put` does without waiting: `tell` is called once, with None after the commit or with the error.

        `tell` must raise nothing. Raises Unavailable when the service is stopping. For who is not `full`: nobody waits
        here for room.
        """
        self._enqueue(rows, _Callback(tell), asyncio.get_running_loop().time() + self._database.patience)

    @property
    def full(self) -> bool:
        """Return whether so much is waiting that who has more must wait, too."""
        return self.stats.waiting >= self._max_waiting

    def _enqueue(self, rows: Sequence[R], done: asyncio.Future[None] | _Callback, deadline: float) -> None:
        if self._closing:
            raise Unavailable("the service is stopping; nothing was stored")
        self._queue.append(Submission(rows, done, deadline))
        self.stats.waiting += len(rows)
        if not self._work.is_set():
            self._work.set()

    async def _wait_for_room(self, deadline: float) -> None:
        while self.full:
            self._room.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._room.wait()
            except TimeoutError:
                self.stats.refused += 1
                raise Unavailable("too many writes are waiting; nothing was stored. Try again in a moment.") from None

    async def _write_until_closed(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._work.clear()
                await self._work.wait()
                continue
            batch = self._take()
            try:
                await self._store(batch)
            finally:
                # Also when this fails in a way that was not foreseen: nobody waits for an answer that never comes.
                for submission in batch:
                    _fail(submission, Unavailable("the writer failed; it is not known whether this was stored"))
                self.stats.waiting -= sum(len(submission.rows) for submission in batch)
                self._room.set()

    def _take(self) -> list[Submission[R]]:
        batch: list[Submission[R]] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].rows) <= self._max_batch):
            submission = self._queue.popleft()
            batch.append(submission)
            rows += len(submission.rows)
        return batch

    async def _store(self, batch: list[Submission[R]]) -> None:
        """Commit `batch`, again and again while the database is away and somebody still waits for it."""
        delay = _FIRST_DELAY
        longest = max(self._database.patience, _SHORTEST_ATTEMPT)
        while waiting := [submission for submission in batch if not submission.done.done()]:
            try:
                async with asyncio.timeout(longest):
                    await self._commit(await self._connected(), waiting)
            except Exception as error:
                await self._disconnect()
                if is_away(error):
                    if not _said_by_server(error):
                        for submission in waiting:
                            submission.uncertain = submission.commit_key is not None
                    self._refuse_late(waiting, error, delay)
                    self.stats.retries += 1
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, _LONGEST_DELAY)
                elif len(waiting) > 1:
                    # One of them is what the database refuses; the others must not suffer for it.
                    for submission in waiting:
                        await self._store([submission])
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
        horizon = asyncio.get_running_loop().time() + delay
        late = [submission for submission in (*waiting, *self._queue) if submission.deadline <= horizon]
        log.warning("writer.waiting", writer=self.name, reason=reason(error), waiting=self.stats.waiting)
        for submission in late:
            self.stats.refused += 1
            _fail(submission, away(error, uncertain=submission.uncertain))

    async def _connected(self) -> asyncpg.Connection[Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _said_by_server(error: Exception) -> bool:
    """Return whether the server itself refused, so that nothing of the attempt is stored."""
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.PostgresConnectionError)


def _fail(submission: Submission[Any], error: Exception) -> None:
    if not submission.done.done():
        submission.done.set_exception(error)
