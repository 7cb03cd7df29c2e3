"""The distributed database of a run with SMARTMOB_TEST_CITUS_URL, which all tests of the run use one after the other.

The address is that of an empty database on the coordinator, with the extension and the nodes. The tests must run in one
process. `-m citus` runs those of the stores.
"""

from __future__ import annotations

import os
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
from smartmob.turrets.store.partitions import Partitions as TurretPartitions

CITUS = "SMARTMOB_TEST_CITUS_URL"
"""The environment variable with the address of the coordinator's database."""

_SHARDS = 4  # of each group: as few as show what several nodes do, since each has all partitions

_TABLES = ", ".join(name for name in PLACEMENTS if name != migrations.LEDGER)
_ROWS_OF_MIGRATIONS = (
    "INSERT INTO command_numbers (name, next) VALUES ('request', 1)",
    "INSERT INTO host_progress (name, until) VALUES ('minutes', '-infinity')",
)


def url() -> str | None:
    """Return the address of the cluster's database, or None for a run without one."""
    return os.environ.get(CITUS) or None


def mark(items: list[pytest.Item]) -> None:
    """Mark the tests of the stores, and skip those that need a cluster where there is none."""
    for item in items:
        if url() is None:
            if item.get_closest_marker("citus") is not None:
                item.add_marker(pytest.mark.skip(reason=f"needs a cluster of Citus: {CITUS}"))
        elif "database" in getattr(item, "fixturenames", ()) and "store" in item.nodeid.partition("::")[0]:
            item.add_marker(pytest.mark.citus)


class CitusDatabases:
    """Gives the distributed database to one test after the other, as `Databases` does with copies of a template."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ready = False

    async def take(self) -> str:
        """Return the name of the database, with all tables and no rows."""
        connection = await asyncpg.connect(self._url)
        try:
            if not self._ready:
                await migrations.apply(connection, migrations.collect(MIGRATED_FEATURES), DISTRIBUTOR)
                await DISTRIBUTOR.distribute_all(connection, _SHARDS)
                await citus.set_visibility(connection)
                await TurretPartitions().ensure_ahead(connection, clock.now())
                await self._make_host_partitions()
                self._ready = True
            await connection.execute(f"TRUNCATE {_TABLES}")
            for statement in _ROWS_OF_MIGRATIONS:
                await connection.execute(statement)
        finally:
            await connection.close()
        return self._url.rpartition("/")[2]

    async def _make_host_partitions(self) -> None:
        database = Database(DatabaseSettings(url=self._url), None)
        await database.open()
        for series in (SAMPLES, MINUTES):
            await HostPartitions(database).keep(series, clock.now(), datetime.min.replace(tzinfo=UTC))
        await database.close()

    async def give_back(self, name: str) -> None:
        """Leave the rows, for a look at them after a failure."""

    def close(self) -> None:
        """Do nothing: no connection is kept."""
