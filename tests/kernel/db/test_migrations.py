"""Migrations on a real database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from smartmob.app import MIGRATED_FEATURES
from smartmob.errors import DatabaseError
from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.migrations import Migration, apply, collect

ONE = Migration("room", 1, "0001_one.sql", "CREATE TABLE one (n integer); INSERT INTO one VALUES (1)")
TWO = Migration("room", 2, "0002_two.sql", "INSERT INTO one VALUES (2)")
OTHER = Migration("other", 1, "0001_other.sql", "CREATE TABLE other (n integer)")
BROKEN = Migration("room", 3, "0003_broken.sql", "CREATE TABLE half (n integer); SELECT no_such_function()")

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
    """Bringing tables up to date."""

    async def test_from_empty(self, connection: Connection) -> None:
        """Every migration is applied in order and recorded with its checksum."""
        assert await apply(connection, [OTHER, ONE, TWO]) == 3

        assert await _rows(connection) == [1, 2]
        assert await _ledger(connection) == [("other", 1), ("room", 1), ("room", 2)]
        assert (
            await connection.fetchval("SELECT checksum FROM schema_migrations WHERE room = 'other'") == OTHER.checksum
        )
        assert await _locks(connection) == 0

    async def test_twice(self, connection: Connection) -> None:
        """The second time there is nothing to do."""
        await apply(connection, [ONE, TWO])

        assert await apply(connection, [ONE, TWO]) == 0
        assert await _rows(connection) == [1, 2]

    async def test_only_what_is_missing(self, connection: Connection) -> None:
        """A later version adds its own steps, and a new room all of its."""
        await apply(connection, [ONE])

        assert await apply(connection, [OTHER, ONE, TWO]) == 2
        assert await _rows(connection) == [1, 2]

    async def test_nothing(self, connection: Connection) -> None:
        """No migration, nothing done."""
        assert await apply(connection, []) == 0

    async def test_an_edited_migration(self, connection: Connection) -> None:
        """A file that was changed after it had been applied stops the start, and nothing is applied."""
        await apply(connection, [ONE])
        edited = Migration("room", 1, "0001_one.sql", ONE.sql + " ")

        with pytest.raises(DatabaseError, match=r"0001_one\.sql of room was changed after it had been applied"):
            await apply(connection, [edited, TWO])

        assert await _rows(connection) == [1]
        assert await _locks(connection) == 0

    async def test_a_newer_database(self, connection: Connection) -> None:
        """A database that a newer version has changed is not touched, and the error names the step."""
        await apply(connection, [ONE, TWO])

        with pytest.raises(DatabaseError, match=r"newer smartmob \(migration 0002 of room\)"):
            await apply(connection, [OTHER, ONE])

        assert await _ledger(connection) == [("room", 1), ("room", 2)]
        assert await _locks(connection) == 0

    async def test_a_room_that_is_gone(self, connection: Connection) -> None:
        """Tables of a room that this version does not have are left alone."""
        await apply(connection, [OTHER, ONE])

        assert await apply(connection, [ONE]) == 0

    async def test_a_migration_that_fails(self, connection: Connection) -> None:
        """What it did is taken back and it is not recorded; those before it stay, and it can be tried again."""
        with pytest.raises(asyncpg.UndefinedFunctionError):
            await apply(connection, [ONE, TWO, BROKEN])

        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert await _ledger(connection) == [("room", 1), ("room", 2)]
        assert await _locks(connection) == 0
        mended = Migration("room", 3, BROKEN.name, "CREATE TABLE half (n integer)")
        assert await apply(connection, [ONE, TWO, mended]) == 1

    async def test_several_services_at_once(self, schema_url: str) -> None:
        """One applies, the others wait for it and find everything done."""
        connections = [await asyncpg.connect(schema_url) for _ in range(4)]

        done = await asyncio.gather(*(apply(connection, [OTHER, ONE, TWO]) for connection in connections))

        assert sorted(done) == [0, 0, 0, 3]
        assert await _rows(connections[0]) == [1, 2]
        for connection in connections:
            await connection.close()


class TestCollect:
    """Finding the migrations of rooms."""

    def test_the_rooms_of_this_version(self) -> None:
        """Each room has some, numbered from 1 without a gap."""
        for room in MIGRATED_FEATURES:
            numbers = [migration.number for migration in collect({room: MIGRATED_FEATURES[room]})]

            assert numbers == list(range(1, len(numbers) + 1))
            assert numbers

    async def test_from_the_first_to_the_last(self, connection: Connection) -> None:
        """They can be applied to an empty database, and once they are nothing is left to do."""
        wanted = collect(MIGRATED_FEATURES)

        assert await apply(connection, wanted) == len(wanted)
        assert await apply(connection, wanted) == 0

    def test_order_and_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """They come by room and number; files that are not named like one are passed over."""
        monkeypatch.syspath_prepend(tmp_path)
        rooms = [f"room_of_migrations_{next(_numbers)}" for _ in range(2)]
        for room in rooms:
            folder = tmp_path / room / "migrations"
            folder.mkdir(parents=True)
            (tmp_path / room / "__init__.py").write_text("")
            for name in ("0010_last.sql", "0002_next.sql", "0001_first.sql", "README.md", "0003_x.sql.orig", "3_x.sql"):
                (folder / name).write_text(f"-- {name} ü", encoding="utf-8")

        found = collect({room: room for room in reversed(rooms)})

        assert [(migration.feature, migration.number) for migration in found] == [
            (room, number) for room in rooms for number in (1, 2, 10)
        ]
        assert (found[0].name, found[0].sql) == ("0001_first.sql", "-- 0001_first.sql ü")

    def test_the_checksum(self) -> None:
        """It tells any change of the text, and nothing else."""
        assert ONE.checksum == Migration("x", 9, "0009_x.sql", ONE.sql).checksum
        assert ONE.checksum != Migration("room", 1, "0001_one.sql", ONE.sql + "\n").checksum
