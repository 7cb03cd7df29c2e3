"""`smartmob ps`, `logs`, `attach`, `restart` and `stop`: the real commands against a running service."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from smartmob.cli.processes import remarks, style_of
from smartmob.client.http import RestClient
from smartmob.client.source_archive import source_archive
from smartmob.processes import model
from tests.acceptance.commands import run
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)

PROCFILE = """\
web: for n in 1 2 3; do echo "web $n"; done; exec sleep 1000
worker: for n in 1 2; do echo "work $n"; done; exec sleep 1000
"""


async def _create(rest: RestClient, folder: Any, *slugs: str, **more: Any) -> None:
    """Create processes of a folder, and wait until each has written what it writes at its start."""

    async def chunks() -> Any:
        yield archive.path.read_bytes()

    with source_archive(folder) as archive:
        source_url = (await rest.upload("/upload-archive", chunks(), archive.size))["source_url"]
    for slug in slugs:
        app, process_type, number = slug.split(".")
        node = f"{process_type}.{number}"
        await rest.post(
            "/create-process",
            {"app": app, "node": node, "process_type": process_type, "source_url": source_url, **more},
        )
    await until(lambda: _all_run(rest, slugs))


async def _all_run(rest: RestClient, slugs: tuple[str, ...]) -> bool:
    return all([(await rest.get(f"/process-status/{slug}"))["state"] == "running" for slug in slugs])


async def _kept(smartmob: Any, slug: str, count: int) -> None:
    """Wait until so many lines of a process are kept."""

    async def enough() -> bool:
        return len((await smartmob("logs", slug))[1].splitlines()) >= count

    await until(enough)


class TestPs:
    """The list of processes."""

    async def test_without_processes_the_output_explains_how_to_start_one(self, smartmob: Any) -> None:
        """The output has the command."""
        code, output, errors = await smartmob("ps")
        assert (code, output) == (0, "")
        assert "`smartmob run FOLDER`" in errors
        assert (await smartmob("ps", "--json"))[:2] == (0, "[]\n")

    async def test_a_table_and_json(self, smartmob: Any, rest: RestClient, program: Any, base_port: int) -> None:
        """Each process has one line: state, PID, uptime, restarts, CPU, memory and port."""
        await _create(rest, program("myapp", PROCFILE), "myapp.web.0", "myapp.worker.0")
        await rest.post("/stop-process/myapp.worker.0", {})

        code, output, _ = await smartmob("ps")
        assert code == 0
        head, web, worker = [line.split() for line in output.splitlines()[1:]]
        assert head == ["Slug", "State", "PID", "Uptime", "Restarts", "CPU", "Memory", "Port"]
        status = await rest.get("/process-status/myapp.web.0")
        assert (web[:3], web[-1]) == (["myapp.web.0", "running", str(status["pid"])], str(base_port))
        assert worker == ["myapp.worker.0", "stopped", "-", "-", "0", "-", "-", str(base_port + 100)]
        told = json.loads((await smartmob("ps", "--json"))[1])
        assert [(process["slug"], process["state"]) for process in told] == [
            ("myapp.web.0", "running"), ("myapp.worker.0", "stopped")
        ]  # fmt: skip

    async def test_processes_are_listed_by_name_and_number(self, smartmob: Any, rest: RestClient, program: Any) -> None:
        """By name and number, in whatever order they were created."""
        slugs = ("myapp.worker.0", "myapp.web.10", "myapp.web.2", "another.web.0")
        folder = program("myapp", PROCFILE)
        for slug in slugs:
            await _create(rest, folder, slug)
        told = json.loads((await smartmob("ps", "--json"))[1])
        assert [process["slug"] for process in told] == [
            "another.web.0",
            "myapp.web.2",
            "myapp.web.10",
            "myapp.worker.0",
        ]

    async def test_the_reason_of_a_failure_is_shown(self, smartmob: Any, rest: RestClient, program: Any) -> None:
        """A failed process is listed below the table with the reason and its last lines."""
        folder = program("myapp", "web: echo help; exit 7\n")
        await _create(rest, folder)
        await smartmob("run", folder, "--detach")

        async def waits() -> Any:
            # Between its tries it is started and dies again, and then says something else.
            output = (await smartmob("ps"))[1]
            return "\nmyapp.web.0  backoff: exited 7, next try at 20" in output and output

        assert "\n  help" in await until(waits)

    def test_each_state_has_its_details(self) -> None:
        """Failures show their reason, downloads their progress, and no control characters are printed."""
        status: dict[str, Any] = {"slug": "a.b", "detail": None, "output": [], "download": None}

        def said(**changes: Any) -> str:
            return "\n".join(line.plain for line in remarks(status | changes))

        assert said(state="running") == ""
        assert said(state="no procfile", detail="the \x1b source", output=["x\x07", ""]) == (
            "\na.b  no procfile: the \ufffd source\n  x\ufffd\n  "
        )
        waiting = {"state": "backoff", "exit_status": None, "next_try_at": None}
        assert said(**waiting, exit_signal=9) == "\na.b  backoff: ended by signal 9"
        download = {"received": 1_500_000, "total": None}
        assert said(state="downloading", download=download) == "\na.b  downloading: 1.5 MB"
        assert said(state="downloading", download=download | {"total": 3_000_000}).endswith("1.5 MB of 3.0 MB")
        assert {style_of(state) for state in model.FAILURES} == {"red"}
        assert style_of("running") == "green"


class TestLogs:
    """Stored output of processes."""

    async def test_the_stored_output_is_printed_without_following(
        self, smartmob: Any, rest: RestClient, program: Any
    ) -> None:
        """It prints it and ends; names only with several; JSON for programs."""
        await _create(rest, program("myapp", PROCFILE), "myapp.web.0", "myapp.worker.0")
        await _kept(smartmob, "myapp.web.0", 3)
        await _kept(smartmob, "myapp.worker.0", 2)

        assert await smartmob("logs", "myapp.web.0") == (0, "web 1\nweb 2\nweb 3\n", "")
        assert await smartmob("logs", "--tail", "1", "myapp.web.0") == (0, "web 3\n", "")
        assert (await smartmob("logs", "--tail", "0", "myapp.web.0"))[1] == ""
        assert (await smartmob("logs", "--tail", "1", "myapp"))[1] == (
            "myapp.web.0    | web 3\nmyapp.worker.0 | work 2\n"
        )
        told = (await smartmob("logs", "--json", "--tail", "1", "myapp.worker.0", "myapp.web.0"))[1]
        assert [json.loads(line) for line in told.splitlines()] == [
            {"slug": "myapp.worker.0", "line": "work 2"}, {"slug": "myapp.web.0", "line": "web 3"}
        ]  # fmt: skip

    async def test_only_the_lines_of_one_stream_are_printed(
        self, smartmob: Any, rest: RestClient, program: Any
    ) -> None:
        """Only lines of standard error, or only those of standard output."""
        await _create(rest, program("myapp", "web: echo out; echo err >&2; exec sleep 600\n"), "myapp.web.0")
        await _kept(smartmob, "myapp.web.0", 2)
        assert await smartmob("logs", "--stream", "stderr", "myapp.web.0") == (0, "err\n", "")
        assert await smartmob("logs", "--stream", "stdout", "myapp") == (0, "out\n", "")
        told = (await smartmob("logs", "--json", "--stream", "stderr", "myapp"))[1]
        assert json.loads(told) == {"slug": "myapp.web.0", "line": "err", "stream": "stderr"}

    async def test_following_on_a_terminal(self, start: Any, rest: RestClient, program: Any, smartmob: Any) -> None:
        """New lines come as they are written, each name in a colour that stays the same; CTRL-C ends it."""
        await _create(rest, program("myapp", PROCFILE), "myapp.web.0", "myapp.worker.0")
        colours = []
        for _ in range(2):
            async with start("logs", "-f", "--tail", "1", "myapp", terminal=True) as command:
                await command.says("myapp.web.0    | web 3", "myapp.worker.0 | work 2")
                await smartmob("restart", "myapp.web.0")
                await command.says("myapp.web.0    | web 1\n")
                assert await command.interrupt() == 0
            colours.append({line.split(" ")[0] for line in command.output.splitlines() if " | " in line})
        assert colours[0] == colours[1]
        assert len(colours[0]) == 2
        assert all(colour.startswith("\x1b[") for colour in colours[0])
        assert "[smartmob]" not in command.text

    async def test_a_reader_that_has_seen_enough(self, start: Any, rest: RestClient, program: Any) -> None:
        """A pipe that is closed ends it quietly, also while it follows."""
        await _create(rest, program("myapp", "web: while :; do echo x; sleep 0.01; done\n"), "myapp.web.0")
        ours, theirs = os.pipe()
        async with start("logs", "-f", "myapp.web.0", output=theirs) as command:
            os.close(theirs)
            assert await asyncio.to_thread(os.read, ours, 1) == b"x"
            os.close(ours)
            assert await command.wait() == 0
        assert command.errors == ""

    async def test_what_is_not_there(self, smartmob: Any, rest: RestClient, program: Any) -> None:
        """It is exit code 1 with what might be meant."""
        assert await smartmob("logs", "nothing") == (
            1, "", "smartmob: there is no program nothing; `smartmob ps` lists them\n"
        )  # fmt: skip
        assert (await smartmob("logs"))[0] == 2
        assert (await smartmob("logs", "--tail", "-1", "x"))[0] == 2
        assert (await run("logs", "x", "--server", "http://127.0.0.1:1"))[0] == 3


class TestAttach:
    """One process that is looked at."""

    async def test_what_is_written_and_what_happens(
        self, start: Any, rest: RestClient, program: Any, smartmob: Any
    ) -> None:
        """Both come, until the process is deleted; CTRL-C only detaches."""
        await _create(rest, program("myapp", PROCFILE), "myapp.web.0")
        async with start("attach", "myapp.web.0") as command, start("attach", "--json", "myapp.web.0") as other:
            await command.says("web 3\n", "Attached to myapp.web.0, which is running")
            await other.says("web 3")
            assert await command.interrupt() == 0
            assert "reattach with `smartmob attach myapp.web.0`" in command.errors

            assert (await smartmob("stop", "--remove", "myapp.web.0"))[0] == 0
            assert await other.wait() == 0
        assert "myapp.web.0 was deleted" in other.errors
        told = [json.loads(line) for line in other.output.splitlines()]
        assert [list(line)[1] for line in told] == ["event"] + 3 * ["line"] + 3 * ["event"]
        assert told[-1] == {"slug": "myapp.web.0", "event": "stopped"}


class TestRestartAndStop:
    """Processes that are told what to do."""

    async def test_processes_are_chosen_by_slug_or_application(
        self, smartmob: Any, rest: RestClient, program: Any
    ) -> None:
        """Processes are chosen by slug or application; each is reported, and stopping returns when all have stopped."""
        await _create(rest, program("myapp", PROCFILE), "myapp.web.0", "myapp.worker.0")
        first = await rest.get("/process-status/myapp.web.0")

        assert await smartmob("restart", "myapp.web.0") == (0, "", "myapp.web.0 restarted\n")
        await until(lambda: _restarted(rest, "myapp.web.0", first["pid"]))

        code, output, errors = await smartmob("stop", "myapp", "--json")
        assert (code, errors) == (0, "")
        assert {(process["slug"], process["state"]) for process in json.loads(output)} == {
            ("myapp.web.0", "stopped"), ("myapp.worker.0", "stopped")
        }  # fmt: skip

        assert (await smartmob("restart", "myapp.worker.0", "--json"))[0] == 0
        await until(lambda: _all_run(rest, ("myapp.worker.0",)))

        code, output, errors = await smartmob("stop", "--remove", "myapp.web.0", "myapp.worker.0")
        assert (code, output) == (0, "")
        assert "myapp.worker.0 stopped and removed\n" in errors
        assert (await smartmob("ps", "--json"))[1] == "[]\n"

    async def test_what_is_not_there(self, smartmob: Any, rest: RestClient, program: Any) -> None:
        """Nothing is done to anything when one name is wrong."""
        await _create(rest, program("myapp", PROCFILE), "myapp.web.0")
        code, output, errors = await smartmob("stop", "myapp.web.0", "myapp.web.1")
        assert (code, output) == (1, "")
        assert errors == "smartmob: there is no program myapp.web.1; did you mean myapp.web.0?\n"
        assert await _all_run(rest, ("myapp.web.0",))


async def _restarted(rest: RestClient, slug: str, pid: int) -> bool:
    status = await rest.get(f"/process-status/{slug}")
    return status["pid"] not in (None, pid)
