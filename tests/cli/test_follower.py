"""Following processes: how it ends, and what a lost connection does."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.http import RestClient
from tests.acceptance.commands import run, serving
from tests.cli.terminal import typed
from tests.cli.wire import wire_to
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)

TALKER = "web: seq 100000 | while read n; do echo line $n; sleep 0.05; done\n"


async def test_a_connection_that_is_lost(client: Any, smartmob: Any, program: Any) -> None:
    """Loss and return of the connection are printed, and the output continues."""
    assert (await smartmob("run", program("myapp", TALKER), "--detach"))[0] == 0
    async with (
        wire_to(client.server.port) as (wire, address),
        typed("logs", "-f", "myapp", SMARTMOB_SERVER=address) as command,
    ):
        await command.says("line 1\n")
        wire.cut()
        await command.says(f"The connection to {address} was lost")
        await wire.refused.wait()
        wire.repair()
        await command.says("myapp.web.0: connected again")
        seen = command.output
        await until(lambda: command.output.count("\n") > seen.count("\n") + 2)
        assert await command.interrupt() == 0
    assert command.errors.count("was lost") == 1


async def test_a_process_that_is_deleted_meanwhile(client: Any, smartmob: Any, program: Any, rest: RestClient) -> None:
    """After the reconnect the command reports the missing process and ends."""
    assert (await smartmob("run", program("myapp", TALKER), "--detach"))[0] == 0
    async with (
        wire_to(client.server.port) as (wire, address),
        typed("attach", "myapp.web.0", SMARTMOB_SERVER=address) as command,
    ):
        await command.says("line ")
        wire.cut()
        await wire.refused.wait()
        await rest.post("/delete-process/myapp.web.0", {})
        wire.repair()
        assert await command.wait() == 0
    assert "myapp.web.0 was deleted" in command.errors


async def test_ctrl_c_while_the_connection_is_lost(client: Any, smartmob: Any, program: Any) -> None:
    """It gives up at once."""
    assert (await smartmob("run", program("myapp", TALKER), "--detach"))[0] == 0
    async with (
        wire_to(client.server.port) as (wire, address),
        typed("logs", "-f", "myapp", SMARTMOB_SERVER=address) as command,
    ):
        await command.says("line 1\n")
        wire.cut()
        await wire.refused.wait()
        assert await command.interrupt() == 0


@pytest.mark.acceptance
async def test_a_service_that_stops(reachable_path: Path, program: Any) -> None:
    """The last output of all processes is printed, the stop is reported once, and the exit code is 3."""
    folder = program("myapp", "web: trap 'echo bye; exit' TERM; echo hello; while :; do sleep 0.05; done\n")
    async with serving(reachable_path / "data") as service:
        await run("run", folder, "--detach", "--scale", "web=2", SMARTMOB_SERVER=service.url)
        async with typed("logs", "-f", "myapp", SMARTMOB_SERVER=service.url) as command:
            await command.says("myapp.web.0 | hello", "myapp.web.1 | hello")
            stopped, code = await asyncio.gather(service.stop(signal.SIGINT), command.wait())
    assert (stopped, code) == (0, 3)
    assert command.output.count("| bye") == 2
    assert command.errors == f"The service at {service.url} is stopping\n"
