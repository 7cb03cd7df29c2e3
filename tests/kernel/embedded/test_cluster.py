"""The embedded PostgreSQL: real clusters are started, killed, taken over and stopped."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import structlog

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import account as accounts
from smartmob.kernel.embedded.cluster import Address, EmbeddedPostgres
from smartmob.kernel.embedded.postgres_watchdog import PostgresWatchdog
from smartmob.kernel.embedded.roles import ADMIN
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import SECONDS, until

_PR_SET_CHILD_SUBREAPER = 36


class Service:
    """An embedded server with the tasks of the service that runs it."""

    def __init__(self, home: Path) -> None:
        self.tasks = TaskRegistry()
        self.postgres = EmbeddedPostgres(home, self.tasks)
        self.address = Address("", "", "")

    async def start(self) -> int:
        """Start, and return the process id of the server."""
        self.address = await self.postgres.start()
        pid = self.postgres.pid()
        assert pid is not None
        return pid

    async def run(self, statement: str, role: str = "smartmob") -> Any:
        """Return the first value of a statement."""
        address = {"host": self.address.host, "database": self.address.database}
        connection = await asyncpg.connect(user=role, timeout=SECONDS, **address)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def answers(self) -> bool:
        """Return whether the server accepts connections."""
        try:
            return bool(await self.run("SELECT true"))
        except (OSError, asyncpg.PostgresError):
            return False

    async def stop(self) -> None:
        """Stop the server and the tasks of the service."""
        await self.postgres.stop()
        await self.tasks.close()

    async def crash(self) -> None:
        """End the service and the watchdog but not the server, as SIGKILL to both does."""
        await self.tasks.close()
        self.postgres.watchdog.kill()


@pytest.fixture(name="service")
async def _service() -> AsyncIterator[Callable[[Path], Service]]:
    """Return a function that makes embedded servers, which are stopped after the test."""
    made: list[Service] = []

    def make(home: Path) -> Service:
        made.append(Service(home))
        return made[-1]

    yield make
    for service in made:
        await service.tasks.close()
        pid = service.postgres.pid()
        service.postgres.stop_at_once()
        service.postgres.watchdog.kill()
        await until(partial(_gone, pid))


@pytest.fixture(name="home")
def _home(reachable_path: Path) -> Path:
    """Return the folder for the server."""
    return reachable_path / "postgres"


def _gone(pid: int | None) -> bool:
    """Return whether the process has ended, reaped by its parent or not."""
    try:
        return pid is None or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _modes(path: Path) -> dict[Path, int]:
    return {each: each.stat().st_mode for each in (path, *path.parents)}


def _listens(pid: int) -> list[Any]:
    found: list[Any] = []
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        # A worker of the server may end at any time.
        with suppress(psutil.NoSuchProcess):
            found += process.net_connections("inet")
    return found


async def test_a_server_is_made_reached_by_its_socket_and_stopped(service: Any, home: Path) -> None:
    """It opens no port and widens no permission, its processes end, and its data is there at the next start."""
    before = _modes(home.parent)
    first = service(home)

    pid = await first.start()

    assert first.address == Address(str(home / "socket"), "smartmob", "smartmob")
    assert _listens(pid) == []
    assert await first.run("SHOW listen_addresses") == ""
    for private in ("socket", "cluster", "log", ""):
        found = (home / private).stat()
        assert found.st_mode & 0o777 == 0o700
        assert found.st_uid == accounts.find().uid
    assert _modes(home.parent) == before
    processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    await first.run("CREATE TABLE kept AS SELECT 7 AS n")
    await first.stop()

    assert all(_gone(process) for process in processes)
    assert first.postgres.pid() is None
    assert list((home / "socket").iterdir()) == []
    second = service(home)
    assert await second.start() != pid
    assert await second.run("SELECT n FROM kept") == 7
    await second.stop()


async def test_only_the_role_of_the_service_can_connect(service: Any, home: Path) -> None:
    """Access is by peer authentication on the socket: there are no passwords, no trust and no network."""
    running = service(home)
    await running.start()
    await running.run("CREATE ROLE another LOGIN SUPERUSER", role=ADMIN)

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await running.run("SELECT 1", role="another")

    rules = [line.split() for line in (home / "cluster" / "pg_hba.conf").read_text().splitlines() if line[:1] != "#"]
    assert {rule[0] for rule in rules if rule} == {"local"}
    assert {rule[3] for rule in rules if rule} == {"peer"}
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in ("", "socket", "cluster", "log")} == {0o700}
    await running.stop()


async def test_a_server_that_outlived_its_service_is_taken_over(service: Any, made_home: Path) -> None:
    """The next service uses it after service and watchdog were killed, and stops it."""
    crashed = service(made_home)
    pid = await crashed.start()
    await crashed.run("CREATE TABLE kept AS SELECT 7 AS n")
    await crashed.crash()
    following = service(made_home)

    with structlog.testing.capture_logs() as lines:
        assert await following.start() == pid

    assert [(line["event"], line["taken_over"], line["pid"]) for line in lines] == [("database.started", True, pid)]
    assert await following.run("SELECT n FROM kept") == 7
    await following.stop()
    assert _gone(pid)


async def test_a_server_that_is_shutting_down_is_waited_for(service: Any, made_home: Path) -> None:
    """It is not taken over: the next service starts another one, which has all the data."""
    crashed = service(made_home)
    pid = await crashed.start()
    await crashed.run("CREATE TABLE kept AS SELECT 7 AS n")
    held = await asyncpg.connect(host=crashed.address.host, user="smartmob", database="smartmob")
    await crashed.crash()
    os.kill(pid, signal.SIGTERM)  # a smart shutdown, which waits until all clients have disconnected
    await until(lambda: "stopping" in (made_home / "cluster" / "postmaster.pid").read_text())
    following = service(made_home)
    starting = asyncio.create_task(following.start())
    done, _ = await asyncio.wait([starting], timeout=0.2)
    assert not done

    await held.close()

    assert await starting != pid
    assert _gone(pid)
    assert await following.run("SELECT n FROM kept") == 7
    await following.stop()


async def test_a_server_being_started_is_stopped_when_its_service_is_killed(made_home: Path) -> None:
    """The watchdog stops the server that pg_ctl is starting."""
    program = "import asyncio, sys; from pathlib import Path"
    program += "; from smartmob.kernel.embedded.cluster import EmbeddedPostgres"
    program += "; from smartmob.kernel.runtime.tasks import TaskRegistry"
    program += "; asyncio.run(EmbeddedPostgres(Path(sys.argv[1]), TaskRegistry()).start())"
    starter = psutil.Popen(
        [sys.executable, "-c", program, made_home], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    await until(lambda: (made_home / "cluster" / "postmaster.pid").exists())
    starter.kill()
    starter.wait()
    postgres = EmbeddedPostgres(made_home, TaskRegistry())

    await postgres.watchdog.wait_for_earlier()

    await until(lambda: postgres.pid() is None)
    assert not (made_home / "cluster" / "postmaster.pid").exists()


class _RecordedWatchdog(PostgresWatchdog):
    """A watchdog that remembers what it was told, and whether the server had its process id then."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.told: list[tuple[str, bool]] = []
        self._pid_file = home / "cluster" / "postmaster.pid"

    def send_state(self, state: str) -> None:
        self.told.append((state, self._pid_file.exists()))
        super().send_state(state)


