"""Commands and release processes that run once, with the real command against a running service."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from smartmob.client.http import RestClient
from tests.acceptance.commands import environment


async def _processes(rest: RestClient) -> list[dict[str, Any]]:
    processes: list[dict[str, Any]] = (await rest.get("/api/v1/processes"))["processes"]
    return processes


async def test_a_command_runs_once_in_the_prepared_environment(smartmob: Any, program: Any, rest: RestClient) -> None:
    """Its output and its exit code are those of the command line, and no process is left."""
    folder = program("myapp", "web: exec sleep 1000\n", **{".env": "COLOUR=red\n"})

    said = [
        await smartmob("run", folder, "--env", "WHO=me", "--", "sh", "-c", 'cat Procfile; echo "$COLOUR $WHO"; exit 7'),
        await smartmob("run", folder, "--", "echo $COLOUR | tr a-z A-Z; kill -9 $$"),
        await smartmob("run", folder, "--", "printf", "%s|", "two words", "[smartmob] mine"),
    ]

    assert [(code, output) for code, output, _ in said] == [
        (7, "web: exec sleep 1000\nred me\n"),
        (137, "RED\n"),
        (0, "two words|[smartmob] mine|\n"),
    ]
    assert await _processes(rest) == []


async def test_ctrl_c_ends_a_command_and_removes_it(start: Any, program: Any, rest: RestClient) -> None:
    """The program and its process are gone when the command returns, with limits and during preparation, too."""
    folder = program("myapp", "web: exec sleep 1000\n")
    async with start("run", folder, "--memory", "256M", "--", "echo", "here; sleep 1000") as command:
        await command.says("here")
        [process] = await _processes(rest)
        assert process["limits"] == {"memory": 256 << 20, "cpu": None, "tasks": None}
        assert await command.interrupt() == 130
    assert await _processes(rest) == []


async def test_a_command_ends_with_its_client_and_its_reader(start: Any, program: Any, rest: RestClient) -> None:
    """SIGTERM ends it as CTRL-C does, and so does the end of the program that reads its output."""
    folder = program("myapp", "web: exec sleep 1000\n")
    async with start("run", folder, "--", "echo", "here; sleep 1000") as command:
        await command.says("here")
        command.process.send_signal(signal.SIGTERM)
        assert await command.process.wait() == 143
    assert await _processes(rest) == []
    line = f"'{sys.executable}' -m smartmob run {folder} -- sh -c 'while :; do echo x; sleep 0.05; done' | head -1"
    reader = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment(SMARTMOB_SERVER=rest.url)
    )
    output, errors = await reader.communicate()
    assert (output, b"Traceback" in errors) == (b"x\n", False)
    assert await _processes(rest) == []


async def test_output_that_cannot_be_written_is_an_error(program: Any, rest: RestClient) -> None:
    """A full disk is one line and the exit code 1, also for the last line."""
    folder = program("myapp", "web: exec sleep 1000\n")
    line = f"'{sys.executable}' -m smartmob run {folder} -- echo x >/dev/full"
    command = await asyncio.create_subprocess_shell(
        line, stderr=asyncio.subprocess.PIPE, env=environment(SMARTMOB_SERVER=rest.url)
    )
    _, errors = await command.communicate()
    assert (command.returncode, errors.splitlines()[-1]) == (1, b"smartmob: [Errno 28] No space left on device")
    assert await _processes(rest) == []


async def test_a_command_that_cannot_run_is_an_error(smartmob: Any, program: Any, rest: RestClient) -> None:
    """The reason is one line, the exit code is 1, and no process is left; options of a deployment are refused."""
    folder = program("myapp", "web: exec sleep 1000\n")

    code, output, errors = await smartmob("run", folder, "--", "./no-such-program")
    assert (code, output) == (1, "")
    assert "no-such-program" in errors
    code, _, errors = await smartmob("run", folder, "--scale", "web=1", "--", "true")
    assert code == 2
    assert "leave out --scale" in errors
    assert await _processes(rest) == []


async def test_a_release_runs_before_the_others(smartmob: Any, program: Any, rest: RestClient) -> None:
    """It has ended when the others are created, and is not in the list; a failed one stops the deployment."""
    good = program("myapp", "web: exec sleep 1000\nrelease: echo migrating\n")
    code, output, errors = await smartmob("run", good, "--detach")
    assert (code, output) == (0, "migrating\n")
    assert "Running release" in errors
    assert [process["slug"] for process in await _processes(rest)] == ["myapp.web.0"]

    [before] = await _processes(rest)
    bad = program("other", "web: exec sleep 1000\nrelease: echo broken; exit 3\n")
    code, output, errors = await smartmob("run", bad, "--detach", "--replace", "--app", "myapp")
    assert (code, output) == (3, "broken\n")
    assert "release failed with exit code 3" in errors
    [after] = await _processes(rest)
    assert (after["slug"], after["pid"]) == ("myapp.web.0", before["pid"])
