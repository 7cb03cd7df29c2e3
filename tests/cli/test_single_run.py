"""Commands and release processes that run once, with the real command against a running service."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

from smartmob.client.http import RestClient
from tests.acceptance.commands import QUICK_PROGRAMS, environment
from tests.waiting import until


async def _processes(rest: RestClient) -> list[dict[str, Any]]:
    processes: list[dict[str, Any]] = (await rest.get("/api/v1/processes"))["processes"]
    return processes


async def until_ended(rest: RestClient) -> None:
    """Return when no job runs."""

    async def ended() -> bool:
        return not (await rest.get("/jobs", state="running"))["jobs"]

    await until(ended)


async def test_bytes_pass_unchanged(program: Any, rest: RestClient) -> None:
    """Input, output and errors are those of the command, byte by byte, as the shell of this machine passes them."""
    folder = program("myapp", "web: exec sleep 1000\n")
    data = bytes(range(256)) * 1000 + b"no end \xff\r"
    script = "cat; printf 'a\\r\\nb\\rc\\377' >&2; exit 3"
    told = []
    for words in (("sh", "-c", script), (QUICK_PROGRAMS / "smartmob", "run", folder, "--", "sh", "-c", script)):
        command = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment(SMARTMOB_SERVER=rest.url),
        )  # fmt: skip
        told.append((*await command.communicate(data), command.returncode))
    assert told[0] == (data, b"a\r\nb\rc\xff", 3)
    assert told[1] == told[0]


async def test_a_terminal_is_passed_on(start: Any, program: Any) -> None:
    """A command gets a terminal of the size of ours when input and output are one, unless -T is given."""
    folder = program("myapp", "web: exec sleep 1000\n")
    script = "tty; stty size; echo done >&2; exit 3"
    async with start("run", folder, "--", "sh", "-c", script, terminal=True) as command:
        await command.says("/dev/pts/", "40 120", "done")
        assert await command.wait() == 3
    async with start("run", folder, "-T", "--", "tty", terminal=True) as command:
        await command.says("not a tty")
        assert await command.wait() == 1
    async with start("run", folder, "-t", "-n", "--", "tty") as command:
        await command.says("/dev/pts/")
        assert await command.wait() == 0
    async with start("run", folder, "-t") as command:
        assert await command.wait() == 2
        assert "need a COMMAND" in command.errors


async def test_a_command_runs_once_in_the_prepared_environment(smartmob: Any, program: Any, rest: RestClient) -> None:
    """Its output and its exit code are those of the command line, and no process is left, also with --json."""
    folder = program("myapp", "web: exec sleep 1000\n", **{".env": "COLOUR=red\n"})
    code, output, _ = await smartmob("run", folder, "--json", "--", "echo $COLOUR; exit 3")
    assert (code, [json.loads(line)["line"] for line in output.splitlines()]) == (3, ["red"])

    said = [
        await smartmob("run", folder, "--env", "WHO=me", "--", "sh", "-c", 'cat Procfile; echo "$COLOUR $WHO"; exit 7'),
        await smartmob("run", folder, "--", "echo $COLOUR | tr a-z A-Z; kill -9 $$"),
        await smartmob("run", folder, "--", "printf", "%s|", "two words", "[smartmob] mine"),
    ]

    assert [(code, output) for code, output, _ in said] == [
        (7, "web: exec sleep 1000\nred me\n"),
        (137, "RED\n"),
        (0, "two words|[smartmob] mine|"),
    ]
    assert await _processes(rest) == []


async def test_ctrl_c_ends_a_command_and_removes_it(start: Any, program: Any, rest: RestClient) -> None:
    """The program and its process are gone when the command returns, with limits and during preparation, too."""
    folder = program("myapp", "web: exec sleep 1000\n")
    # A signal can be lost while a shell starts a program; the next `sleep` of this one ends soon.
    line = "trap 'exit 130' INT; echo here; while :; do sleep 0.1; done"
    async with start("run", folder, "--memory", "256M", "--", line) as command:
        await command.says("here")
        [job] = (await rest.get("/jobs"))["jobs"]
        assert (job["state"], "/copies/" in job["cwd"]) == ("running", True)
        assert await command.interrupt() == 130
    assert await _processes(rest) == []


async def test_a_command_ends_with_its_client_and_its_reader(start: Any, program: Any, rest: RestClient) -> None:
    """SIGTERM ends it as CTRL-C does, and so does the end of the program that reads its output."""
    folder = program("myapp", "web: exec sleep 1000\n")
    async with start("run", folder, "--", "echo here; sleep 1000") as command:
        await command.says("here")
        command.process.send_signal(signal.SIGTERM)
        assert await command.process.wait() == 143
    line = f"({QUICK_PROGRAMS / 'smartmob'} run {folder} -- yes x; echo $? >&2) | head -1"
    reader = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment(SMARTMOB_SERVER=rest.url)
    )
    output, errors = await reader.communicate()
    assert (output, errors) == (b"x\n", b"141\n")
    await until_ended(rest)


async def test_output_that_cannot_be_written_is_an_error(program: Any, rest: RestClient) -> None:
    """A full disk is one line and the exit code 1, also for the last line."""
    folder = program("myapp", "web: exec sleep 1000\n")
    line = f"{QUICK_PROGRAMS / 'smartmob'} run {folder} -- echo x >/dev/full"
    command = await asyncio.create_subprocess_shell(
        line, stderr=asyncio.subprocess.PIPE, env=environment(SMARTMOB_SERVER=rest.url)
    )
    _, errors = await command.communicate()
    assert (command.returncode, errors.splitlines()[-1]) == (1, b"smartmob: No space left on device")
    assert await _processes(rest) == []


async def test_a_command_that_cannot_run_is_an_error(smartmob: Any, program: Any, rest: RestClient) -> None:
    """The reason is one line, the exit code is 1, and no process is left; options of a deployment are refused."""
    folder = program("myapp", "web: exec sleep 1000\n")

    code, output, errors = await smartmob("run", folder, "--", "./no-such-program")
    assert (code, output, errors) == (127, "", "smartmob: ./no-such-program: No such file or directory\n")
    (folder / "plain").write_text("")
    assert (await smartmob("run", folder, "--", "./plain"))[0] == 126
    (folder / ".env").write_text("this is no assignment\n")
    code, output, errors = await smartmob("run", folder, "--", "true")
    assert (code, output) == (1, "")
    assert errors.splitlines()[-1].startswith("smartmob: no procfile: .env, line 1")
    (folder / ".env").unlink()
    assert await smartmob("run", program("bare", None, data="here"), "--", "cat", "data") == (0, "here", "")
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
