"""The roles of the embedded PostgreSQL: that of the service, which is not a superuser, and the administrator.

A cluster of an earlier smartmob has one role, `smartmob`. It is the bootstrap superuser, which cannot lose its rights.
So it is renamed to the administrator, and a new role `smartmob` becomes the owner of the database and its tables. Each
step can be repeated: the next start completes steps that were interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from smartmob.errors import DatabaseError

DATABASE = "smartmob"
ROLE = "smartmob"
ADMIN = "smartmob_admin"
UPGRADER = "smartmob_upgrader"
"""A temporary superuser for changing a cluster of an earlier smartmob: no role can rename itself."""

_MAINTENANCE = "postgres"
_CONNECT_SECONDS = 5.0
_RELOAD_SECONDS = 10.0  # a server that was taken over may need so long to read its rules again
_RETRY_SECONDS = 0.05
# Parts of messages of PostgreSQL.
_NO_RULE, _NO_ROLE = "no pg_hba.conf entry", "does not exist"

_UNPRIVILEGED = "NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_IS_UNPRIVILEGED = (
    "SELECT NOT (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls) FROM pg_roles WHERE rolname = $1"
)
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1"
_HAND_OVER = r"""
SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, $2::text) AS statement
FROM pg_namespace
WHERE pg_get_userbyid(nspowner) = $1 AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
UNION ALL
SELECT format('ALTER TABLE %I.%I OWNER TO %I', n.nspname, c.relname, $2::text)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE pg_get_userbyid(c.relowner) = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
"""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def arrange(host: str) -> None:
    """Make the roles and the service's database where they are missing, and set the owners. Raises DatabaseError."""
    try:
        async for _ in steps(host):
            pass
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"the roles of the embedded PostgreSQL cannot be created: {error}") from None


async def steps(host: str) -> AsyncIterator[str]:
    """Make what is missing, and yield the name of each change after it was committed."""
    administrator = await _administrator(host)
    if administrator is None:
        async with _connected(host, ROLE) as connection:
            if await connection.fetchval(_IS_UNPRIVILEGED, UPGRADER) is None:
                await connection.execute(f"CREATE ROLE {UPGRADER} LOGIN SUPERUSER")
                yield "a role that can rename the superuser"
        async with _connected(host, UPGRADER) as connection, connection.transaction():
            await connection.execute(f"ALTER ROLE {ROLE} RENAME TO {ADMIN}")
            await connection.execute(f"CREATE ROLE {ROLE} LOGIN {_UNPRIVILEGED}")
        yield "the superuser is the administrator"
        administrator = await _connect(host, ADMIN)
    async with _closed(administrator) as connection:
        if await connection.fetchval(_IS_UNPRIVILEGED, UPGRADER) is not None:
            await connection.execute(f"DROP ROLE {UPGRADER}")
            yield "no other superuser"
        unprivileged = await connection.fetchval(_IS_UNPRIVILEGED, ROLE)
        if not unprivileged:
            await connection.execute(
                f"{'CREATE' if unprivileged is None else 'ALTER'} ROLE {ROLE} LOGIN {_UNPRIVILEGED}"
            )
            yield "the service's role"
        owner = await connection.fetchval(_OWNER, DATABASE)
        if owner is None:
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            yield "the service's database"
        elif owner != ROLE:
            await connection.execute(f"ALTER DATABASE {DATABASE} OWNER TO {ROLE}")
            yield "the owner of the database"
    async with _connected(host, ADMIN, DATABASE) as connection:
        for row in await connection.fetch(_HAND_OVER, ADMIN, ROLE):
            await connection.execute(row["statement"])
            yield row["statement"]


async def _administrator(host: str) -> Connection | None:
    """Return a connection of the administrator, or None when there is no such role.

    Waits until a server that was taken over has read its rules.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RELOAD_SECONDS
    while True:
        try:
            return await _connect(host, ADMIN)
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            if _NO_ROLE in str(error):
                return None
            if _NO_RULE not in str(error) or loop.time() > deadline:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


async def _connect(host: str, role: str, database: str = _MAINTENANCE) -> Connection:
    return await asyncpg.connect(host=host, user=role, database=database, timeout=_CONNECT_SECONDS)


@asynccontextmanager
async def _connected(host: str, role: str, database: str = _MAINTENANCE) -> AsyncIterator[Connection]:
    async with _closed(await _connect(host, role, database)) as connection:
        yield connection


@asynccontextmanager
async def _closed(connection: Connection) -> AsyncIterator[Connection]:
    """Yield a connection, and close it after the block."""
    try:
        yield connection
    finally:
        await connection.close()
