"""PostgreSQL by asyncpg: a connection pool for reading, separate connections for writers, and retries.

An operation that fails because the server is not available is retried until `patience` seconds have passed; then it
raises `Unavailable`. The pool reconnects by itself. Only the kernel and the stores of the features use asyncpg.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import quote

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from smartmob.errors import DatabaseError, Unavailable
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db import connection_limits, database_refusals, timestamps
from smartmob.kernel.db.known_types import KnownTypesConnection
from smartmob.kernel.db.reading import Reading, ReplicaReading
from smartmob.kernel.db.replica import Replica
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.replica_reads import ReplicaReads

log = get_logger()

T = TypeVar("T")
Record = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"

READ_COMMITTED: Literal["read_committed"] = "read_committed"
"""The isolation of a transaction that waits for an advisory lock and then reads.

Where the role or the server has a stricter default, it would not see what others committed while it waited.
"""
PARTITIONS_LOCK = 7_330_461_121
"""The key of the advisory lock for making and dropping partitions, which a backup holds shared. Any unused number."""

_CONNECT_SECONDS = 5.0
_FIRST_DELAY_SECONDS = 0.02  # before a retry; doubled each time
_LONGEST_DELAY_SECONDS = 0.5
_FIRST_START_DELAY_SECONDS = 0.1  # the same while the service waits for the server at its start
_LONGEST_START_DELAY_SECONDS = 2.0

_UNAVAILABLE_ERRORS = (
    OSError,  # refused, reset, no such socket; TimeoutError is one of them
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server shuts down, starts up or has lost a backend process
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.PostgresIOError,
    asyncpg.TransactionRollbackError,  # deadlock, serialisation: the same operation may succeed now
    asyncpg.ReadOnlySQLTransactionError,  # a failover is under way
    asyncpg.LockNotAvailableError,  # the role or the server has a lock_timeout
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCachedStatementError,  # another service has changed a table
    asyncpg.InvalidAuthorizationSpecificationError,  # its password is being changed
    asyncpg.InvalidCatalogNameError,  # the database is being restored
    asyncpg.InvalidSQLStatementNameError,  # a pooler in transaction mode keeps no prepared statements
    asyncpg.DuplicatePreparedStatementError,  # the same, with one of another client
    asyncpg.InternalClientError,  # the driver lost track of a connection that broke
)
_LOST_TEXTS = ("closed", "closing", "released back to the pool", "another operation is in progress")
_LOST_SERVER_TEXTS = (
    "postmaster was shut down",  # the server of this session, while it waited for a node
    "failure on connection marked as essential",  # to a node, within a transaction
    "failed to prepare transaction",
    "could not connect to any active placements",
    "execution cannot recover from multiple connection failures",
    "server closed the connection unexpectedly",
    "could not receive data from server",
    "could not send data to server",
    "connection not open",
)
"""Errors of Citus and of its client library without a code of their own: a server of the cluster is lost."""
_PERMANENT_ERRORS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)
"""Errors that end the start of the service, although a service that runs waits for their end."""


def is_unavailable(error: BaseException) -> bool:
    """Return whether `error` means that the server is not available, so that a retry may succeed."""
    # asyncpg raises InterfaceError both for a lost connection and for a mistake of the caller. A connection that breaks
    # at the wrong moment can stay in the state "another operation is in progress".
    lost = isinstance(error, asyncpg.InterfaceError) and any(text in str(error) for text in _LOST_TEXTS)
    return lost or isinstance(error, _UNAVAILABLE_ERRORS) or _lost_server(error) or _moving(error)


def _lost_server(error: BaseException) -> bool:
    """Return whether a session of Citus has lost its own server or a node, and had no code to say so."""
    return isinstance(error, asyncpg.InternalServerError) and any(text in str(error) for text in _LOST_SERVER_TEXTS)


def _moving(error: BaseException) -> bool:
    """Return whether Citus refuses to delete rows of a table without a key, because it is moving their shard."""
    return isinstance(error, asyncpg.ObjectNotInPrerequisiteStateError) and "replica identity" in str(error)


def refused_by_server(error: Exception) -> bool:
    """Return whether the server answered with an error, so that nothing of the attempt is stored."""
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.PostgresConnectionError)


def is_duplicate(error: BaseException) -> bool:
    """Return whether a row with the same key is stored already; a node of Citus has its own code for it."""
    of_node = isinstance(error, asyncpg.InternalServerError) and "duplicate key value" in str(error)
    return of_node or isinstance(error, asyncpg.UniqueViolationError)


class Database(Reading):
    """The database of one process of a service with `workers` processes. After `open` you must `close`.

    `pool_size` is the maximum number of connections in the pool, which `open` lowers if the server allows fewer.
    `allowed` is the number that the server allows, or None for the embedded server and behind a pooler.
    """

    def __init__(self, settings: DatabaseSettings, embedded: EmbeddedPostgres | None, workers: int = 1) -> None:
        self.patience = settings.patience
        self.pool_size = settings.pool_size
        self.allowed: int | None = None
        self._workers = workers
        self._settings = settings
        self._embedded = embedded
        self._connect_arguments: dict[str, Any] = {}
        self._pool: asyncpg.Pool[Record] | None = None
        self.replica = None if settings.read_url is None else Replica(self, settings.read_lag)

    @property
    def reader(self) -> Reading:
        """Return the reader, which uses the replica, if there is one, in requests that allow it."""
        if self.replica is None:
            return self
        return ReplicaReading(self, self.replica, self._settings.query_timeout)

    def replica_reads(self) -> ReplicaReads | None:
        """Return the rules on which requests may be answered from the replica, or None without a replica."""
        return None if self.replica is None else ReplicaReads(self._settings.read_lag)

    async def note(self) -> str | None:
        """Return why the replica is not read, for the health of the service; None if it is read or does not exist."""
        return None if self.replica is None else await self.replica.note()

    @property
    def connect_arguments(self) -> Mapping[str, str]:
        """Return the arguments of `asyncpg.connect` for this database: `dsn`, or `host`, `user` and `database`."""
        return self._connect_arguments

    @property
    def url(self) -> str:
        """Return the URL by which another process of this service and user reaches the database, once it is open."""
        arguments = self._connect_arguments
        if "dsn" in arguments:
            return str(arguments["dsn"])
        return f"postgresql://{arguments['user']}@/{arguments['database']}?host={quote(arguments['host'])}"

    def may_connect_to(self, host: str) -> bool:
        """Return whether the password may be sent to a node of the cluster at this host."""
        patterns = self._settings.node_hosts
        return not patterns or any(fnmatchcase(host.lower(), pattern.lower()) for pattern in patterns)

    @property
    def pooled(self) -> bool:
        """Return whether each transaction of a connection may be in another session of the server."""
        return self._settings.statement_cache_size == 0

    async def open(self) -> None:
        """Connect, and wait for an external server. Raises DatabaseError when it does not answer or refuses."""
        if self._embedded is not None:
            address = await self._embedded.start()
            self._connect_arguments = {"host": address.host, "user": address.user, "database": address.database}
            self._pool = await self._create_pool()
        else:
            assert self._settings.url is not None
            database_refusals.check_files(self._settings.url)
            self._connect_arguments = {"dsn": self._settings.url}
            if database_refusals.names_several_servers(self._settings.url):
                self._connect_arguments["target_session_attrs"] = "read-write"
            self._pool = await self._wait_for_server()
            await self._respect_limits()
        if self.replica is not None:
            assert self._settings.read_url is not None
            await self.replica.open(self._settings.read_url, **self._pool_arguments)

    async def _create_pool(self) -> asyncpg.Pool[Record]:
        """Return a pool with one connection."""
        return await asyncpg.create_pool(min_size=1, **self._pool_arguments, **self._connect_arguments)

    async def _respect_limits(self) -> None:
        """Take no more connections than the other processes of the service leave. Raises DatabaseError."""
        async with self.acquire() as connection:
            self.allowed = await connection_limits.allowed(connection)
        if self.allowed is None:
            return
        fitting = connection_limits.pool_size(self.pool_size, self.allowed, self._workers)
        if fitting < self.pool_size and self._pool is not None:
            await self._pool.close()
            self.pool_size = fitting
            self._pool = await self._wait_for_server()

    def warn_of_limits(self) -> None:
        """Log that the service may want more connections than the server allows, if that is so."""
        connection_limits.warn(self.allowed, self._settings.pool_size, self._workers)

    @property
    def _pool_arguments(self) -> dict[str, Any]:
        return {
            "max_size": self.pool_size,
            "timeout": _CONNECT_SECONDS,
            "statement_cache_size": self._settings.statement_cache_size,
            "connection_class": KnownTypesConnection,
            "init": timestamps.set_codec,
            "reset": _keep_session,
        }

    async def close(self) -> None:
        """Close the connections and stop the embedded server."""
        if self.replica is not None:
            await self.replica.close()
        if self._pool is not None:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
        if self._embedded is not None:
            await self._embedded.stop()

    async def connect(self, node: tuple[str, int] | None = None) -> asyncpg.Connection[Record]:
        """Return a new connection, which the caller must close; `node` is the address of another node of a cluster."""
        address = {} if node is None else {"host": node[0], "port": node[1]}
        connection: asyncpg.Connection[Record] = await asyncpg.connect(
            timeout=_CONNECT_SECONDS,
            connection_class=KnownTypesConnection,
            statement_cache_size=self._settings.statement_cache_size,
            **(self._connect_arguments | address),
        )
        try:
            await timestamps.set_codec(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    @asynccontextmanager
    async def acquire(self, seconds: float = _CONNECT_SECONDS) -> AsyncIterator[Connection]:
        """Return a connection of the pool until the block ends."""
        assert self._pool is not None
        async with self._pool.acquire(timeout=seconds) as connection:
            yield connection

    @asynccontextmanager
    async def _acquire_for(self, seconds: float) -> AsyncIterator[Connection]:
        """Return a connection of the pool until the block ends; after `seconds`, terminate it and time out."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self.acquire(min(seconds, _CONNECT_SECONDS)) as connection:
            try:
                async with asyncio.timeout_at(deadline):
                    yield connection
            except TimeoutError:
                connection.terminate()
                raise

    async def run(self, operation: Callable[[Connection], Awaitable[T]]) -> T:
        """Call `operation` with a connection of the pool, and return its result.

        It is called again when the connection is lost, so it must be safe to repeat. Raises Unavailable once
        `patience` seconds have passed.
        """
        deadline = asyncio.get_running_loop().time() + self.patience
        delay = _FIRST_DELAY_SECONDS
        begun = uncertain = False
        while True:
            try:
                async with self._acquire_for(self._settings.query_timeout) as connection:
                    begun = True
                    return await operation(connection)
            except asyncpg.ReadOnlySQLTransactionError as error:
                # The server has become a standby: new connections may find the primary.
                assert self._pool is not None
                await self._pool.expire_connections()
                if asyncio.get_running_loop().time() + delay > deadline:
                    raise unavailable(error) from error
            except Exception as error:
                if not is_unavailable(error):
                    raise
                uncertain |= begun and not refused_by_server(error)
                begun = False
                if asyncio.get_running_loop().time() + delay > deadline:
                    raise unavailable(error, uncertain=uncertain) from error
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    async def fetchrow_at_once(self, query: str, seconds: float) -> Record | None:
        """Return the first row of a `query` without retries."""
        async with self._acquire_for(seconds) as connection:
            return await connection.fetchrow(query)

    async def execute_at_once(self, query: str, *arguments: object, seconds: float = 1.0) -> None:
        """Execute a `query` within `seconds`, without retries; raises Unavailable if that fails."""
        try:
            async with self._acquire_for(seconds) as connection:
                await connection.execute(query, *arguments)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise unavailable(error) from error

    async def ping(self, seconds: float = 1.0) -> None:
        """Check that the server answers within `seconds`; raises Unavailable."""
        try:
            async with self._acquire_for(seconds) as connection:
                await connection.fetchval("SELECT 1")
        except Exception as error:
            if is_unavailable(error) or isinstance(error, _PERMANENT_ERRORS):
                raise unavailable(error) from error
            raise

    async def _wait_for_server(self) -> asyncpg.Pool[Record]:
        """Retry to connect until the `wait` setting has passed, and return the pool; raises DatabaseError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.wait
        delay = _FIRST_START_DELAY_SECONDS
        while True:
            try:
                return await self._create_pool()
            except Exception as error:
                lasting = isinstance(error, _PERMANENT_ERRORS) or database_refusals.is_parameter(error)
                permanent = lasting or not is_unavailable(error)
                refusal = database_refusals.of_connection(error)
                if refusal is not None and (permanent or not isinstance(error, asyncpg.PostgresError)):
                    raise DatabaseError(f"the database refuses the service: {refusal}") from None
                if permanent:
                    # The message of Python's exception may quote a part of the password.
                    raise DatabaseError(
                        "the database URL cannot be used: it is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
                    ) from None
                if loop.time() + delay > deadline:
                    raise DatabaseError(
                        f"the database did not answer for {self._settings.wait:g} s ({reason(error)}). "
                        "Is it running, and is --database-url (DATABASE_URL) right?"
                    ) from None
                log.warning("database.waiting", reason=reason(error), seconds_left=round(deadline - loop.time(), 1))
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_START_DELAY_SECONDS)


async def _keep_session(_: Connection) -> None:
    """Leave the session of a returned connection as it is; a reset would take as long as a short query.

    asyncpg has already ended a transaction that was still open. The user of a connection of the pool must leave nothing
    else behind: it releases its locks, and changes settings only on a connection of its own (`Database.connect`).
    """


def unavailable(error: BaseException, *, uncertain: bool = False) -> Unavailable:
    """Return the exception for a database that is not available because of `error`.

    `uncertain` means that a commit was sent and no answer came, so that the rows may be stored.
    """
    stored = "it is not known whether this was stored" if uncertain else "nothing was stored"
    return Unavailable(f"the database is not available ({reason(error)}); {stored}. Try again in a moment.")


def reason(error: BaseException) -> str:
    """Return in one line why the database is not available, without its address and secrets."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if _moving(error):
        return "rows are being moved to another node of the cluster"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {database_refusals.tls_text(error)}"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "no server of the database URL has the role that target_session_attrs demands"
    if isinstance(error, OSError):
        # The message of an asyncio error contains the address.
        return os.strerror(error.errno) if error.errno else "no connection"
    if isinstance(error, asyncpg.InvalidSQLStatementNameError | asyncpg.DuplicatePreparedStatementError):
        return "a connection pooler mixes up prepared statements: use --database-statement-cache-size 0"
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return f"{_first_line(error)}: max_connections, or a CONNECTION LIMIT, is too low for all clients"
    if isinstance(error, asyncpg.PostgresError):
        return _first_line(error)
    return "connection lost"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
