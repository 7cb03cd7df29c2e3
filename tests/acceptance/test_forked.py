"""The processes whose copies are the commands and services of the tests."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.acceptance import forked
from tests.acceptance.commands import run, serving
from tests.waiting import until

pytestmark = pytest.mark.acceptance


def _asking() -> socket.socket:
    """Return a connection to the process that is copied for commands."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(forked.programs().with_name("commands")))
    return line


async def test_programs_that_ask_for_half_hold_up_no_other(tmp_path: Path) -> None:
    """One that has sent nothing, and one that has sent a part, wait or go, and the commands of others run."""
    with (tmp_path / "file").open("w") as file, _asking() as silent, _asking() as slow, _asking() as gone:
        for line in (slow, gone):
            socket.send_fds(line, [(1000).to_bytes(4, "big")], [file.fileno()] * 3)
            line.sendall(b"x")
        gone.close()

        assert (await run("--version"))[0] == 0

        for line in (silent, slow):
            line.close()
        assert (await run("--version"))[0] == 0


async def test_signals_and_ends_are_those_of_one_program(database_url: str, tmp_path: Path) -> None:
    """One program gets SIGTERM, and its service stops in order. The other is killed with its service."""
    shared = ("--database-url", database_url)
    async with serving(tmp_path / "one", *shared) as stopped, serving(tmp_path / "two", *shared) as killed:
        pids = stopped.pid, killed.pid
        stopped.process.terminate()
        assert await stopped.wait() == 0
        assert [psutil.pid_exists(pid) for pid in pids] == [False, True]
        killed.process.kill()
        assert await killed.wait() == -signal.SIGKILL
        assert await until(lambda: not psutil.pid_exists(pids[1]))
