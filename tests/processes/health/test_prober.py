"""The execution of checks against real servers and commands on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.processes import model
from smartmob.processes.health.prober import Prober
from smartmob.processes.health.state_machine import Finished
from tests import free_ports
from tests.kernel.subprocesses.families import living
from tests.waiting import until


class Stage:
    """A prober with a folder for commands, and servers."""

    def __init__(self, folder: Path) -> None:
        self.tasks = TaskRegistry()
        self.spawner = Spawner(self.tasks)
        self.prober = Prober(self.spawner)
        self.folder = folder
        self.hosts: list[str] = []
        self._runner: web.AppRunner | None = None

    async def serve(self, host: str, port: int = 0) -> int:
        """Serve statuses by their numbers on one address; return the port."""
        self._runner = web.AppRunner(web.Application())
        self._runner.app.router.add_get("/{status}", self._answer)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        found: int = self._runner.addresses[0][1]
        return found

    async def _answer(self, request: web.Request) -> web.Response:
        self.hosts.append(request.headers["Host"])
        status = int(request.match_info["status"])
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"}, body=b"x" * 500_000)

    async def check(self, port: int = 1, env: dict[str, str] | None = None, **check: Any) -> Finished:
        """Execute a check of a program that has the port."""
        variables = {"PORT": str(port), "PATH": os.defpath} | (env or {})
        ready = model.PreparedProcess(argv=["x"], env=variables, folder=str(self.folder), port=port, digest="")
        return await self.prober.execute(model.HealthCheck(**{"timeout": 60.0} | check), ready)

    async def close(self) -> None:
        """Stop all."""
        await self.prober.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.spawner.close()
        await self.tasks.close()


@pytest.fixture(name="stage")
async def _stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_program_may_listen_on_either_loopback_address(stage: Stage, host: str) -> None:
    """`localhost` is both, whatever the machine resolves it to; the program sees the name."""
    port = await stage.serve(host)
    assert await stage.check(port, http="/200") == Finished(True)
    assert stage.hosts == [f"localhost:{port}"]
    assert await stage.check(port, tcp="$PORT") == Finished(True)
    assert await stage.check(tcp=f"[{host}]:{port}" if ":" in host else f"{host}:{port}") == Finished(True)


async def test_a_status_from_200_to_399_passes(stage: Stage) -> None:
    """A redirect is not followed: it may lead to another host, or in a circle."""
    port = await stage.serve("127.0.0.1")
    assert [(await stage.check(port, http=f"/{status}")).passed for status in (204, 301, 400, 404, 503)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert (
        await stage.check(port, http="/503")
    ).detail == f"http://localhost:{port}/503 answered 503 Service Unavailable"


async def test_a_closed_port_fails_with_the_reason(stage: Stage) -> None:
    """The detail names the address."""
    port = free_ports.single_port()
    assert (await stage.check(port, http="/")).detail.startswith(f"cannot connect to http://localhost:{port}/")
    assert "ultiple" not in (await stage.check(port, http="/")).detail
    assert (await stage.check(port, tcp=port)).detail == f"cannot connect to 127.0.0.1 port {port}: Connection refused"
    assert not (await stage.check(port, env={"PORT": "none"}, tcp="$PORT")).passed


async def test_a_server_that_does_not_answer_fails_at_the_timeout(stage: Stage) -> None:
    """A connection that is accepted and then silent is no health."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await stage.check(silent.getsockname()[1], http="/", timeout=0.1)
    assert found == Finished(False, "no result within 0.1 s")


async def test_a_command_passes_with_status_0(stage: Stage) -> None:
    """It has the folder and the environment of the program; a failure shows its last line."""
    assert await stage.check(5000, command='test "$PORT" = 5000 -a "$PWD" = "$(pwd)" && touch here') == Finished(True)
    assert (stage.folder / "here").exists()
    failed = await stage.check(command="echo first; echo no database >&2; echo; exit 3")
    assert failed == Finished(False, "its command exited 3: no database")
    assert (await stage.check(command="/no/such/thing now")).passed is False


async def test_a_command_that_hangs_is_killed_with_its_children(stage: Stage) -> None:
    """Neither the timeout nor a cancellation leaves a process; the children may ignore SIGTERM."""
    script = "trap '' TERM; sleep 600 & echo $! > child; echo $$ > own; wait"
    task = asyncio.ensure_future(stage.check(command=script, timeout=600))
    await until(lambda: (stage.folder / "own").exists() and (stage.folder / "own").read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pids = [int((stage.folder / name).read_text()) for name in ("child", "own")]
    await until(lambda: not living(pids))
    assert await stage.check(command="sleep 600", timeout=0.1) == Finished(False, "no result within 0.1 s")


async def test_a_check_that_cannot_be_run_while_the_service_stops_is_no_failure(stage: Stage) -> None:
    """Nothing can be said about the program then."""
    await stage.spawner.close()
    assert (await stage.check(command="true")).passed is None
