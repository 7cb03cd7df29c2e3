"""Archives of other origin: nothing in them is executed, and only rows of known tables are restored."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from smartmob.errors import DatabaseError, InvalidInput
from smartmob.kernel.db import migrations
from smartmob.kernel.maintenance import postgres_tools
from smartmob.kernel.maintenance.backup import dump
from smartmob.kernel.maintenance.restore import restore
from smartmob.stored_features import PARTITIONS
from tests import citus_databases
from tests.databases import as_admin
from tests.kernel.maintenance.conftest import KNOWN

_HOSTILE = """
CREATE FUNCTION hostile() RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE $c$COPY (SELECT 1) TO PROGRAM 'cat > {seen}'$c$; RETURN 'x'; END $$;
CREATE FUNCTION hostile_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile(); RETURN NEW; END $$;
CREATE FUNCTION hostile_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile(); END $$;
CREATE VIEW hostile_view AS SELECT hostile();
CREATE MATERIALIZED VIEW hostile_materialized AS SELECT hostile();
CREATE RULE hostile_rule AS ON INSERT TO hosts DO ALSO SELECT hostile();
CREATE TRIGGER hostile_trigger BEFORE INSERT ON command_numbers FOR EACH ROW EXECUTE FUNCTION hostile_trigger();
ALTER TABLE command_numbers ENABLE ALWAYS TRIGGER hostile_trigger;
ALTER TABLE marks ALTER COLUMN author SET DEFAULT hostile();
CREATE INDEX hostile_index ON marks (lower(text));
CREATE EVENT TRIGGER hostile_event ON ddl_command_end EXECUTE FUNCTION hostile_event();
"""
_OBJECTS = """
SELECT 'class ' || relname AS name FROM pg_class WHERE relname LIKE 'hostile%'
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE proname LIKE 'hostile%'
UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE 'hostile%'
UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger WHERE evtname LIKE 'hostile%'
UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE rulename LIKE 'hostile%'
UNION ALL SELECT 'default ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
          WHERE pg_get_expr(adbin, adrelid) LIKE '%hostile%'
"""
_TOC = b"COPY public.command_jobs ("
"""The text before the rows of a table in the list of contents of an archive."""


def _unseen(*_: object) -> None:
    """Ignore the progress."""


@pytest.fixture(name="admin")
async def _admin(database_url: str) -> AsyncIterator[Any]:
    """Return a connection of the superuser to a database with all tables."""
    connection = await asyncpg.connect(as_admin(database_url))
    yield connection
    await connection.close()


@pytest.fixture(name="seen")
def _seen(reachable_path: Path) -> Path:
    """Return the path of the file that a command of an archive would make."""
    reachable_path.chmod(0o777)
    return reachable_path / "seen"


async def _archive(reached: Any, url: str, path: Path) -> Path:
    """Make an archive of a whole database with pg_dump; on Citus it must not see the shards."""
    whole = url if citus_databases.url() is None else f"{url}?citus.override_table_visibility=on"
    tools = postgres_tools.find(await reached(whole))
    async with tools.run("pg_dump", "--format=custom", f"--file={path}", "--dbname", tools.address):
        pass
    return path


async def _names(url: str) -> set[str]:
    """Return the names of all tables and views."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    await connection.close()
    return {row["relname"] for row in rows}


async def test_only_rows_are_restored(
    reached: Any, database_url: str, empty_url: str, admin: Any, seen: Path, tmp_path: Path
) -> None:
    """Views, functions, triggers, rules, defaults and event triggers of an archive are neither made nor run."""
    await admin.execute("INSERT INTO marks VALUES (gen_random_uuid(), now(), 'kept', '', now())")
    await admin.execute(_HOSTILE.format(seen=seen))
    found = {row["name"] for row in await admin.fetch(_OBJECTS)}
    assert {name.rpartition(" ")[0] for name in found} == {
        *("class", "function", "trigger", "event trigger", "rule", "default"),
    }
    path = await _archive(reached, as_admin(database_url), tmp_path / "hostile.dump")
    seen.unlink(missing_ok=True)

    await restore(await reached(as_admin(empty_url)), path, PARTITIONS, force=False, progress=_unseen)

    target = await asyncpg.connect(as_admin(empty_url))
    assert await target.fetch(_OBJECTS) == []
    assert await target.fetchval("SELECT text FROM marks") == "kept"
    await target.close()
    assert not seen.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE extra AS SELECT 1 AS n",
        'CREATE TABLE "marks"" (id) FROM PROGRAM \'touch x\'; --" AS SELECT 1 AS n',
        'CREATE TABLE "Marks" AS SELECT 1 AS n',
        "CREATE SCHEMA extra; CREATE TABLE extra.other AS SELECT 1 AS n",
        "ALTER TABLE marks ADD COLUMN extra text",
        "CREATE TABLE extra_20261120 PARTITION OF host_samples FOR VALUES FROM ('2026-11-20') TO ('2026-11-21')",
        "CREATE TABLE host_samples_20261340 PARTITION OF host_samples FOR VALUES FROM ('2025-1-1') TO ('2025-1-2')",
        "CREATE TABLE host_samples_202501 PARTITION OF host_samples FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')",
        "CREATE SEQUENCE extra; SELECT nextval('extra')",
        "SELECT lo_from_bytea(0, 'x')",
    ],
)
async def test_archives_with_other_objects_are_refused(
    reached: Any, database_url: str, empty_url: str, admin: Any, tmp_path: Path, statement: str
) -> None:
    """Rows of other tables, columns or partitions, sequences and large objects give one line, and nothing is made."""
    await admin.execute(statement)
    path = await _archive(reached, as_admin(database_url), tmp_path / "foreign.dump")

    with pytest.raises(InvalidInput, match="the file holds") as caught:
        await restore(await reached(empty_url), path, PARTITIONS, force=False, progress=_unseen)

    assert "\n" not in str(caught.value)
    assert await _names(empty_url) == set()


