"""The connections that a server allows, and how many of them each process of the service may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartmob.errors import DatabaseError
from smartmob.kernel.observability.event_logger import get_logger

if TYPE_CHECKING:
    from smartmob.kernel.db.database import Connection

log = get_logger()

WRITERS = 6
"""The writers of a service without workers that keep the connection that they have opened for their first rows."""
WORKER_WRITERS = 2
"""The same of a worker: those of metrics and of samples."""
LEAST_POOL = 2
"""Connections of a process for reading: one of them is free while another one loads a file."""

_ALLOWED = """
SELECT pg_backend_pid() AS process, least(
    current_setting('max_connections')::int - CASE WHEN r.rolsuper THEN 0
        ELSE current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true)::int, 0) END,
    CASE WHEN r.rolconnlimit >= 0 AND NOT r.rolsuper THEN r.rolconnlimit END,
    CASE WHEN d.datconnlimit >= 0 AND NOT r.rolsuper THEN d.datconnlimit END
) AS allowed
FROM pg_roles AS r, pg_database AS d WHERE r.rolname = current_user AND d.datname = current_database()
"""
"""The limits of the server, the role and the database; `reserved_connections` came with PostgreSQL 16."""


async def allowed(connection: Connection) -> int | None:
    """Return how many connections the role may have, or None behind a pooler, which shares its own."""
    statement = await connection.prepare(_ALLOWED, name="")
    row = await statement.fetchrow()
    return None if row is None or row["process"] != connection.get_server_pid() else int(row["allowed"])


def warn(allowed: int | None, pool_size: int, workers: int) -> None:
    """Log that a service may run out of connections, if that is so."""
    most = wanted(pool_size, workers)
    if allowed is not None and most > allowed:
        log.warning("database.few_connections", allowed=allowed, wanted=most)


def wanted(pool_size: int, workers: int) -> int:
    """Return how many connections a service takes at most."""
    if workers < 2:
        return pool_size + WRITERS
    return pool_size + WRITERS + workers * (share(pool_size, workers) + WORKER_WRITERS)


def share(pool_size: int, workers: int) -> int:
    """Return how many connections each of the workers has for reading."""
    return max(LEAST_POOL, pool_size // workers)


def pool_size(wished: int, allowed: int, workers: int) -> int:
    """Return how many connections a process of a service may have for reading, so that each process gets some.

    Raises DatabaseError if they are too few for all.
    """
    processes = 1 if workers < 2 else 1 + workers
    least = processes * LEAST_POOL
    if allowed < least:
        raise DatabaseError(
            f"the database allows this role {allowed} connections, but the service needs {least} at least: raise "
            "max_connections of the server, or CONNECTION LIMIT of the role or the database"
            + (", or start fewer workers" if workers > 1 else "")
        )
    return min(wished, max(LEAST_POOL, allowed // processes))
