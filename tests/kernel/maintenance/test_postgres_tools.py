"""Running the programs of PostgreSQL: the address of the database, errors and the end."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.maintenance import postgres_tools


@pytest.mark.parametrize(
    ("dsn", "address", "env"),
    [
        ("postgresql://lab:s%40c@db:5432/lab", "postgresql://lab@db:5432/lab", {"PGPASSWORD": "s@c"}),
        ("postgres://lab@db/lab?sslmode=require", "postgresql://lab@db/lab?sslmode=require", {}),
        ("postgresql://db/lab?password=x%20y&user=me", "postgresql://db/lab?user=me", {"PGPASSWORD": "x y"}),
        ("postgresql://u@/lab?host=/run/a%20b", "postgresql://u@/lab?host=%2Frun%2Fa%20b", {}),
        (
            "postgresql://u@h/lab?search_path=a%20b&work_mem=8MB",
            "postgresql://u@h/lab",
            {"PGOPTIONS": "-c search_path=a\\ b -c work_mem=8MB"},
        ),
        ("postgresql://u@h/?database=lab", "postgresql://u@h/lab", {}),
    ],
)
def test_a_url_of_asyncpg_becomes_one_of_libpq_without_secrets(dsn: str, address: str, env: dict[str, str]) -> None:
    """The password goes into the environment."""
    assert postgres_tools.address_of({"dsn": dsn}) == (address, env)


def test_of_several_servers_the_tools_want_the_one_that_the_service_wants() -> None:
    """The options of asyncpg and of libpq have the same name."""
    arguments = {"dsn": "postgresql://lab@one,two/lab", "target_session_attrs": "read-write"}
    assert postgres_tools.address_of(arguments)[0] == "postgresql://lab@one,two/lab?target_session_attrs=read-write"


def test_the_address_of_an_embedded_server_is_the_folder_of_its_socket() -> None:
    """It has no password."""
    arguments = {"host": "/data/a b/socket", "user": "smartmob", "database": "smartmob"}
    assert postgres_tools.address_of(arguments) == ("postgresql://smartmob@/smartmob?host=%2Fdata%2Fa%20b%2Fsocket", {})


async def test_a_program_reaches_the_database_and_ends_with_its_block(reached: Any, database_url: str) -> None:
    """The error of a failed program contains its message, and an exception in the block kills the program."""
    tools = postgres_tools.find(await reached(database_url))
    async with tools.run("psql", "-XAt", "-c", "SELECT 42", "--dbname", tools.address) as process:
        assert process.stdout is not None
        assert await process.stdout.read() == b"42\n"
    lines: list[str] = []
    with pytest.raises(DatabaseError, match=r"psql failed \(1\): .*no_such_table"):
        async with tools.run(
            "psql", "-XAt", "-c", "TABLE no_such_table", "--dbname", tools.address, on_line=lines.append
        ):
            pass
    assert any("no_such_table" in line for line in lines)
    with pytest.raises(ZeroDivisionError):
        async with tools.run("psql", "-X", "-c", "SELECT pg_sleep(600)", "--dbname", tools.address) as process:
            raise ZeroDivisionError
    assert process.returncode == -9
