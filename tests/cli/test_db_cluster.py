"""`smartmob db distribute` and `rebalance`: refusals without Citus, and the tables that `db status` shows."""

from __future__ import annotations

import asyncio

import pytest

from smartmob.cli import db_cluster
from smartmob.kernel.db import citus
from smartmob.kernel.db.cluster_status import ClusterNode, ClusterStatus, ShardGroup
from smartmob.kernel.db.database import Database
from tests.acceptance.commands import run
from tests.lock_waits import waits_for_lock
from tests.waiting import until


async def test_a_database_without_citus_is_refused(empty_url: str) -> None:
    """One line says what is missing, and the command ends with 1."""
    code, output, errors = await run("db", "distribute", "--dry-run", DATABASE_URL=empty_url)

    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "this database has no Citus: install it on all nodes, CREATE EXTENSION citus" in errors


def test_the_cluster_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The nodes with their shards, the groups of tables with their skew, and the tables that are left."""
    nodes = [ClusterNode("a:5432", True, True, 2, 1_000), ClusterNode("b:5432", False, False, 32, 9_000)]
    groups = [ShardGroup("sessions", ["test_metrics", "test_sessions"], 32, 9_000, 1.254)]

    db_cluster.print_cluster(ClusterStatus("13.2-1", nodes, groups, ["marks"], {}))

    output, errors = capsys.readouterr()
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "Nodes of Citus 13.2-1" in lines
    assert "a:5432 coordinator yes 2 1.0 kB" in lines
    assert "b:5432 - no 32 9.0 kB" in lines
    assert "sessions 32 9.0 kB 1.25 test_metrics, test_sessions" in lines
    assert errors == "not distributed yet: marks (smartmob db distribute)\n"


@pytest.mark.citus
async def test_a_command_waits_for_another(database: Database) -> None:
    """It plans only then, so that it does not distribute a table for the second time."""
    async with database.acquire() as connection:
        await citus.wait_for_others(connection)
        try:
            command = asyncio.ensure_future(run("db", "distribute", DATABASE_URL=database.url))
            await until(lambda: database.run(waits_for_lock))
        finally:
            await connection.execute("SELECT pg_advisory_unlock_all()")
    code, _, errors = await command

    assert (code, errors) == (0, "nothing to do: all tables are where they belong in the external database\n")
