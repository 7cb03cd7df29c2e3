"""The PostgreSQL of a run with SMARTMOB_TEST_SERVER_URL, for versions other than that of the embedded one.

The address is that of a server where the administrator of tests (`smartmob_admin`) is a superuser without a password:
`postgresql://smartmob_admin@127.0.0.1:5416/postgres`. The run makes its template anew, and leaves its databases there.
"""

from __future__ import annotations

import os

import asyncpg

from smartmob.kernel.embedded.roles import ADMIN, DATABASE, ROLE
from tests.databases import TEMPLATE

SERVER = "SMARTMOB_TEST_SERVER_URL"
"""The environment variable with the address of the server."""


def url() -> str | None:
    """Return the address of the server with placeholders for role and database, or None."""
    given = os.environ.get(SERVER)
    return None if not given else given.replace(f"//{ADMIN}@", "//{}@", 1).rpartition("/")[0] + "/{}?sslmode=disable"


async def prepare(url: str) -> None:
    """Make the role and the database of the service, and remove the template of an earlier run."""
    connection = await asyncpg.connect(url.format(ADMIN, "postgres"))
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", ROLE):
            await connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        await connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
    finally:
        await connection.close()
