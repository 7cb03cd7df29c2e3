"""PostgreSQL by asyncpg: one pool for reading, connections of one's own for writers, and what to do when it is away.

An operation that fails because the server is away is tried again until `patience` seconds have passed, then refused
with `Unavailable`; the pool finds the server again by itself. Only this module, the writer, the migrations and the
features' stores touch asyncpg.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from smartmob.errors import DatabaseError, Unavailable
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.settings import DatabaseSettings

log = structlog.get_logger()

T = TypeVar("T")
Record = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"

PARTITIONS_LOCK = 7_330_461_121
"""Whoever makes or drops a partition takes this advisory lock first; who copies the whole database shares it."""

_CONNECT_SECONDS = 5.0
_FIRST_DELAY = 0.02
_LONGEST_DELAY = 0.5

_AWAY = (
    OSError,  # refused, reset, no such socket; TimeoutError is one of them
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server shuts down, starts up or has lost a backend
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.PostgresIOError,
    asyncpg.TransactionRollbackError,  # deadlock, serialization: the same operation may succeed now
    asyncpg.ReadOnlySQLTransactionError,  # a failover is under way
    asyncpg.InternalClientError,  # the driver lost track of a connection that broke
)
_LOST = ("closed", "closing", "released back to the pool", "another operation is in progress")
_HOPELESS = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)


def is_away(error: BaseException) -> bool:
    """Return whether `error` tells that the server is away, so that the same operation may succeed a moment later."""
    # asyncpg raises InterfaceError for a connection that was lost and for a caller's mistake alike; a connection that
    # dies at the wrong moment is sometimes left "in the middle of an operation" that will never end.
    lost = isinstance(error, asyncpg.InterfaceError) and any(sign in str(error) for sign in _LOST)
    return lost or isinstance(error, _AWAY)


class Database:
    """The database of one service. After `open` you must `close`."""

    def __init__(self, settings: DatabaseSettings, embedded: EmbeddedPostgres | None) -> None:
        self.patience = settings.patience
        self._settings = settings
        self._embedded = embedded
        self._target: dict[str, Any] = {}
        self._pool: asyncpg.Pool[Record] | None = None

    @property
    def target(self) -> Mapping[str, str]:
        """Return what tells where the database is, once it is open: `dsn`, or `host`, `user` and `database`."""
        return self._target

    async def open(self) -> None:
        """Connect; an external server is waited for. Raises DatabaseError when it cannot be reached or refuses."""
        if self._embedded is not None:
            address = await self._embedded.start()
            self._target = {"host": address.host, "user": address.user, "database": address.database}
        else:
            self._target = {"dsn": self._settings.url}
            await self._wait_for_server()
        self._pool = await asyncpg.create_pool(
            min_size=1, max_size=self._settings.pool_size, timeout=_CONNECT_SECONDS, **self._target
        )

    async def close(self) -> None:
        """Close the connections and stop the embedded server."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
        if self._embedded is not None:
            await self._embedded.stop()

    async def connect(self) -> asyncpg.Connection[Record]:
        """Return a connection of the caller's own, who must close it."""
        return await asyncpg.connect(timeout=_CONNECT_SECONDS, **self._target)

    @asynccontextmanager
    async def acquire(self, seconds: float = _CONNECT_SECONDS) -> AsyncIterator[Connection]:
        """Lend a connection of the pool."""
        assert self._pool is not None
        async with self._pool.acquire(timeout=seconds) as connection:
            yield connection

    @asynccontextmanager
    async def _acquire_for(self, seconds: float) -> AsyncIterator[Connection]:
        """Lend a connection for at most so long; one that is silent then is given up."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self.acquire(min(seconds, _CONNECT_SECONDS)) as connection:
            try:
                async with asyncio.timeout_at(deadline):
                    yield connection
            except TimeoutError:
                connection.terminate()
                raise

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what `operation` returns on a connection of the pool.

        It is called again when the server went away meanwhile, so it must be safe to repeat. Raises Unavailable once
        `patience` seconds have passed.
        """
        deadline = asyncio.get_running_loop().time() + self.patience
        delay = _FIRST_DELAY
        while True:
            try:
                async with self._acquire_for(self._settings.query_timeout) as connection:
                    return await operation(connection)
            except Exception as error:
                if not is_away(error):
                    raise
                if asyncio.get_running_loop().time() + delay > deadline:
                    raise away(error) from error
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def fetch(self, query: str, *arguments: object) -> list[Record]:
        """Return the rows of a reading `query`."""
        return await self.run(lambda connection: connection.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: object) -> Record | None:
        """Return the first row of a reading `query`, or None."""
        return await self.run(lambda connection: connection.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """Return the first value of a reading `query`, or None."""
        return await self.run(lambda connection: connection.fetchval(query, *arguments))

    async def ping(self, seconds: float = 1.0) -> None:
        """Ask the server for an answer within `seconds`; raises Unavailable."""
        try:
            async with self._acquire_for(seconds) as connection:
                await connection.fetchval("SELECT 1")
        except Exception as error:
            if is_away(error) or isinstance(error, _HOPELESS):
                raise away(error) from error
            raise

    async def _wait_for_server(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.wait
        delay = 0.1
        while True:
            try:
                connection = await self.connect()
            except _HOPELESS as error:
                raise DatabaseError(f"the database refuses the service: {error}") from None
            except Exception as error:
                if not is_away(error):
                    # What Python says of a URL may quote a part of its password.
                    said = "it is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
                    raise DatabaseError(f"the database URL cannot be used: {said}") from None
                if loop.time() + delay > deadline:
                    raise DatabaseError(
                        f"the database did not answer for {self._settings.wait:g} s ({reason(error)}). "
                        "Is it running, and is --database-url (DATABASE_URL) right?"
                    ) from None
                log.warning("database.waiting", reason=reason(error), seconds_left=round(deadline - loop.time(), 1))
            else:
                await connection.close()
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)


def away(error: BaseException, *, uncertain: bool = False) -> Unavailable:
    """Return the refusal that says that the database is away because of `error`.

    It is `uncertain` whether something was stored when a commit was sent and its answer never came.
    """
    stored = "it is not known whether this was stored" if uncertain else "nothing was stored"
    return Unavailable(f"the database is not available ({reason(error)}); {stored}. Try again in a moment.")


def reason(error: BaseException) -> str:
    """Return one line on why the database is away, without its address or anything secret."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        # asyncio puts the address into the error's own words.
        return os.strerror(error.errno) if error.errno else "no connection"
    if isinstance(error, asyncpg.PostgresError):
        return str(error).split("\n", 1)[0]
    return "connection lost"
