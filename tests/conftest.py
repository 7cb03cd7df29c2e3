"""Fixtures of all tests: one PostgreSQL server for a run, one database for a test, and running services."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient

from smartmob.app import Service, build
from smartmob.feature_settings import DatabaseSettings, ProcessesSettings
from smartmob.hosts import authenticator as hosts_authenticator
from smartmob.hosts.store.partitions import MINUTES, SAMPLES
from smartmob.hosts.store.partitions import Partitions as HostPartitions
from smartmob.kernel.db import migrations
from smartmob.kernel.db.database import Database
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.embedded.roles import ADMIN, ROLE
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses import umask
from smartmob.settings import Settings
from smartmob.stored_features import MIGRATED_FEATURES
from smartmob.turrets.store.partitions import KnownPartitions as TurretPartitions
from tests import citus_databases, compiling, free_ports, own_server
from tests.citus_databases import CitusDatabases
from tests.databases import TEMPLATE, Databases
from tests.folding import folded
from tests.forked_workers import fork_workers
from tests.ordering import arranged, place
from tests.processes.commands import lay_quick_python
from tests.serving import ServiceServer
from tests.shared import POSTGRES, SHARED, folder_of_files, share

# On a busy machine any example may take longer than Hypothesis allows by itself. Each run takes other examples, so half
# of its hundred are enough; a property whose faults are rare asks for more.
hypothesis.settings.register_profile("smartmob", deadline=None, max_examples=50)
hypothesis.settings.load_profile("smartmob")


PATIENCE_SECONDS = 120.0
"""The time that requests wait for the database: it is away for so long only when its server hangs."""

_GARBAGE_THRESHOLDS = (20_000, 10, 20)
"""Of `gc.set_threshold`: each service of a test is some 20,000 objects, which Python's own 700 would look at thrice."""

_FIXTURES_OF_ALL = {"event_loop_policy", "_cheap_hashes", "_keep_umask"}
"""The fixtures that each test uses, of which several cases can share one."""

_TRUE_HASH_COST = hosts_authenticator.COST
_HASH_COST = 2**4
"""The parameter N of scrypt; that of the service makes a hash take 45 ms, and most tests of machines need some."""


def pytest_configure(config: pytest.Config) -> None:
    """Create what all workers of this run share, and log errors as plainly as the service does."""
    share(config)
    if getattr(config.option, "numprocesses", None):
        compiling.compile_modules(compiling.stale(Path(__file__).parent))
    # structlog's own choice are tracebacks in colours with the values of all variables, each of which takes a second.
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Fork the workers, so that they need not import the tests."""
    fork_workers(config, specs)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without looking for garbage, which takes a third of the time; they are never garbage later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*_GARBAGE_THRESHOLDS)
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> pytest.Item | None:
    """Let the workers of a run make one test of all cases of a table (`folding.py`)."""
    if not hasattr(collector.config, "workerinput") or not name.startswith("test"):
        return None
    run = folded(obj, collector.obj if isinstance(collector, pytest.Class) else None)
    item = None if run is None else pytest.Function.from_parent(collector, name=name, callobj=run)
    # The fixtures of a module that all of its tests use are made anew for each case.
    return item if item is not None and _FIXTURES_OF_ALL.issuperset(item.fixturenames) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no worker be alone with a slow test at the end (`ordering.py`); skip what needs a cluster without one."""
    citus_databases.mark(items)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = arranged([place(item) for item in items], workers)


