"""The service as process 1 of a namespace, as in a container: signals, orphans and the end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.acceptance.commands import PROGRAMS, SECONDS, RunningCommand, environment, run
from tests.namespaces import NAMESPACE
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.machine, pytest.mark.timeout(900)]

_USER = () if os.geteuid() == 0 else ("--user",)


class Contained:
    """A service in a namespace of its own. `first` is its process 1, with the id outside of the namespace."""

    def __init__(self, command: RunningCommand) -> None:
        self.command = command
        self.first = psutil.Process(command.process.pid).children()[0]

    @property
    def service(self) -> psutil.Process:
        """Return the service itself."""
        return next(child for child in self.first.children() if "serve" in child.cmdline())

    async def orphan(self) -> None:
        """Start a process in the namespace that loses its parent and ends, like one of `docker exec`."""
        words = ("nsenter", *_USER, "--preserve-credentials", "--target", str(self.first.pid), "--pid", "--mount")
        process = await asyncio.create_subprocess_exec(*words, "sh", "-c", "(sh -c 'exit 3' &) ; :")
        assert await process.wait() == 0

    def zombies(self) -> list[psutil.Process]:
        """Return the zombies in the namespace."""
        return [found for found in self.first.children(recursive=True) if found.status() == psutil.STATUS_ZOMBIE]


@asynccontextmanager
async def contained(data: Path) -> AsyncIterator[Contained]:
    """Run a service as process 1 until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(*NAMESPACE, PROGRAMS / "smartmob", "serve", "--port", "0", "--data-dir", data),
        *("--log-format", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    command = RunningCommand(process)
    try:
        await command.event("bind", transport="tcp")
        yield Contained(command)
    finally:
        if process.returncode is None:
            process.kill()  # and with it, by --kill-child, the namespace
        await command.wait()


async def test_sigterm_to_process_1_stops_the_service_in_order(reachable_path: Path) -> None:
    """Programs and database stop, too, and process 1 has the exit code of the service."""
    (reachable_path / "app").mkdir()
    (reachable_path / "app" / "Procfile").write_text("web: trap '' TERM; setsid sleep 600 & wait\n")
    async with contained(reachable_path / "data") as service:
        url = {"SMARTMOB_SERVER": service.command.url}
        assert (await run("run", reachable_path / "app", "--detach", **url))[0] == 0
        await until(lambda: any(found.name() == "sleep" for found in service.first.children(recursive=True)))
        inside = service.first.children(recursive=True)

        service.first.send_signal(signal.SIGTERM)

        assert await service.command.wait() == 0
        stop = await service.command.event("stop")
        assert stop["reason"] == "SIGTERM"
        assert not [found for found in inside if found.is_running()]


async def test_orphans_are_reaped(reachable_path: Path) -> None:
    """Processes of other origin and those of a killed database do not stay as zombies."""
    data = reachable_path / "data"
    async with contained(data) as service:
        for _ in range(3):
            await service.orphan()
        database = next(found for found in service.first.children() if found.name().startswith("postgres"))
        before = len(service.command.events)
        database.kill()
        await service.command.event("database.started", after=before)

        async def clean() -> bool:
            return not service.zombies()

        await until(clean)
        assert service.service.is_running()


async def test_no_process_of_the_namespace_outlives_a_killed_service(reachable_path: Path) -> None:
    """Process 1 ends with the service, and the kernel kills the rest."""
    async with contained(reachable_path / "data") as service:
        inside = service.first.children(recursive=True)
        assert len(inside) > 2
        service.service.kill()

        assert await service.command.wait() == 128 + signal.SIGKILL
        psutil.wait_procs(inside, SECONDS)
        assert not [found for found in inside if found.is_running()]


async def test_a_failed_start_gives_its_error_and_exit_code(reachable_path: Path) -> None:
    """Process 1 passes the exit code on."""
    process = await asyncio.create_subprocess_exec(
        *(*NAMESPACE, PROGRAMS / "smartmob", "serve", "--host", "0.0.0.0"),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert b"refusing to listen on 0.0.0.0 without a token" in errors
