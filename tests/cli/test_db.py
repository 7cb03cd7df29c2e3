"""`smartmob db`: what the commands print, and how they end."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.acceptance.commands import run
from tests.cli.terminal import typed

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(name="db")
def _db(database_url: str) -> Any:
    """Return the caller of `smartmob db` with the test's own database."""
    return partial(run, "db", DATABASE_URL=database_url)


async def test_status_has_the_version_the_backup_and_each_table(db: Any) -> None:
    """Version, migrations, the last backup and each table; JSON says the same."""
    code, output, errors = await db("status")
    assert (code, errors) == (0, "")
    lines = {" ".join(line.split()) for line in output.splitlines()}
    assert "last backup none that was made by smartmob db dump" in lines
    assert any(line.startswith("PostgreSQL 18.") for line in lines)
    assert any(line.startswith("marks ") for line in lines)
    status = json.loads((await db("status", "--json"))[1])
    assert (status["missing"], status["wrong"], status["serving"]) == ([], None, False)
    assert {"schema", "name", "rows", "bytes", "partitions"} == set(status["tables"][0])


async def test_a_migration_that_the_server_refuses_is_told_in_one_line(empty_url: str) -> None:
    """The database is unchanged, and the line has the server's reason."""
    connection = await asyncpg.connect(empty_url)
    await connection.execute("CREATE TABLE marks (n integer)")
    await connection.close()

    code, output, errors = await run("db", "migrate", DATABASE_URL=empty_url)

    assert (code, output) == (1, "")
    assert errors.splitlines()[-1] == (
        'smartmob: the tables of the service cannot be brought up to date (relation "marks" already exists)'
    )
    assert "Traceback" not in errors


async def test_missing_migrations_are_applied_once(db: Any, database_url: str) -> None:
    """Missing migrations are applied once, and status ends with 1 until then."""
    admin = await asyncpg.connect(database_url)
    await admin.execute("DROP TABLE marks; DELETE FROM schema_migrations WHERE room = 'marks'")
    await admin.close()
    code, output, _ = await db("status")
    assert code == 1
    assert "missing: marks/0001_marks.sql (smartmob db migrate)" in " ".join(output.split())
    code, _, errors = await db("migrate")
    assert (code, "1 migration applied" in errors) == (0, True)
    assert json.loads((await db("migrate", "--json"))[1])["applied"] == 0
    code, _, errors = await db("migrate")
    assert (code, "nothing to do" in errors) == (0, True)


async def test_a_backup_is_restored_over_existing_rows_only_by_force(db: Any, tmp_path: Path) -> None:
    """A backup is made, known, refused where something is, and put back by force; then the tables are cleaned up."""
    file = tmp_path / "a.dump"
    code, output, errors = await db("dump", file)
    assert (code, output) == (0, "")
    assert errors.startswith(f"{file}: ")
    assert str(file) in "".join((await db("status"))[1].split())
    code, _, errors = await db("restore", file)
    assert (code, "--force" in errors) == (1, True)
    code, output, _ = await db("restore", file, "--force", "--json")
    restored = json.loads(output)
    assert (code, restored["replaced"] > 20, restored["checked"]) == (0, True, True)
    file.with_name("a.dump.sha256").unlink()
    code, _, errors = await db("restore", file, "--force")
    assert (code, "checksum was not checked: there is no a.dump.sha256" in " ".join(errors.split())) == (0, True)
    code, output, _ = await db("vacuum", "--json")
    assert code == 0
    assert {"table", "rows", "bytes", "bytes_before"} == set(json.loads(output)[0])
    assert "marks" in (await db("vacuum"))[1]


async def test_files_are_for_their_owner_only(db: Any, tmp_path: Path) -> None:
    """Only the owner can read a backup and its checksum, whatever the umask is."""
    umask = os.umask(0)
    try:
        code, _, _ = await db("dump", tmp_path / "a.dump")
    finally:
        os.umask(umask)
    assert code == 0
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("a.dump*")}
    assert modes == {"a.dump": 0o600, "a.dump.sha256": 0o600}


async def test_a_backup_goes_into_a_pipe_but_not_onto_a_terminal(db: Any) -> None:
    """A backup goes into a pipe, and not onto a terminal or between JSON."""
    code, _, errors = await db("dump", "-", "--json")
    assert (code, "cannot be combined with --json" in errors) == (2, True)


async def test_a_terminal_gets_a_bar_during_a_backup(database_url: str, tmp_path: Path) -> None:
    """It sees a bar while a backup is made."""
    async with typed("db", "dump", tmp_path / "a.dump", terminal=True, DATABASE_URL=database_url) as command:
        await command.says("SHA-256", "done")
        assert await command.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("status", "--data-dir", "/nonexistent/x"), 1, "no embedded database"),
        (("restore", "/nonexistent/x"), 1, "cannot read"),
        (("restore",), 2, "missing argument"),
        (("status", "--config", "/nonexistent/x"), 2, "cannot read the configuration file"),
    ],
)
async def test_errors_are_one_line_with_the_next_step(
    database_url: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """Each error has an exit code."""
    env = {} if "--data-dir" in arguments else {"DATABASE_URL": database_url}
    ended, output, errors = await run("db", *arguments, **env)
    assert (ended, output) == (code, "")
    assert said in errors
    assert "Traceback" not in errors
