"""The database of an earlier smartmob, whose service connected as a superuser."""

from __future__ import annotations

from typing import Any

import asyncpg

from smartmob.kernel.embedded.roles import ROLE
from tests.waiting import SECONDS

TABLES = """
CREATE TABLE kept (id serial PRIMARY KEY, n integer NOT NULL);
INSERT INTO kept (n) VALUES (7);
CREATE TABLE days (at date) PARTITION BY RANGE (at);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
CREATE SCHEMA own;
CREATE VIEW own.seen AS SELECT n FROM kept;
"""


async def connected(host: str, role: str, database: str = "smartmob") -> Any:
    """Return a connection to the server with its socket in the folder `host`."""
    return await asyncpg.connect(host=host, user=role, database=database, timeout=SECONDS)


async def prepare(host: str) -> None:
    """Create the database with its tables."""
    connection = await connected(host, ROLE, "postgres")
    await connection.execute("CREATE DATABASE smartmob")
    await connection.close()
    connection = await connected(host, ROLE)
    await connection.execute(TABLES)
    await connection.close()
