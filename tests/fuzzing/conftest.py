"""The service that is fuzzed, one for a process of tests, with a database of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import asyncpg
import pytest

from tests.conftest import TEMPLATE
from tests.fuzzing.service import Service, running


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session", name="fuzzed_url")
def _fuzzed_url(postgres_url: str) -> Iterator[str]:
    name, server = f"fuzzed_{os.getpid()}", postgres_url.format("postgres")
    asyncio.run(_execute(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy"))
    yield postgres_url.format(name)
    asyncio.run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session", name="service")
def _service(fuzzed_url: str) -> Iterator[Service]:
    """Return the service."""
    with running(fuzzed_url) as service:
        yield service
