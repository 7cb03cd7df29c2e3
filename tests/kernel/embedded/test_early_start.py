"""A server that is started beside the imports of the service."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import early_start
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.runtime.datadir import DataDirectory, InUse
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.acceptance.commands import environment
from tests.waiting import SECONDS


@pytest.fixture(name="home")
def _home(reachable_path: Path) -> Path:
    """Return the folder for the server in a data directory."""
    return reachable_path / early_start.FOLDER


_SERVE = """
import importlib.abc, pathlib, sys, time
from smartmob.cli.main import main

class Waiting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "smartmob.app":
            sys.meta_path.remove(self)
            status = pathlib.Path(sys.argv[-1], "postgres", "cluster", "postmaster.pid")
            while not status.exists() or "ready" not in status.read_text():
                time.sleep(0.01)
            print("the server accepts connections", flush=True)

sys.meta_path.insert(0, Waiting())
main()
"""
"""Runs the service, and lets the import of its largest part wait until PostgreSQL says that it is ready."""


async def test_a_server_that_exists_starts_while_the_service_imports_its_modules(made_home: Path) -> None:
    """The import would wait without end if the server were started after it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, "serve", "--port", "0", "--log-format", "json", "--data-dir", made_home.parent,
        env=environment(), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        lines = []
        while b'"bind"' not in (line := await asyncio.wait_for(process.stdout.readline(), SECONDS)):
            assert line, lines
            lines.append(line)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), SECONDS)

    assert lines[0] == b"the server accepts connections\n"
    assert process.returncode == 0


async def test_the_service_uses_the_server_that_runs_already(made_home: Path) -> None:
    """It is one server, which stops with the service."""
    early = early_start.begin(made_home.parent)
    postgres = early.embedded
    assert postgres is not None

    address = await postgres.start()

    pid = postgres.pid()
    assert pid is not None
    assert address.database == "smartmob"
    early.abandon()  # as at the end of the block in which the service ran
    assert postgres.pid() == pid
    await postgres.stop()
    assert postgres.pid() is None
    await early.tasks.close()


async def test_a_service_that_cannot_start_leaves_no_server(made_home: Path) -> None:
    """The server is stopped in order, and the next service gets the folder."""
    early = early_start.begin(made_home.parent)
    postgres = early.embedded
    assert postgres is not None

    await asyncio.to_thread(early.abandon)

    assert postgres.pid() is None
    assert not (made_home / "cluster" / "postmaster.pid").exists()
    assert postgres.watchdog.pid is not None
    await EmbeddedPostgres(made_home, TaskRegistry()).watchdog.wait_for_earlier()
    following = DataDirectory(made_home.parent)
    following.hold()
    following.release()


async def test_an_error_of_the_thread_is_that_of_the_start(made_home: Path) -> None:
    """It is raised where the service waits for its database, and nothing runs."""
    (made_home / "cluster" / "PG_VERSION").write_text("9\n")
    early = early_start.begin(made_home.parent)
    assert early.embedded is not None

    with pytest.raises(DatabaseError, match="was made by PostgreSQL 9"):
        await early.embedded.start()

    assert early.embedded.pid() is None
    early.abandon()
    await early.embedded.stop()


def test_the_folder_of_another_service_is_not_touched(reachable_path: Path) -> None:
    """Its lock is seen before anything is started."""
    data = reachable_path / "data"
    other = DataDirectory(data)
    other.hold()
    try:
        with pytest.raises(InUse):
            early_start.begin(data)
        assert not (data / early_start.FOLDER).exists()
    finally:
        other.release()
        shutil.rmtree(data)