async def test_the_watchdog_knows_of_a_server_before_it_is_started(service: Any, made_home: Path) -> None:
    """So it waits for a server that has no process id yet when the service is killed."""
    started = service(made_home)
    started.postgres.watchdog = watchdog = _RecordedWatchdog(made_home)
    await started.start()
    assert watchdog.told == [("starting", False), ("running", True)]


async def test_a_watchdog_that_is_killed_is_started_again(service: Any, made_home: Path) -> None:
    """The server runs on, and has a watchdog again."""
    running = service(made_home)
    pid = await running.start()
    killed = running.postgres.watchdog.pid
    with structlog.testing.capture_logs() as lines:
        os.kill(killed, signal.SIGKILL)
        await until(lambda: running.postgres.watchdog.pid != killed)

    assert lines == [
        {"event": "database.watchdog_died", "log_level": "warning", "embedded": True, "pid": killed},
    ]
    assert running.postgres.pid() == pid
    await running.stop()
    assert _gone(pid)
    assert _gone(running.postgres.watchdog.pid)


async def test_a_server_that_dies_is_started_again_with_its_data(service: Any, made_home: Path) -> None:
    """Failed starts are logged and repeated."""
    running = service(made_home)
    pid = await running.start()
    await running.run("CREATE TABLE kept AS SELECT 7 AS n")
    settings = made_home / "cluster" / "postgresql.auto.conf"
    good = settings.read_text()
    with structlog.testing.capture_logs() as lines:
        settings.write_text("no_such_setting = 1\n")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: "no_such_setting" in str(lines))
        settings.write_text(good)
        await until(running.answers)

    assert await running.run("SELECT n FROM kept") == 7
    assert lines[0] == {"event": "database.died", "log_level": "warning", "embedded": True, "pid": pid}
    failed = [line for line in lines if line["event"] == "database.restart_failed"]
    assert [line["failures"] for line in failed] == list(range(1, len(failed) + 1))
    await running.stop()


async def test_stop_after_the_death_of_the_server_leaves_no_server(service: Any, made_home: Path) -> None:
    """A restart that is in progress at that moment does not survive the stop."""
    running = service(made_home)
    pid = await running.start()
    with structlog.testing.capture_logs() as lines:
        os.kill(pid, signal.SIGKILL)
        await until(lambda: lines)

        await running.stop()

    assert running.postgres.pid() is None
    assert not await running.answers()


