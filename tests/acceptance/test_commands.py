"""Commands with the installed service: killed or restarted during a job, and closed by a client."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from smartmob.client.command_client import Lab
from tests.acceptance.commands import kill_postgres, launch, run, serving
from tests.waiting import SECONDS, until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


async def test_a_job_ends_with_a_killed_service(reachable_path: Path) -> None:
    """All its descendants end; the record says so, and the output is kept."""
    data = reachable_path / "data"
    async with serving(data) as command:
        async with Lab(command.url, timeout=SECONDS, reconnect_for=0.1) as lab:
            listener = await lab.exec("setsid sleep 600 & echo $!; sleep 600")
            grandchild = int(await listener.next())
            job = listener.id
            command.send_signal(signal.SIGKILL)
            await command.wait()
        await until(lambda: not psutil.pid_exists(grandchild))
    kill_postgres(data)
    async with serving(data) as command, Lab(command.url, timeout=SECONDS) as lab:
        code, output, _ = await run("jobs", "--server", command.url, "--json")
        assert (code, '"state": "lost"' in output) == (0, True)
        watcher = await lab.attach(job)
        found = [message async for message in watcher]
        assert found[0] == f"{grandchild}\n"
        assert watcher.exit_code is None
        assert "the service ended while the job ran" in str(found[-1])


async def test_a_job_ends_when_the_service_is_stopped(reachable_path: Path) -> None:
    """Its client gets the outcome in time, and the next service has the record."""
    data = reachable_path / "data"
    async with serving(data, "--commands-kill-grace", "600") as command:
        async with Lab(command.url, timeout=SECONDS, reconnect_for=0.1) as lab:
            listener = await lab.exec("trap 'echo bye; exit 5' TERM; echo up; read x")
            assert await listener.next() == "up\n"
            command.send_signal(signal.SIGTERM)
            assert await listener.next() == "bye\n"
            assert [message async for message in listener] == []
            assert listener.ended is not None
            assert (listener.ended.state, listener.exit_code) == ("stopped", 5)
        assert await command.wait() == 0
    async with serving(data) as command, Lab(command.url, timeout=SECONDS) as lab:
        assert await (await lab.attach(listener.id)).output() == ["up\n", "bye\n"]


async def test_close_server_ends_the_jobs_and_then_the_service(reachable_path: Path) -> None:
    """The exit code is 0."""
    async with serving(reachable_path / "data") as command:
        async with Lab(command.url, timeout=SECONDS, reconnect_for=0.1) as lab:
            listener = await lab.exec("sleep 600")
            assert await lab.close_server() == [f"Killing job {listener.id}", "Closing Server"]
        assert await command.wait() == 0
        assert any(event["event"] == "stop" for event in command.events)


async def test_the_conplyent_port_is_closed_by_default(reachable_path: Path) -> None:
    """Opening it to other machines gives a warning."""
    async with serving(reachable_path / "data", "--conplyent-port", "0", "--conplyent-host", "0.0.0.0") as command:
        await until(lambda: b"conplyent.exposed" in command.errors)
        await command.event("bind", transport="conplyent")
        binds = [event for event in command.events if event["event"] == "bind"]
        assert {event["transport"] for event in binds} == {"tcp", "conplyent"}
    async with serving(reachable_path / "other") as command:
        assert [event["transport"] for event in command.events if event["event"] == "bind"] == ["tcp"]


async def test_a_module_with_own_commands_is_loaded(reachable_path: Path) -> None:
    """A module that cannot be imported stops the start."""
    (reachable_path / "my_commands.py").write_text(
        "from smartmob.commands.registry import command\n"
        "@command\n"
        "def double(call, value: int):\n"
        "    'Say twice a number.'\n"
        "    call.say(2 * value)\n"
    )
    path = os.pathsep.join([str(reachable_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ("--commands", "my_commands")
    async with (
        serving(reachable_path / "data", *options, as_installed=True, PYTHONPATH=path) as command,
        Lab(command.url, timeout=SECONDS) as lab,
    ):
        assert await lab.double(21) == [42]
    refused = await launch(
        *("--port", "0", "--data-dir", reachable_path / "data", "--commands", "no_such_module"),
        pid_file=reachable_path / "pid",
    )
    assert await refused.wait() == 2
    assert b"--commands no_such_module: the module cannot be imported" in refused.errors


async def test_only_the_end_of_a_large_output_stays_on_the_disk(reachable_path: Path) -> None:
    """The reader gets all of it."""
    data = reachable_path / "data"
    limits = ("--commands-job-output", str(4 * 1024 * 1024), "--commands-total-output", str(8 * 1024 * 1024))
    async with serving(data, *limits, as_installed=True) as command, Lab(command.url, timeout=SECONDS) as lab:
        service = psutil.Process(command.pid)
        before = service.memory_info().rss
        listener = await lab.exec(["head", "-c", "200000000", "/dev/zero"], binary=True)
        assert sum([len(piece) async for piece in listener]) == 200_000_000
        kept = sum(path.stat().st_size for path in (data / "commands" / "output").iterdir())
        assert kept <= 5 * 1024 * 1024
        assert service.memory_info().rss < before + 50_000_000
        await asyncio.gather(*(lab.exec("head -c 3000000 /dev/zero", complete=True) for _ in range(5)))
        kept = sum(path.stat().st_size for path in (data / "commands" / "output").iterdir())
        assert kept <= 9 * 1024 * 1024
