"""Connections that share the definitions of types."""

from __future__ import annotations

import inspect
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from smartmob.kernel.db import known_types
from smartmob.kernel.db.known_types import KnownTypesConnection

ONE = UUID(int=1)


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Return the numbers of the types that servers are asked for, in a process that knows none."""
    monkeypatch.setattr(known_types, "_known", {})
    asked: list[set[int]] = []
    original = asyncpg.Connection._introspect_types

    async def counted(self: Any, typeoids: Any, timeout: float | None) -> Any:
        asked.append(set(typeoids))
        return await original(self, typeoids, timeout)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", counted)
    return asked


@pytest.mark.parametrize("cache", [100, 0])
async def test_types_of_postgresql_are_asked_for_once(database_url: str, asked: list[set[int]], cache: int) -> None:
    """A second connection knows the arrays that the first one asked for, with and without prepared statements."""
    for _ in range(2):
        connection = await asyncpg.connect(
            database_url, connection_class=KnownTypesConnection, statement_cache_size=cache
        )
        for _ in range(2):
            assert await connection.fetchval("SELECT $1::uuid[]", [ONE]) == [ONE]
            assert await connection.fetchval("SELECT $1::bigint[]", [2**40]) == [2**40]
        await connection.close()
    assert asked == [{2951}, {1016}]


async def test_types_of_a_database_are_asked_for_by_each_connection(empty_url: str, asked: list[set[int]]) -> None:
    """Another database may have another type with the same number."""
    for values in ("'a', 'b'", "'c', 'd'"):
        connection = await asyncpg.connect(empty_url, connection_class=KnownTypesConnection)
        await connection.execute(f"DROP TYPE IF EXISTS letter; CREATE TYPE letter AS ENUM ({values})")
        assert await connection.fetchval("SELECT (enum_range(NULL::letter))[1]::text") == values[1]
        assert await connection.fetchval("SELECT enum_range(NULL::letter)") == [values[1], values[6]]
        await connection.close()
    assert len(asked) == 2


def test_asyncpg_has_the_method_that_is_overridden() -> None:
    """It has the same parameters, and asyncpg reads nothing but the name of the statement."""
    parameters = ["self", "typeoids", "timeout"]
    assert list(inspect.signature(asyncpg.Connection._introspect_types).parameters) == parameters
    assert list(inspect.signature(KnownTypesConnection._introspect_types).parameters) == parameters
    source = inspect.getsource(asyncpg.Connection._get_statement)
    assert source.count("intro_stmt") == source.count("intro_stmt.name") + 1
