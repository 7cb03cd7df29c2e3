"""The roles of the embedded PostgreSQL: in new clusters, and in clusters of an earlier smartmob."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from smartmob.kernel.embedded import roles
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.embedded.roles import ADMIN, ROLE, UPGRADER
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.kernel.embedded.earlier import connected
from tests.waiting import until

_ROLES = """
SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles
WHERE rolname NOT LIKE 'pg\\_%' ORDER BY rolname
"""
_OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
WHERE relnamespace IN ('public'::regnamespace, 'own'::regnamespace) AND relkind <> 'S'
"""
_STEPS = 9
"""The number of changes that bring the cluster of `earlier` up to date."""


@pytest.fixture(name="home")
def _home(reachable_path: Path) -> Path:
    """Return the folder for the server."""
    return reachable_path / "postgres"


@pytest.fixture(name="postgres")
async def _postgres(home: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Return an embedded server that is stopped at the end."""
    tasks = TaskRegistry()
    postgres = EmbeddedPostgres(home, tasks)
    yield postgres
    await postgres.stop()
    await tasks.close()


@pytest.fixture(name="earlier")
async def _earlier(earlier_home: Path, postgres: Any) -> str:
    """Return the folder of the socket of a running server of an earlier smartmob."""
    postgres._locate()
    postgres._launch()
    host = f"{earlier_home}/socket"
    connection = await connected(host, ROLE)
    assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    await connection.close()
    return host


async def _check(host: str) -> None:
    """Assert that the roles and the owner of the database are right."""
    admin = await connected(host, ADMIN)
    plain, all_rights = (False,) * 5, (True,) * 5
    assert [tuple(row) for row in await admin.fetch(_ROLES)] == [(ROLE, *plain), (ADMIN, *all_rights)]
    assert await admin.fetchval("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'smartmob'") == ROLE
    await admin.close()


async def _check_upgraded(host: str) -> None:
    await _check(host)
    own = await connected(host, ROLE)
    assert await own.fetchval("INSERT INTO kept (n) VALUES (8) RETURNING id") > 1
    assert await own.fetchval("SELECT min(n) FROM own.seen") == 7
    assert [row[0] for row in await own.fetch(_OWNERS)] == [ROLE]
    await own.execute("CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-01-02') TO ('2026-01-03')")
    await own.execute("DROP TABLE days, kept CASCADE")
    await own.close()


async def test_the_role_of_the_service_has_no_special_rights(postgres: Any) -> None:
    """It owns its database, is not a superuser, and cannot run programs or read files of the server."""
    address = await postgres.start()

    assert (address.user, address.database) == (ROLE, "smartmob")
    await _check(address.host)
    own = await connected(address.host, ROLE)
    for statement in (
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "CREATE ROLE another",
        f"SET ROLE {ADMIN}",
        "ALTER SYSTEM SET archive_command = 'true'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute(statement)
    await own.close()


async def test_a_cluster_of_an_earlier_smartmob_gets_an_administrator(postgres: Any, earlier: str) -> None:
    """Its superuser becomes the administrator, the new role owns everything, and a second call changes nothing."""
    done = [step async for step in roles.steps(earlier)]

    assert len(done) == _STEPS
    assert [step async for step in roles.steps(earlier)] == []
    await _check_upgraded(earlier)


@pytest.mark.parametrize("cut", range(1, _STEPS))
async def test_an_interrupted_change_of_roles_is_completed(home: Path, postgres: Any, earlier: str, cut: int) -> None:
    """The server ends after any step, and the next start makes the remaining changes."""
    changes = roles.steps(earlier)
    for _ in range(cut):
        await anext(changes)
    await changes.aclose()
    pid = postgres.pid()
    os.kill(pid, signal.SIGQUIT)
    await until(partial(_gone, pid))

    address = await postgres.start()

    await _check_upgraded(address.host)


async def test_a_server_of_an_earlier_smartmob_that_was_taken_over_reads_the_new_rules(
    home: Path, postgres: Any, earlier: str
) -> None:
    """It ran with the earlier rules of access."""
    rules = home / "cluster" / "pg_hba.conf"
    rules.write_text(f"local all {ROLE} peer map=smartmob\n")
    mapping = home / "cluster" / "pg_ident.conf"
    mapping.write_text("".join(line for line in mapping.read_text().splitlines(True) if line.split()[-1] == ROLE))
    connection = await connected(earlier, ROLE)
    await connection.fetchval("SELECT pg_reload_conf()")
    await until(partial(_is_refused, earlier, ADMIN))
    await connection.close()
    pid = postgres.pid()

    address = await postgres.start()

    assert postgres.pid() == pid
    await _check_upgraded(address.host)
    assert UPGRADER in rules.read_text()


async def test_rights_that_were_added_to_the_role_are_removed(postgres: Any) -> None:
    """A role that was made a superuser by hand is not one after the next start."""
    address = await postgres.start()
    admin = await connected(address.host, ADMIN)
    await admin.execute(f"ALTER ROLE {ROLE} SUPERUSER CREATEROLE")
    await admin.close()

    await roles.arrange(address.host)

    await _check(address.host)


async def _is_refused(host: str, role: str) -> bool:
    """Return whether the server has no rule for a role."""
    try:
        connection = await connected(host, role)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        return "no pg_hba.conf entry" in str(error)
    await connection.close()
    return False


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
