"""The distributed database of a run with SMARTMOB_TEST_CITUS_URL, which all tests of the run use one after the other.

The address is that of an empty database on the coordinator, with the extension and the nodes. The tests must run in one
process. `-m citus` runs all that have a database, so the stores of all features and the services on them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest

from smartmob.distribution import DISTRIBUTOR, PLACEMENTS
from smartmob.feature_settings import DatabaseSettings
from smartmob.hosts.store.partitions import MINUTES, SAMPLES
from smartmob.hosts.store.partitions import Partitions as HostPartitions
from smartmob.kernel.db import citus, migrations
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from smartmob.stored_features import MIGRATED_FEATURES
from smartmob.turrets.store.partitions import KnownPartitions as TurretPartitions
from tests.databases import STATE

CITUS = "SMARTMOB_TEST_CITUS_URL"
"""The environment variable with the address of the coordinator's database."""

_SHARDS = 4  # of each group: as few as show what several nodes do, since each has all partitions

_DELETIONS = [f"DELETE FROM {name}" for name in PLACEMENTS if name != migrations.MIGRATIONS_TABLE]  # our own names
"""Empty all tables: a TRUNCATE of the partitions of all shards would take seconds for each test."""
_EVENT_TRIGGERS = (
    "SELECT format('DROP EVENT TRIGGER %I', evtname) FROM pg_event_trigger WHERE evtname NOT LIKE 'citus%'"
)
_LEFT_BEHIND = """
SELECT format('DROP %s IF EXISTS %s CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
              WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass)
FROM pg_class AS c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND NOT relispartition AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
UNION ALL
SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', oid::regprocedure) FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
UNION ALL
SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace AS s
WHERE nspname <> 'public' AND nspname <> 'information_schema' AND NOT starts_with(nspname, 'pg_')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = s.oid AND deptype = 'e')
"""
"""The statements that remove what tests have made beside our tables."""
_ROWS_OF_MIGRATIONS = (
    "INSERT INTO command_numbers (name, next) VALUES ('request', 1)",
    "INSERT INTO host_progress (name, until) VALUES ('minutes', '-infinity')",
)
_LARGE_OBJECTS = "SELECT lo_unlink(oid) FROM pg_largeobject_metadata"


def url() -> str | None:
    """Return the address of the cluster's database, or None for a run without one."""
    return os.environ.get(CITUS) or None


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests with a database, and skip those that need a cluster where there is none."""
    for item in items:
        if url() is None:
            if item.get_closest_marker("citus") is not None:
                item.add_marker(pytest.mark.skip(reason=f"needs a cluster of Citus: {CITUS}"))
        elif "database_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.citus)


class CitusDatabases:
    """Gives the distributed database to one test after the other, as `Databases` does with copies of a template.

    A second database of the same test, as of a machine that joins a service, is on the coordinator alone.
    """

    def __init__(self, url: str) -> None:
        self._server, _, self._name = url.rpartition("/")
        self._taken = False
        self._as_made: object = None
        self._numbers = itertools.count()

    async def take(self) -> str:
        """Return the name of a database with all tables and no rows."""
        if self._taken:
            name = await self.create("second")
            async with self._connected(name) as connection:
                await migrations.apply(connection, migrations.collect(MIGRATED_FEATURES))
            return name
        async with self._connected(self._name) as connection:
            if self._as_made is None or await self._changed(connection):
                await self._make(connection)
            for statement in (*_DELETIONS, *_ROWS_OF_MIGRATIONS, _LARGE_OBJECTS):
                await connection.execute(statement)
        self._taken = True
        return self._name

    async def give_back(self, name: str) -> None:
        """Leave the rows of the distributed database, for a look at them after a failure; drop another one."""
        if name == self._name:
            self._taken = False
        else:
            await self.drop(name)

    async def create(self, prefix: str, options: str = "") -> str:
        """Create an empty database on the coordinator and return its name."""
        name = f"{prefix}_{os.getpid()}_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} {options}")
        return name

    async def drop(self, name: str) -> None:
        """End all connections to a database, and delete it."""
        await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    async def _execute(self, statement: str) -> None:
        async with self._connected("postgres") as connection:
            await connection.execute(statement)

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await asyncpg.connect(f"{self._server}/{name}")
        try:
            yield connection
        finally:
            await connection.close()

    async def _changed(self, connection: asyncpg.Connection[asyncpg.Record]) -> bool:
        """Return whether a test has changed some tables."""
        try:
            return await connection.fetchrow(STATE) != self._as_made
        except asyncpg.UndefinedTableError:
            return True

    async def _make(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Make the tables, anew after a test that has changed some: that takes seconds."""
        for row in await connection.fetch(_EVENT_TRIGGERS):
            await connection.execute(row[0])
        for name in PLACEMENTS:
            await connection.execute(f"DROP TABLE IF EXISTS {name} CASCADE")
        # Of a distributed table that was dropped, the shards are gone, too.
        for row in await connection.fetch(_LEFT_BEHIND):
            await connection.execute(row[0])
        await migrations.apply(connection, migrations.collect(MIGRATED_FEATURES), DISTRIBUTOR)
        await DISTRIBUTOR.distribute_all(connection, _SHARDS)
        await citus.set_visibility(connection)
        await TurretPartitions().ensure_ahead(connection, clock.now())
        await self._make_host_partitions()
        self._as_made = await connection.fetchrow(STATE)

    async def _make_host_partitions(self) -> None:
        database = Database(DatabaseSettings(url=f"{self._server}/{self._name}"), None)
        await database.open()
        for series in (SAMPLES, MINUTES):
            await HostPartitions(database).keep(series, clock.now(), datetime.min.replace(tzinfo=UTC))
        await database.close()