@pytest.fixture(scope="session", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Let the hash of a machine's password take no time; `true_hash_cost` is for those that need the true one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts_authenticator, "COST", _HASH_COST)
        yield


@pytest.fixture(name="true_hash_cost")
def _true_hash_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hash of a machine's password take as long as in a service."""
    monkeypatch.setattr(hosts_authenticator, "COST", _TRUE_HASH_COST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a worker report a passed test without its output, which takes half of the time of all reports."""
    report = yield
    if report.passed and hasattr(item.config, "workerinput") and not {"P", "A"} & set(item.config.option.reportchars):
        report.sections.clear()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured and noted as properties."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session", name="postgres_url")
def _postgres_url() -> str:
    """Return the URL of the PostgreSQL server of this run, with a placeholder for the name of a database."""
    if (cluster := citus_databases.url()) is not None:
        return f"{cluster.rpartition('/')[0]}/{{}}"
    shared = Path(os.environ[SHARED])
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = shared / "url"
        if not known.exists():
            known.write_text(asyncio.run(_server()))
        return known.read_text()


async def _server() -> str:
    """Return the URL of the server with its template made."""
    if (own := own_server.url()) is None:
        own = await _start_server(Path(os.environ[POSTGRES]) / "home")
    else:
        await own_server.prepare(own)
    return await _make_template(own)


_POSTGRES = {
    # Nothing of a test outlives it.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "128MB",
    # The databases are small and soon deleted: there is nothing to clean up, and to look for it takes time.
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
    "max_connections": "200",
}
"""The settings of the PostgreSQL server of a test run."""


async def _start_server(home: Path) -> str:
    tasks = TaskRegistry()
    postgres = EmbeddedPostgres(home, tasks)
    await postgres.start()
    url = f"postgresql://{{}}@/{{}}?host={home}/socket"
    connection = await asyncpg.connect(url.format(ADMIN, "postgres"))
    for name, value in _POSTGRES.items():
        await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await connection.close()
    # The number of connections needs another start: those of all workers are many.
    await postgres.stop()
    postgres = EmbeddedPostgres(home, tasks)
    await postgres.start()
    await tasks.close()
    # The server is for all workers, also when this one has ended.
    postgres.watchdog.kill()
    return url


async def _make_template(url: str) -> str:
    """Make the database of which the others are copies; return the URL of one with a placeholder for its name."""
    connection = await asyncpg.connect(url.format(ADMIN, "postgres"))
    await connection.execute(f"CREATE DATABASE {TEMPLATE} OWNER {ROLE}")
    await connection.close()
    connection = await asyncpg.connect(url.format(ROLE, TEMPLATE))
    await migrations.apply(connection, migrations.collect(MIGRATED_FEATURES))
    await TurretPartitions().ensure_ahead(connection, clock.now())
    await connection.close()
    await _make_host_partitions(url.format(ROLE, TEMPLATE))
    return url.format(ROLE, "{}")


async def _make_host_partitions(url: str) -> None:
    """Create the partitions that each service would create at its start, once for all tests."""
    database = Database(DatabaseSettings(url=url), None)
    await database.open()
    partitions, now = HostPartitions(database), clock.now()
    for series in (SAMPLES, MINUTES):
        await partitions.keep(series, now, datetime.min.replace(tzinfo=UTC))
    await database.close()


@pytest.fixture(autouse=True)
def _keep_umask() -> Iterator[None]:
    """Restore the umask after a test: commands that run in the process of the tests make it private."""
    before, of_programs = os.umask(0o022), umask._original
    os.umask(before)
    yield
    os.umask(before)
    umask._original = of_programs


@pytest.fixture(scope="session", name="databases")
def _databases(postgres_url: str) -> Iterator[Databases | CitusDatabases]:
    """Return what gives databases to the tests of this process."""
    cluster = citus_databases.url()
    databases = Databases(postgres_url) if cluster is None else CitusDatabases(cluster)
    yield databases
    databases.close()


@pytest.fixture(name="database_url")
async def _database_url(postgres_url: str, databases: Databases) -> AsyncIterator[str]:
    """Return the URL of a database for the test, with all tables and no rows."""
    name = await databases.take()
    yield postgres_url.format(name)
    await databases.give_back(name)


@pytest.fixture(name="empty_url")
async def _empty_url(postgres_url: str, databases: Databases) -> AsyncIterator[str]:
    """Return the URL of a database without tables."""
    name = await databases.create("empty")
    yield postgres_url.format(name)
    await databases.drop(name)


@pytest.fixture(name="database")
async def _database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database with all tables."""
    database = Database(DatabaseSettings(url=database_url, patience=PATIENCE_SECONDS), None)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(name="settings")
def _settings(database_url: str, tmp_path: Path) -> Settings:
    """Return settings with the database and the folder of the test."""
    # As few connections as there can be: each costs as much processor time as the requests of a test.
    return Settings(
        port=0,
        data_dir=tmp_path / "data",
        database=DatabaseSettings(url=database_url, patience=PATIENCE_SECONDS, pool_size=2),
        processes=ProcessesSettings(base_port=free_ports.base_port()),
    )


@pytest.fixture(name="base_port")
def _base_port(settings: Settings) -> int:
    """Return the first port of programs; a program of the second type has one from this + 100 on."""
    return settings.processes.base_port


@pytest.fixture(name="unused_tcp_port")
def _unused_tcp_port() -> int:
    """Return a port on which nothing listens, as the fixture of pytest-asyncio, but no other test is given it."""
    return free_ports.single_port()


Serve = Callable[[Settings], Awaitable[TestClient[web.Request, web.Application]]]


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """Serve on loopback and give a client."""
    async with TestClient(ServiceServer(service.app, service.gate)) as client:
        yield client


@pytest.fixture(name="client")
async def _client(settings: Settings) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """Return a client of a running service."""
    async with running(build(settings)) as client:
        yield client


MakeClient = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def serving_with(settings: Settings) -> AsyncIterator[MakeClient]:
    """Give a function that returns clients of services with other settings; they end in reverse order."""
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> TestClient[web.Request, web.Application]:
            return await stack.enter_async_context(running(build(replace(settings, **changes))))

        yield make


@pytest.fixture(name="with_settings")
async def _with_settings(settings: Settings) -> AsyncIterator[MakeClient]:
    """Return a function that returns clients of services with other settings: `await with_settings(token="x")`."""
    async with serving_with(settings) as make:
        yield make


@pytest.fixture(name="reachable_path")
def _reachable_path() -> Iterator[Path]:
    """Return a folder for the test that every user can reach, unlike `tmp_path`."""
    folder = Path(tempfile.mkdtemp(prefix="smartmob-test-", dir=folder_of_files()))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="quick_python")
def _quick_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return a further file of a source, with which its environment is a copy of one that was made before.

    Name it before what starts the service: that takes over the PATH.
    """
    monkeypatch.setenv("PATH", f"{lay_quick_python(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}")
    return {".python-version": "3.77\n"}
