"""Migrations on a real database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import _LOCK, Migration, apply, collect
from smartmob.stored_features import MIGRATED_FEATURES

ONE = Migration("feature", 1, "0001_one.sql", "CREATE TABLE one (n integer); INSERT INTO one VALUES (1)")
TWO = Migration("feature", 2, "0002_two.sql", "INSERT INTO one VALUES (2)")
OTHER = Migration("other", 1, "0001_other.sql", "CREATE TABLE other (n integer)")
UNLIMITED = Migration(
    "feature",
    1,
    "0001_unlimited.sql",
    "DO $$ BEGIN ASSERT current_setting('statement_timeout') = '0'; ASSERT current_setting('lock_timeout') = '0'; "
    "ASSERT current_setting('transaction_isolation') = 'read committed'; END $$",
)
BROKEN = Migration("feature", 3, "0003_broken.sql", "CREATE TABLE half (n integer); SELECT no_such_function()")

_numbers = itertools.count()


@pytest.fixture(name="connection")
async def _connection(schema_url: str) -> AsyncIterator[Connection]:
    """Return a connection to an empty schema."""
    connection = await asyncpg.connect(schema_url)
    yield connection
    await connection.close()


async def _rows(connection: Connection) -> list[int]:
    return [row["n"] for row in await connection.fetch("SELECT n FROM one ORDER BY n")]


async def _ledger(connection: Connection) -> list[tuple[str, int]]:
    rows = await connection.fetch("SELECT room, number FROM schema_migrations ORDER BY room, number")
    return [(row["room"], row["number"]) for row in rows]


async def _locks(connection: Connection) -> int:
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
    )


class TestApply:
    """Applying migrations."""

    async def test_all_migrations_are_applied_in_order_and_recorded(self, connection: Connection) -> None:
        """The checksum of each is recorded, too."""
        assert await apply(connection, [OTHER, ONE, TWO]) == 3

        assert await _rows(connection) == [1, 2]
        assert await _ledger(connection) == [("feature", 1), ("feature", 2), ("other", 1)]
        assert (
            await connection.fetchval("SELECT checksum FROM schema_migrations WHERE room = 'other'") == OTHER.checksum
        )
        assert await _locks(connection) == 0

    async def test_a_second_call_applies_nothing(self, connection: Connection, schema_url: str) -> None:
        """There is nothing left to do, so it does not wait for another service that applies migrations."""
        await apply(connection, [ONE, TWO])

        other = await asyncpg.connect(schema_url)
        await other.execute("SELECT pg_advisory_lock($1)", _LOCK)
        assert await apply(connection, [ONE, TWO]) == 0
        await other.close()
        assert await _rows(connection) == [1, 2]

    async def test_only_missing_migrations_are_applied(self, connection: Connection) -> None:
        """A later version has further migrations, and a new feature has its own."""
        await apply(connection, [ONE])

        assert await apply(connection, [OTHER, ONE, TWO]) == 2
        assert await _rows(connection) == [1, 2]

    async def test_without_migrations_nothing_is_applied(self, connection: Connection) -> None:
        """The number of applied migrations is 0."""
        assert await apply(connection, []) == 0

    async def test_an_edited_migration_stops_the_start(self, connection: Connection) -> None:
        """Nothing is applied then."""
        await apply(connection, [ONE])
        edited = Migration("feature", 1, "0001_one.sql", ONE.sql + " ")

        with pytest.raises(DatabaseError, match=r"0001_one\.sql of feature was changed after it had been applied"):
            await apply(connection, [edited, TWO])

        assert await _rows(connection) == [1]
        assert await _locks(connection) == 0

    async def test_a_newer_database_is_refused_and_unchanged(self, connection: Connection) -> None:
        """The error names the unknown migration."""
        await apply(connection, [ONE, TWO])

        with pytest.raises(DatabaseError, match=r"newer smartmob \(migration 0002 of feature\)"):
            await apply(connection, [OTHER, ONE])

        assert await _ledger(connection) == [("feature", 1), ("feature", 2)]
        assert await _locks(connection) == 0

    async def test_tables_of_an_unknown_feature_are_left_alone(self, connection: Connection) -> None:
        """This version may not have that feature."""
        await apply(connection, [OTHER, ONE])

        assert await apply(connection, [ONE]) == 0

    async def test_a_failed_migration_is_rolled_back_and_can_be_repeated(self, connection: Connection) -> None:
        """It is not recorded; those before it stay."""
        with pytest.raises(asyncpg.UndefinedFunctionError):
            await apply(connection, [ONE, TWO, BROKEN])

        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert await _ledger(connection) == [("feature", 1), ("feature", 2)]
        assert await _locks(connection) == 0
        corrected = Migration("feature", 3, BROKEN.name, "CREATE TABLE half (n integer)")
        assert await apply(connection, [ONE, TWO, corrected]) == 1

    async def test_limits_of_the_role_do_not_end_a_migration(self, connection: Connection, schema_url: str) -> None:
        """It waits for another service, and takes its time."""
        await connection.execute("SET lock_timeout = 1")
        await connection.execute("SET statement_timeout = 800000")
        await connection.execute("SET default_transaction_isolation = 'serializable'")
        waits = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = {connection.get_server_pid()}"
        other = await asyncpg.connect(schema_url)
        await other.execute("SELECT pg_advisory_lock($1)", _LOCK)

        applying = asyncio.create_task(apply(connection, [UNLIMITED]))
        while not applying.done() and not await other.fetchval(waits):
            pass
        for _ in range(20):  # the time of the limit passes meanwhile
            await other.fetchval(waits)
        await other.close()

        assert await applying == 1
        assert await connection.fetchval("SHOW lock_timeout") == "1ms"

    async def test_services_that_start_at_once_apply_each_migration_once(self, schema_url: str) -> None:
        """One applies them, and the others wait for it."""
        connections = [await asyncpg.connect(schema_url) for _ in range(4)]

        done = await asyncio.gather(*(apply(connection, [OTHER, ONE, TWO]) for connection in connections))

        assert sorted(done) == [0, 0, 0, 3]
        assert await _rows(connections[0]) == [1, 2]
        for connection in connections:
            await connection.close()


class TestCollect:
    """Finding the migrations of features."""

    def test_the_migrations_of_each_feature_are_numbered_without_gaps(self) -> None:
        """They start with 1."""
        for feature in MIGRATED_FEATURES:
            numbers = [migration.number for migration in collect({feature: MIGRATED_FEATURES[feature]})]

            assert numbers == list(range(1, len(numbers) + 1))
            assert numbers

    async def test_the_real_migrations_apply_to_an_empty_database(self, connection: Connection) -> None:
        """After that nothing is left to do."""
        wanted = collect(MIGRATED_FEATURES)

        assert await apply(connection, wanted) == len(wanted)
        assert await apply(connection, wanted) == 0

    def test_migrations_are_sorted_by_feature_and_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files with other names are ignored."""
        monkeypatch.syspath_prepend(tmp_path)
        features = [f"feature_with_migrations_{next(_numbers)}" for _ in range(2)]
        for feature in features:
            folder = tmp_path / feature / "migrations"
            folder.mkdir(parents=True)
            (tmp_path / feature / "__init__.py").write_text("")
            for name in ("0010_last.sql", "0002_next.sql", "0001_first.sql", "README.md", "0003_x.sql.orig", "3_x.sql"):
                (folder / name).write_text(f"-- {name} ü", encoding="utf-8")

        found = collect({feature: feature for feature in reversed(features)})

        assert [(migration.feature, migration.number) for migration in found] == [
            (feature, number) for feature in features for number in (1, 2, 10)
        ]
        assert (found[0].name, found[0].sql) == ("0001_first.sql", "-- 0001_first.sql ü")

    def test_a_changed_text_changes_the_checksum(self) -> None:
        """The name of the file does not."""
        assert ONE.checksum == Migration("x", 9, "0009_x.sql", ONE.sql).checksum
        assert ONE.checksum != Migration("feature", 1, "0001_one.sql", ONE.sql + "\n").checksum


def test_the_statements_of_a_migration_are_told_apart() -> None:
    """Comments, in which there may be semicolons, are left out; each of ours begins with a verb of SQL."""
    migration = Migration(
        "f", 1, "0001_f.sql", "-- One; two.\nCREATE TABLE a (n integer); -- three;\n\nDROP TABLE a;\n"
    )
    assert migration.statements == ["CREATE TABLE a (n integer)", "DROP TABLE a"]

    ours = [statement for each in collect(MIGRATED_FEATURES) for statement in each.statements]
    assert len(ours) > 60
    assert {statement.split()[0] for statement in ours} == {"CREATE", "ALTER", "DROP", "INSERT", "UPDATE"}
