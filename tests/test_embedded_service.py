"""The service inside another program."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import structlog
import uvloop

import smartmob
from smartmob.embedded_service import LOGGER
from smartmob.errors import SettingsError, StartupError
from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.processes.archives import make_archive
from tests.waiting import until

_SLEEPER = make_archive("zip", {"Procfile": "web: exec sleep 600\n"})


async def _run_program(session: aiohttp.ClientSession, url: str) -> psutil.Process:
    """Start a program on a service, and return its process."""
    async with session.post(f"{url}/upload-archive", data=_SLEEPER) as response:
        source = (await response.json())["source_url"]
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": source}
    async with session.post(f"{url}/create-process", json=wanted) as response:
        details = (await response.json())["details"]

    async def pid() -> int | None:
        async with session.get(details) as response:
            found: int | None = (await response.json())["pid"]
            return found

    return psutil.Process(await until(pid))


def _state_of_this_process() -> dict[str, Any]:
    """Return what a service could change in the process that it runs in."""
    before = os.umask(0o022)
    os.umask(before)
    loggers = [logging.getLogger(name) for name in (None, "aiohttp.server", "aiohttp.access", LOGGER)]
    return {
        "umask": before,
        "signals": [signal.getsignal(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}],
        "environment": dict(os.environ),
        "loggers": [(each.level, tuple(each.handlers), tuple(each.filters), each.disabled) for each in loggers],
        "structlog": {name: repr(value) for name, value in structlog.get_config().items()},
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "folder": os.getcwd(),
        "hooks": (sys.excepthook, threading.excepthook),
    }


async def test_a_service_in_a_program_changes_nothing_of_its_process(database_url: str, tmp_path: Path) -> None:
    """Signals, umask, environment, limits and logs are the same during the block and after it; its programs end."""
    before = _state_of_this_process()
    async with smartmob.serving(database_url=database_url, data_dir=tmp_path / "data") as url:
        assert _state_of_this_process() == before
        async with aiohttp.ClientSession() as session:
            program = await _run_program(session, url)
            with pytest.raises(ValueError, match="of the body"):
                async with smartmob.serving(database_url=database_url, data_dir=tmp_path / "other") as other:
                    assert other != url
                    raise ValueError("of the body")
            async with session.get(f"{url}/ready") as response:
                assert response.status == 200
            assert program.is_running()
    assert not program.is_running()
    assert _state_of_this_process() == before
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
async def test_a_service_runs_in_the_loop_of_any_thread(
    make_loop: Callable[[], asyncio.AbstractEventLoop], database_url: str, tmp_path: Path
) -> None:
    """The loops of asyncio and of uvloop can serve in a thread, where no signal handler can be set."""

    async def serve() -> int:
        async with (
            smartmob.serving(database_url=database_url, data_dir=tmp_path) as url,
            aiohttp.ClientSession() as session,
            session.get(url) as response,
        ):
            return response.status

    def run() -> int:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            return runner.run(serve())

    assert await asyncio.to_thread(run) == 200


async def test_a_cancelled_block_ends_in_order(database_url: str, tmp_path: Path) -> None:
    """Cancelling again does not leave programs behind, and the block ends with CancelledError."""
    running: asyncio.Future[psutil.Process] = asyncio.get_running_loop().create_future()

    async def block() -> None:
        async with (
            aiohttp.ClientSession() as session,
            smartmob.serving(database_url=database_url, data_dir=tmp_path) as url,
        ):
            running.set_result(await _run_program(session, url))
            await asyncio.Event().wait()

    task = asyncio.ensure_future(block())
    program = await running
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not program.is_running()


async def test_a_start_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The embedded database of a service that was cancelled while it started is stopped, and its folder removed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def block() -> None:
        async with smartmob.serving():
            raise AssertionError

    task = asyncio.ensure_future(block())
    home: Path = await until(lambda: next(tmp_path.glob("smartmob-*/data/postgres"), None))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert EmbeddedPostgres(home, TaskRegistry()).pid() is None
    assert list(tmp_path.glob("smartmob-*")) == []


async def test_a_service_that_cannot_start_says_why(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A name that is no setting is a TypeError with the nearest one; bad values and a taken port are StartupErrors.

    Nothing is printed: the local variables of a traceback would have the token.
    """
    with pytest.raises(TypeError, match=r"'processes_graze'.*did you mean 'processes_grace'"):
        async with smartmob.serving(processes_graze=1):
            pass
    with pytest.raises(SettingsError, match="expected a number"):
        async with smartmob.serving(processes_grace="soon", data_dir=tmp_path):
            pass
    with pytest.raises(StartupError, match="without a token"):
        async with smartmob.serving(host="0.0.0.0", data_dir=tmp_path):
            pass
    async with smartmob.serving(database_url=database_url, data_dir=tmp_path) as url:
        with pytest.raises(StartupError, match="cannot listen"):
            port = int(url.rpartition(":")[2])
            async with smartmob.serving(token="t0p", database_url=database_url, data_dir=tmp_path / "b", port=port):
                pass
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "t0p" not in said.out + said.err


async def test_log_events_are_records_of_the_logger_smartmob(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The caller's configuration of logging gets each event with its fields; with an endpoint the service writes."""
    caplog.set_level(logging.INFO, LOGGER)
    async with smartmob.serving(database_url=database_url, data_dir=tmp_path, token="t0p"):
        pass
    records = [record for record in caplog.records if record.name == LOGGER]
    assert any(record.getMessage().startswith("event=bind transport=tcp host=127.0.0.1 port=") for record in records)
    caplog.clear()
    address = f"file://{tmp_path}/log"
    async with smartmob.serving(
        database_url=database_url, data_dir=tmp_path, logging_endpoint=address, log_format="json"
    ):
        pass
    assert '"event":"bind"' in (tmp_path / "log").read_text()
    assert [record for record in caplog.records if record.name == LOGGER] == []
    assert "bind" not in "".join(capfd.readouterr())


_SCRIPT = """
import asyncio, sys
import smartmob
assert not [name for name in sys.modules if name.startswith("smartmob.")]

async def main():
    async with smartmob.serving(database_url=sys.argv[1], data_dir=sys.argv[2], auth_tries=1, token="t0p") as url:
        import aiohttp
        async with aiohttp.ClientSession() as session:
            for number in range(4):
                async with session.get(url, headers={"Authorization": f"Bearer wrong{number}"}) as response:
                    print(response.status)

asyncio.run(main())
"""


@pytest.mark.parametrize("closed", ["", "2>&-", ">&- 2>&-"])
async def test_warnings_go_to_standard_error_and_nothing_else_does(
    closed: str, database_url: str, tmp_path: Path
) -> None:
    """A program that has not configured logging sees warnings there; a closed standard error does not stop it."""
    command = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", _SCRIPT, database_url, str(tmp_path)]
    result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ([] if closed.startswith(">") else ["401", "429", "429", "429"])
    assert [line.split()[0] for line in result.stderr.splitlines()] == ([] if closed else ["event=auth.limited"])
