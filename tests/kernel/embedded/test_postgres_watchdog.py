"""The watchdog of the embedded PostgreSQL, with other programs instead of the server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded.account import DatabaseUser
from smartmob.kernel.embedded.postgres_watchdog import PostgresWatchdog
from tests.waiting import SECONDS

_US = DatabaseUser("", os.geteuid(), os.getegid(), "")


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    """Return a folder with an empty cluster."""
    (tmp_path / "cluster").mkdir()
    return tmp_path


@pytest.fixture(name="watchdog")
def _watchdog(home: Path) -> Iterator[PostgresWatchdog]:
    """Return a watchdog that is killed after the test."""
    watchdog = PostgresWatchdog(home)
    yield watchdog
    watchdog.kill()


def _server(home: Path, folder: Path, script: str = "echo ready; exec sleep 600") -> subprocess.Popen[bytes]:
    """Return a program that works in `folder` and is named as the server of `home`."""
    process = subprocess.Popen(["/bin/sh", "-c", script], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    (home / "cluster" / "postmaster.pid").write_text(f"{process.pid}\n")
    return process


def test_the_server_is_interrupted_at_the_end_of_the_service(watchdog: PostgresWatchdog, home: Path) -> None:
    """The server gets SIGINT, which is a fast shutdown, when the pipe of the service is closed."""
    watchdog.start(_US)
    server = _server(home, home / "cluster")

    watchdog.release()

    assert server.wait(SECONDS) == -signal.SIGINT


def test_a_program_that_has_the_number_of_the_server_is_left_alone(watchdog: PostgresWatchdog, home: Path) -> None:
    """A program with another working directory is no server of this cluster, and gets no signal."""
    watchdog.start(_US)
    other = _server(home, home)

    watchdog.release(30)

    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_server_that_does_not_obey_is_made_to_quit(watchdog: PostgresWatchdog, home: Path) -> None:
    """A server that still runs some time after SIGINT gets SIGQUIT, and is gone when the watchdog is."""
    watchdog.start(_US, quit_after=0.2)
    server = _server(home, home / "cluster", "trap '' INT; echo ready; while :; do sleep 0.1; done")

    watchdog.release(60)

    assert server.wait(SECONDS) == -signal.SIGQUIT


def test_a_server_that_is_starting_is_waited_for(watchdog: PostgresWatchdog, home: Path) -> None:
    """A server that appears only after the end of the service is ended, too, when the service was starting one."""
    watchdog.start(_US)
    watchdog.send_state("starting")
    watchdog.release()
    assert watchdog.pid is not None

    server = _server(home, home / "cluster")

    watchdog.release(SECONDS)  # it ends when the server has ended
    assert server.poll() == -signal.SIGINT


async def test_the_next_service_waits_for_an_earlier_watchdog(watchdog: PostgresWatchdog, home: Path) -> None:
    """The wait ends with the earlier watchdog, and a second watchdog is refused until then."""
    watchdog.start(_US)
    following = PostgresWatchdog(home)
    with pytest.raises(DatabaseError, match="another watchdog"):
        following.start(_US)
    waiting = asyncio.create_task(following.wait_for_earlier())
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done

    watchdog.release()

    await asyncio.wait_for(waiting, SECONDS)