async def test_stop_waits_for_the_process_and_not_only_for_its_file(
    service: Any, made_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server removes its postmaster.pid a moment before its process ends, and pg_ctl waits for the former."""
    running = service(made_home)
    pid = await running.start()

    def stop(*_: str) -> None:
        (made_home / "cluster" / "postmaster.pid").unlink()
        threading.Timer(0.2, os.kill, (pid, signal.SIGINT)).start()

    monkeypatch.setattr(running.postgres, "_pg_ctl", stop)
    await running.stop()
    assert _gone(pid)


async def test_a_dead_server_that_is_our_child_is_started_again(service: Any, made_home: Path) -> None:
    """A service in process 1 of a container inherits its server as a child."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        running = service(made_home)
        pid = await running.start()
        with structlog.testing.capture_logs():
            os.kill(pid, signal.SIGKILL)
            await until(lambda: running.postgres.pid() not in (None, pid))
            await until(running.answers)
        await running.stop()
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        _reap_children()


def _reap_children() -> None:
    for child in psutil.Process().children():
        if child.status() == psutil.STATUS_ZOMBIE:
            child.wait(0)


async def test_a_server_stopped_at_once_keeps_what_was_committed(service: Any, made_home: Path) -> None:
    """It is not started again, and the next service finds the data."""
    ended = service(made_home)
    pid = await ended.start()
    await ended.run("CREATE TABLE kept AS SELECT 7 AS n")

    with structlog.testing.capture_logs() as lines:
        ended.postgres.stop_at_once()
        await until(lambda: _gone(pid))
        await until(lambda: [line for line in lines if line["event"] == "database.died"])
        await ended.crash()

    assert ended.postgres.pid() is None
    following = service(made_home)
    await following.start()
    assert await following.run("SELECT n FROM kept") == 7
    await following.stop()


@pytest.mark.parametrize("name", ["p", "x" * 100 + " with blanks 'quotes' \"and\" $HOME\\ ü"], ids=["short", "long"])
async def test_a_closed_folder_and_a_long_path_work_without_wider_permissions(
    service: Any, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """The account may be unable to reach the folder, and the path may be too long for a socket."""
    closed = tmp_path_factory.mktemp("t")
    closed.chmod(0o700)
    before = _modes(closed)
    running = service(closed / name)

    await running.start()

    assert await running.run("SELECT 7") == 7
    assert _modes(closed) == before
    await running.stop()


def _made_earlier(*folders: Path) -> None:
    """Make folders as an earlier start would have left them."""
    account = accounts.find()
    for folder in folders:
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid)


async def test_an_interrupted_initdb_is_repeated(service: Any, home: Path) -> None:
    """Its files are removed, and a complete cluster is made."""
    left = home / "cluster.new"
    _made_earlier(home, left)
    (left / "PG_VERSION").write_text("18\n")
    running = service(home)

    await running.start()

    assert not left.exists()
    assert await running.run("SELECT 7") == 7
    await running.stop()


async def test_a_cluster_of_another_version_is_refused_and_unchanged(service: Any, home: Path) -> None:
    """The error names both versions and the next step."""
    _made_earlier(home, home / "cluster")
    (home / "cluster" / "PG_VERSION").write_text("17\n")
    running = service(home)

    with pytest.raises(DatabaseError, match=r"made by PostgreSQL 17, and this smartmob brings PostgreSQL 18\. Dump it"):
        await running.start()

    assert [path.name for path in (home / "cluster").iterdir()] == ["PG_VERSION"]
    await running.stop()


async def test_a_failed_start_reports_the_message_of_postgresql(service: Any, home: Path) -> None:
    """The error contains it."""
    _made_earlier(home, home / "cluster")
    (home / "cluster" / "PG_VERSION").write_text("18\n")
    running = service(home)

    with pytest.raises(DatabaseError, match="the embedded PostgreSQL: pg_ctl failed"):
        await running.start()

    await running.stop()


class TestPid:
    """Finding the process of the server."""

    @pytest.mark.parametrize("text", [None, "", "\n", "x", "-1", "0", "999999999", str(2**70), "12 34"])
    def test_a_file_without_a_running_process_means_no_server(self, home: Path, text: str | None) -> None:
        """The file may be missing, or have no number of a process."""
        (home / "cluster").mkdir(parents=True)
        if text is not None:
            (home / "cluster" / "postmaster.pid").write_text(text)

        assert EmbeddedPostgres(home, TaskRegistry()).pid() is None

    def test_a_process_of_another_program_is_not_the_server(self, home: Path) -> None:
        """After a restart of the machine the id may belong to any program."""
        (home / "cluster").mkdir(parents=True)
        (home / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n/somewhere\n")

        assert EmbeddedPostgres(home, TaskRegistry()).pid() is None

    def test_a_server_of_another_folder_is_not_the_server(self, home: Path, postgres_url: str) -> None:
        """It must not be taken over or stopped."""
        (home / "cluster").mkdir(parents=True)
        other = Path(postgres_url.partition("host=")[2]).parent / "cluster" / "postmaster.pid"
        lines = other.read_text().splitlines()
        lines[1] = str(home / "cluster")
        (home / "cluster" / "postmaster.pid").write_text("\n".join(lines))

        assert EmbeddedPostgres(home, TaskRegistry()).pid() is None
