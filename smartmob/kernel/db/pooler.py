"""Finds a connection pooler in transaction mode between the service and its database, such as PgBouncer.

There each transaction of a connection may be in another session of the server. What a session keeps, such as prepared
statements, settings and locks, is then lost to its owner and found by others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from smartmob.errors import DatabaseError
from smartmob.kernel.db.database import Connection, Database, Record

_SESSION = "SELECT pg_backend_pid()"
_SECONDS = 2.0
"""The time after which the session of the other connection is given back, since a pooler may have no other one."""

_NO_STATEMENTS = (
    "a connection pooler in transaction mode is in front of the database, and mixes up the prepared statements of its "
    "clients: start the service with --database-statement-cache-size 0, or set max_prepared_statements of PgBouncer "
    "(1.21 or later)"
)
_NO_SESSION = (
    "a connection pooler in transaction mode is in front of the database, and this needs a session of its own: give "
    "the address of the server itself"
)


async def process_of(connection: Connection) -> int:
    """Return the number of the server's process that answers a connection now."""
    # Without a name: a pooler may have a statement of another client with the same name.
    statement = await connection.prepare(_SESSION, name="")
    process: int = await statement.fetchval()
    return process


async def is_between(connection: Connection) -> bool:
    """Return whether a pooler is in front of the server."""
    # A server tells each client the number of its process, but a pooler tells one of its own.
    return await process_of(connection) != connection.get_server_pid()


async def check_statements(database: Database) -> None:
    """Raise DatabaseError if a statement that a connection has prepared is missing in its next transaction."""
    if database.pooled:
        return
    async with _connections(database) as (first, second):
        try:
            process = await first.fetchval(_SESSION)
        except asyncpg.DuplicatePreparedStatementError:
            raise DatabaseError(_NO_STATEMENTS) from None
        transaction = second.transaction()
        await transaction.start()
        if await process_of(second) != process:
            return
        answered = asyncio.Event()

        async def ask() -> None:
            try:
                await first.fetchval(_SESSION)
            finally:
                answered.set()

        async def give_back() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS):
                    await answered.wait()
            await transaction.rollback()

        asked, _ = await asyncio.gather(ask(), give_back(), return_exceptions=True)
        if isinstance(asked, asyncpg.InvalidSQLStatementNameError):
            raise DatabaseError(_NO_STATEMENTS)
        if asked is not None:
            raise asked


async def check_session(database: Database, connection: Connection) -> None:
    """Raise DatabaseError if the server's session of a connection is used by others between its transactions."""
    if await is_between(connection):
        other = await database.connect()
        try:
            if await process_of(other) == await process_of(connection):
                raise DatabaseError(_NO_SESSION)
        finally:
            other.terminate()


@asynccontextmanager
async def _connections(
    database: Database,
) -> AsyncIterator[tuple[asyncpg.Connection[Record], asyncpg.Connection[Record]]]:
    """Give two connections until the block ends."""
    first = await database.connect()
    try:
        second = await database.connect()
        try:
            yield first, second
        finally:
            second.terminate()
    finally:
        first.terminate()
