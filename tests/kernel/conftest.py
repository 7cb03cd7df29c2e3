"""Fixtures of the tests of the kernel."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp.test_utils import TestClient

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.embedded.roles import DATABASE
from smartmob.kernel.observability.log import Logs, configure
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.kernel import tiny
from tests.kernel.forked_service import ServiceForks
from tests.kernel.proxy import Proxy, proxy_to
from tests.kernel.raw import Wire, wire
from tests.kernel.served import Start, starter
from tests.kernel.stored import Stored, Writers
from tests.serving import ServiceServer

_numbers = itertools.count()


@pytest.fixture(name="configured")
def _configured() -> Iterator[Callable[..., Logs]]:
    """Return `configure`; its changes are undone after the test."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    made: list[Logs] = []

    def make(log_format: str = "kv", utc: bool = True, endpoint: str = "file:///dev/stdout") -> Logs:
        made.append(configure(log_format, utc, endpoint))
        return made[-1]

    yield make
    for logs in made:
        logs.close()
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.fixture(name="schema_url")
async def _schema_url(postgres_url: str) -> AsyncIterator[str]:
    """Return the URL of an empty schema for the test, which is created faster than a database."""
    name = f"kernel_{os.getpid()}_{next(_numbers)}"
    url = postgres_url.format(DATABASE)
    admin = await asyncpg.connect(url)
    await admin.execute(f"CREATE SCHEMA {name}")
    yield f"{url}&search_path={name}"
    await admin.execute(f"DROP SCHEMA {name} CASCADE")
    await admin.close()


@pytest.fixture(name="admin")
async def _admin(schema_url: str) -> AsyncIterator[Any]:
    """Return a separate connection to the same schema, which a test does not cut."""
    connection = await asyncpg.connect(schema_url)
    yield connection
    await connection.close()


@pytest.fixture(name="proxy")
async def _proxy(schema_url: str) -> AsyncIterator[Proxy]:
    """Return a running proxy before the database."""
    async with proxy_to(schema_url) as proxy:
        yield proxy


@pytest.fixture(name="opened")
async def _opened(schema_url: str) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that opens databases: `await opened(patience=1.0)`."""
    databases = []

    async def make(url: str | None = None, patience: float = 20.0, **settings: Any) -> Database:
        database = Database(DatabaseSettings(url=url or schema_url, patience=patience, **settings), None)
        databases.append(database)
        await database.open()
        return database

    yield make
    for database in databases:
        await database.close()


@pytest.fixture(name="stored")
async def _stored(admin: Any) -> Stored:
    """Return the table of the writers."""
    stored = Stored(admin)
    await stored.make()
    return stored


@pytest.fixture(name="writers")
async def _writers(stored: Stored, opened: Callable[..., Any]) -> AsyncIterator[Writers]:
    """Return a function that makes and starts writers."""
    tasks, made = TaskRegistry(), []

    async def make(database: Any = None, **options: Any) -> GroupCommitWriter[int]:
        writer = GroupCommitWriter("test", database or await opened(), stored.commit, **options)
        made.append(writer)
        await writer.start(tasks)
        return writer

    yield make
    stored.gate.set()
    for writer in made:
        await writer.close()
    await tasks.close()


@pytest.fixture(name="serving")
async def _serving() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that serves the tiny application: `client, tiny, stats = await serving(token="x")`."""
    async with AsyncExitStack() as stack:

        async def serve(**options: Any) -> Any:
            app, handlers, gate = tiny.build(**options)
            client = TestClient(ServiceServer(app, gate))
            return await stack.enter_async_context(client), handlers, gate.request_stats

        yield serve


@pytest.fixture(name="tiny_client")
async def _tiny_client(serving: Any) -> Any:
    """Return a client of the tiny application without a token."""
    return (await serving())[0]


@pytest.fixture(name="line")
async def _line(tiny_client: Any) -> AsyncIterator[Wire]:
    """Return a bare connection to the same application."""
    async with wire(tiny_client.port) as line:
        yield line


@pytest.fixture(scope="session", name="service_forks")
def _service_forks() -> Iterator[ServiceForks]:
    """Return what starts tiny services quickly."""
    forks = ServiceForks()
    yield forks
    forks.close()


@pytest.fixture(name="start")
async def _start(service_forks: ServiceForks) -> AsyncIterator[Start]:
    """Return a function that starts tiny services: `await start()`."""
    async with starter(service_forks) as start:
        yield start
