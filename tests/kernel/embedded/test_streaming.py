"""Reads from a real streaming replica: two servers of which one replays what the other one writes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from structlog.testing import capture_logs

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.embedded.roles import ADMIN, DATABASE
from smartmob.kernel.runtime.replica_reads import ALLOWED
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import until


@pytest.fixture(name="home")
def _home(reachable_path: Path) -> Path:
    """Return the folder for the server."""
    return reachable_path / "postgres"


_IS_REPLICA = "SELECT pg_is_in_recovery()"


@asynccontextmanager
async def _replicated(home: Path) -> AsyncIterator[tuple[str, EmbeddedPostgres]]:
    """Start the server in `home` and a replica of it; yield the URL of a database with a placeholder, and it."""
    tasks, second = TaskRegistry(), home.with_name("replica")
    await asyncio.to_thread(subprocess.run, ["cp", "-a", home, second], check=True)
    source = f"host={home}/socket user={ADMIN}"
    with (second / "cluster" / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{source}'\nwal_retrieve_retry_interval = '100ms'\n")
    (second / "cluster" / "standby.signal").touch()
    status = (second / "cluster").stat()
    os.chown(second / "cluster" / "standby.signal", status.st_uid, status.st_gid)
    primary, replica = EmbeddedPostgres(home, tasks), EmbeddedPostgres(second, tasks)
    try:
        await primary.start()
        replica._locate()
        replica._launch()
        yield f"postgresql://{ADMIN}@/{DATABASE}?host={{}}", replica
    finally:
        for server in (replica, primary):
            await server.stop()
        await tasks.close()


async def test_requests_are_answered_from_the_replica_while_it_is_there_and_not_behind(made_home: Path) -> None:
    """Background work never is; a replica that is behind, or away, is told once in the log, and costs no request."""
    async with _replicated(made_home) as (url, replica):
        ours, theirs = (url.format(quote(f"{folder}/socket", safe="")) for folder in (made_home, replica.home))
        database = Database(DatabaseSettings(url=ours, read_url=theirs, read_lag=1.0), None)
        await database.open()
        admin = await asyncpg.connect(theirs)
        try:
            with capture_logs() as logs:
                assert await database.reader.fetchval(_IS_REPLICA) is False
                ALLOWED.set(True)
                assert database.replica is not None

                async def read(wanted: bool) -> bool:
                    async with database.reader.acquire() as connection:
                        of_stream = await connection.fetchval(_IS_REPLICA)
                    return of_stream is wanted and await database.reader.fetchval(_IS_REPLICA) is wanted

                async def noted(text: str) -> bool:
                    return text in str(await database.replica.note())

                await until(lambda: read(True))
                await until(lambda: noted("None"))
                await admin.execute("SELECT pg_wal_replay_pause()")
                await database.run(lambda connection: connection.execute("CREATE TABLE later (n integer)"))
                await until(lambda: noted("the replica is not read: it is"))
                await until(lambda: read(False))
                await until(lambda: noted(" s behind"))
                assert await database.reader.fetch("SELECT * FROM later") == []
                await admin.execute("SELECT pg_wal_replay_resume()")
                await until(lambda: read(True))
                assert await database.reader.fetch("SELECT * FROM later") == []

                replica.stop_at_once()
                assert await database.reader.fetch("SELECT * FROM later") == []
                await until(lambda: noted("the replica is not read: "))
                assert await read(False)
            events = [line["event"] for line in logs if line["event"].startswith("replica.")]
            assert {"replica.skipped", "replica.resumed"} == set(events)
            # Once for each change, however many requests there are.
            assert all(one != following for one, following in pairwise(events))
        finally:
            admin.terminate()
            await database.close()
