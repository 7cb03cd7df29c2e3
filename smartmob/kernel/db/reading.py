"""Reads from the replica where a request may be answered from it, and otherwise from the database itself."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from smartmob.kernel.db.replica import Replica, one_line
from smartmob.kernel.runtime import replica_reads

if TYPE_CHECKING:
    from smartmob.kernel.db.database import Database

T = TypeVar("T")
Record = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"


class Reading(ABC):
    """Queries that only read."""

    @abstractmethod
    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Call `operation`, which is safe to repeat, with a connection, and return its result."""

    @abstractmethod
    def acquire(self, seconds: float = ...) -> AbstractAsyncContextManager[Connection]:
        """Return a connection until the block ends."""

    async def fetch(self, query: str, *arguments: object) -> list[Record]:
        """Return the rows of a `query` that only reads."""
        return await self.run(lambda connection: connection.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: object) -> Record | None:
        """Return the first row of a `query` that only reads, or None."""
        return await self.run(lambda connection: connection.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """Return the first value of a `query` that only reads, or None."""
        return await self.run(lambda connection: connection.fetchval(query, *arguments))


class ReplicaReading(Reading):
    """Reads from the replica in requests that allow it, while it can be read; otherwise from `database`."""

    def __init__(self, database: Database, replica: Replica, query_timeout: float) -> None:
        self._database = database
        self._replica = replica
        self._query_timeout = query_timeout

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Call `operation` with a connection to the replica; if that fails, with one to the database itself."""
        if await self._allowed():
            try:
                async with asyncio.timeout(self._query_timeout), self._replica.acquire(self._query_timeout) as found:
                    return await operation(found)
            except Exception as error:
                self._handle_failure(error)
        return await self._database.run(operation)

    @asynccontextmanager
    async def acquire(self, seconds: float = 5.0) -> AsyncIterator[Connection]:
        """Return a connection to the replica or to the database itself, until the block ends."""
        async with AsyncExitStack() as stack:
            connection = await self._from_replica(stack, seconds)
            if connection is None:
                connection = await stack.enter_async_context(self._database.acquire(seconds))
            yield connection

    async def _from_replica(self, stack: AsyncExitStack, seconds: float) -> Connection | None:
        """Return a connection to the replica that answers, or None; `stack` returns it to the pool."""
        if not await self._allowed():
            return None
        try:
            connection = await stack.enter_async_context(self._replica.acquire(seconds))
            # The server may have closed it while it was idle.
            await connection.execute("SELECT 1")
        except Exception as error:
            self._handle_failure(error)
            return None
        return connection

    async def _allowed(self) -> bool:
        return replica_reads.ALLOWED.get() and await self._replica.usable()

    def _handle_failure(self, error: Exception) -> None:
        """Raise an error that the database itself would raise, too; record one that only the replica has."""
        from smartmob.kernel.db.database import is_unavailable

        if not is_unavailable(error):
            raise error
        # Replayed changes may cancel a query on a replica, which itself still works.
        if not isinstance(error, asyncpg.TransactionRollbackError | TimeoutError):
            self._replica.failed(one_line(error))