async def test_rows_outside_of_their_partition_are_refused(
    reached: Any, database_url: str, empty_url: str, admin: Any, tmp_path: Path
) -> None:
    """A partition is made for the time in its name, and not for the bounds in the archive."""
    await admin.execute(
        "CREATE TABLE host_samples_20250101 PARTITION OF host_samples FOR VALUES FROM ('2024-1-1') TO ('2024-1-2');"
        "INSERT INTO host_samples (host, at, n) VALUES ('x', '2024-1-1 01:00+00', 1)"
    )
    path = await _archive(reached, as_admin(database_url), tmp_path / "foreign.dump")

    with pytest.raises(InvalidInput, match="violates partition constraint"):
        await restore(await reached(empty_url), path, PARTITIONS, force=False, progress=_unseen)

    assert await _names(empty_url) == set()


@pytest.mark.parametrize(
    "text",
    [
        "\\! touch {seen}",
        "COPY public.command_jobs FROM PROGRAM 'touch {seen}; cat /dev/null';",
        "COPY (SELECT 1) TO PROGRAM 'touch {seen}'; COPY public.command_jobs FROM stdin;",
        "COPY public.command_jobs (job_id) FROM stdin; -- {seen}\n\\.\n\\! touch {seen}\n",
        'COPY public."command_jobs; \\! touch {seen}" (job_id) FROM stdin;',
        "COPY public.command_jobs (\"job_id) FROM PROGRAM 'touch {seen}'; --\") FROM stdin;",
        "SELECT pg_catalog.setval('x', 1); \\! touch {seen}",
        "SET client_encoding = 'UTF8'; \\! touch {seen}",
        "-- a comment\n\\! touch {seen}",
        "\\restrict x\n\\unrestrict x\n\\! touch {seen}",
    ],
)
async def test_text_in_the_list_of_contents_is_never_executed(
    reached: Any, database_url: str, empty_url: str, seen: Path, tmp_path: Path, text: str
) -> None:
    """Statements and psql commands instead of a COPY are refused in one line, and nothing is made."""
    path = tmp_path / "a.dump"
    await dump(await reached(as_admin(database_url)), path, io.BytesIO(), _unseen)
    path.with_name("a.dump.sha256").unlink()
    data = path.read_bytes()
    start = data.index(_TOC)
    end = data.index(b"\n", start)
    hostile = text.format(seen=seen).encode()
    assert len(hostile) <= end - start
    path.write_bytes(data[:start] + hostile.ljust(end - start) + data[end:])

    with pytest.raises((InvalidInput, DatabaseError)) as caught:
        await restore(await reached(as_admin(empty_url)), path, PARTITIONS, force=False, progress=_unseen)

    assert "\n" not in str(caught.value)
    assert not seen.exists()
    assert await _names(empty_url) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO schema_migrations VALUES ('metrics', 999, 'x', 'x')",
        "UPDATE schema_migrations SET checksum = 'x' WHERE room = 'hosts'",
        "DELETE FROM schema_migrations WHERE room = 'metrics' AND number = 1",
        "DELETE FROM schema_migrations",
        "ALTER TABLE schema_migrations RENAME COLUMN room TO rooms",
        "UPDATE schema_migrations SET name = repeat('x', 2000000) WHERE room = 'hosts'",
        "DELETE FROM schema_migrations WHERE room = 'marks'",
    ],
)
async def test_a_ledger_that_does_not_fit_is_refused(
    reached: Any, database_url: str, empty_url: str, admin: Any, tmp_path: Path, statement: str
) -> None:
    """The migrations of an archive must be known, unchanged and without gaps, and must have made its tables."""
    await admin.execute(statement)
    path = await _archive(reached, as_admin(database_url), tmp_path / "foreign.dump")

    with pytest.raises((InvalidInput, DatabaseError)):
        await restore(await reached(empty_url), path, PARTITIONS, force=False, progress=_unseen)

    assert await _names(empty_url) == set()


async def test_unknown_features_are_removed_from_the_ledger(
    reached: Any, database_url: str, empty_url: str, admin: Any, tmp_path: Path
) -> None:
    """Their tables are not restored, so their migrations count as missing."""
    await admin.execute("INSERT INTO schema_migrations VALUES ('unknown', 1, '0001_x.sql', 'x')")
    path = await _archive(reached, as_admin(database_url), tmp_path / "foreign.dump")

    await restore(await reached(empty_url), path, PARTITIONS, force=False, progress=_unseen)

    target = await asyncpg.connect(empty_url)
    assert set(await migrations.applied(target)) == {(one.feature, one.number) for one in KNOWN}
    await target.close()
