"""`smartmob run`: the real command against a running service, with real programs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from smartmob.client.http import RestClient
from smartmob.feature_settings import ProcessesSettings
from tests.acceptance.commands import run
from tests.cli.terminal import typed

pytestmark = pytest.mark.timeout(900)

PROCFILE = """\
web: echo "listening on $PORT, $GREETING"; exec sleep 1000
worker: echo "working"; exec sleep 1000
"""


async def _states(rest: RestClient) -> dict[str, str]:
    return {process["slug"]: process["state"] for process in (await rest.get("/api/v1/processes"))["processes"]}


class TestFollowing:
    """A run that is looked at."""

    async def test_one_of_each_until_ctrl_c(self, start: Any, rest: RestClient, program: Any, base_port: int) -> None:
        """All output comes with its node's name; CTRL-C leaves all running and says how to come back and to stop."""
        folder = program("myapp", PROCFILE)

        async with start("run", folder, "--env", "GREETING=hello you") as command:
            await command.says("listening on", "working")
            assert await command.interrupt() == 0

        lines = command.output.splitlines()
        assert f"web.0    | listening on {base_port}, hello you" in lines
        assert "worker.0 | working" in lines
        assert sum("[smartmob] started, pid" in line for line in lines) == 2
        for said in (
            "Uploaded 1 file, ",
            f"myapp.web.0 runs with PORT={base_port}",
            f"myapp.worker.0 runs with PORT={base_port + 100}",
            "follow:    smartmob logs -f myapp.web.0 myapp.worker.0\n",
            "smartmob stop myapp.web.0 myapp.worker.0\n",
        ):
            assert said in command.errors
        assert await _states(rest) == {"myapp.web.0": "running", "myapp.worker.0": "running"}

    async def test_a_single_process_needs_no_name(self, address: str, program: Any) -> None:
        """And what is said in the end names the server when that is not the usual one."""
        folder = program("x", "web: echo hello; exec sleep 1000\nother: true\n")

        async with typed("run", folder, "--scale", "web=1", "--app", "solo", "--server", address) as command:
            await command.says("hello")
            assert await command.interrupt() == 0

        assert "hello" in command.output.splitlines()
        assert f"smartmob stop solo.web.0 --server {address}\n" in command.errors

    async def test_a_terminal_shows_progress_and_colours(self, start: Any, program: Any, base_port: int) -> None:
        """There is a progress bar, and each name has a colour; with NO_COLOR there is none."""
        folder = program("myapp", PROCFILE, big="x" * 100_000)

        async with start("run", folder, terminal=True) as command:
            await command.says("listening on", "working")
            await command.interrupt()
        assert "Uploading ━" in command.text
        named = [line for line in command.output.splitlines() if line.endswith((f" {base_port}, ", "working"))]
        assert len({line.split("m", 1)[0] for line in named}) == 2
        assert all(line.startswith("\x1b[") for line in named)

        async with start("run", folder, "--replace", terminal=True, NO_COLOR="1") as command:
            await command.says("listening on", "working")
            await command.interrupt()
        assert "worker.0 | working" in command.output.splitlines()

    async def test_a_dependency_that_is_not_ready_ends_the_wait(self, smartmob: Any, program: Any) -> None:
        """The processes that wait for it, or for one that was not created, are told, and the exit code is 1."""
        options = (
            '[processes.web]\ndepends_on = {db = "ready"}\n'
            '[processes.db.readiness]\ncommand = "false"\ninterval = 0.1\ntimeout = 600\n'
        )
        folder = program("myapp", "web: exec sleep 1000\ndb: exec sleep 1000\n", **{"smartmob.toml": options})
        code, _, errors = await smartmob("run", folder, "--detach")
        assert code == 1
        assert "but is not ready: its command exited 1" in errors
        assert "myapp.web.0 waits for myapp.db.0 to be ready" in errors
        code, _, errors = await smartmob("run", folder, "--app", "alone", "--scale", "web=1", "--detach")
        assert (code, "alone.web.0 waits for db, which does not exist" in errors) == (1, True)

    async def test_json_distinguishes_lines_and_events(self, start: Any, program: Any) -> None:
        """Each line is an object, and what happens to the process is told apart."""
        async with start("run", program("myapp", "web: echo hello; exec sleep 1000\n"), "--json") as command:
            await command.says("hello")
            await command.interrupt()

        told = [json.loads(line) for line in command.output.splitlines()]
        assert {"slug": "myapp.web.0", "line": "hello"} in told
        assert told[0]["event"].startswith("started, pid ")

    async def test_it_ends_when_somebody_deletes_them(self, start: Any, program: Any, smartmob: Any) -> None:
        """Nothing more can come then, and that is no failure."""
        async with start("run", program("myapp", PROCFILE)) as command:
            await command.says("listening on", "working")
            assert (await smartmob("stop", "--remove", "myapp"))[0] == 0
            assert await command.wait() == 0
        assert "myapp.web.0 was deleted" in command.errors


class TestEnding:
    """Programs that end by themselves."""

    async def test_a_run_ends_with_its_programs(self, smartmob: Any, program: Any, rest: RestClient) -> None:
        """With the policy `never`, the exit code says whether all succeeded; the reason is in the list."""
        code, output, _ = await smartmob("run", program("good", "one: echo 1\ntwo: echo 2\n"), "--restart", "never")
        assert (code, sum("exited 0" in line for line in output.splitlines()) >= 2) == (0, True)
        assert (await smartmob("run", program("bad", "one: exit 3\n"), "--restart", "never"))[0] == 1
        assert (await smartmob("run", program("once", "one: true\n"), "--restart", "on-failure", "-d"))[0] == 0
        assert "bad.one.0  stopped: exited 3; not started again" in (await smartmob("ps"))[1]

    async def test_another_procfile_is_named_in_messages(self, smartmob: Any, program: Any, rest: RestClient) -> None:
        """Its commands run, and its name stands in messages."""
        folder = program("myapp", "web: exec sleep 1000\n", **{"Procfile.dev": "web: echo dev\nbad line\n"})
        code, _, errors = await smartmob("run", folder, "-f", "Procfile.dev")
        assert (code, "Procfile.dev, line 2" in errors) == (1, True)
        (folder / "Procfile.dev").write_text("web: echo of dev\n")
        code, output, _ = await smartmob("run", folder, "-f", "Procfile.dev", "--restart", "never")
        assert (code, "of dev" in output.splitlines()) == (0, True)


class TestFailing:
    """Programs that cannot be run."""

    async def test_requirements_that_pip_cannot_install(
        self, quick_python: dict[str, str], smartmob: Any, program: Any, rest: RestClient
    ) -> None:
        """The output of pip is shown once; the reason and the next step follow, and the exit code is 1."""
        folder = program("myapp", PROCFILE, requirements_txt="./nothing-of-that-name\n", **quick_python)

        code, output, errors = await smartmob("run", folder, "--scale", "web=1")

        assert code == 1
        assert "nothing-of-that-name" in output
        assert "myapp.web.0  pip install failure: " in errors
        assert "--replace" in errors
        assert "nothing-of-that-name" not in errors  # what was shown is not shown twice
        assert await _states(rest) == {"myapp.web.0": "pip install failure"}
        status = await rest.get("/process-status/myapp.web.0")
        assert "ended with 1" in status["detail"]
        assert any("nothing-of-that-name" in line for line in status["output"])

    async def test_an_archive_that_cannot_be_prepared(self, smartmob: Any, program: Any) -> None:
        """A detached run shows the reason for each process."""
        folder = program("myapp", PROCFILE, **{".env": "this is no assignment\n"})

        code, output, errors = await smartmob("run", folder, "--detach")

        assert (code, output) == (1, "")
        assert "myapp.web.0  no procfile: .env, line 1" in errors
        assert "smartmob stop --remove myapp.web.0 myapp.worker.0" in errors

    async def test_a_command_that_is_not_there(self, smartmob: Any, program: Any, base_port: int) -> None:
        """A detached run tells which processes could not be started, and which go on."""
        folder = program("myapp", "web: exec sleep 1000\nbad: no-such-program\n")

        code, _, errors = await smartmob("run", folder, "-d")

        assert code == 1
        assert f"myapp.web.0 runs with PORT={base_port}" in errors
        assert "myapp.bad.0  backoff: cannot start" in errors
        assert "Still running: myapp.web.0" in errors

    async def test_invalid_programs_are_refused_in_one_line(self, smartmob: Any, program: Any) -> None:
        """Nothing is created."""
        cases: list[tuple[str | None, tuple[str, ...], int, str]] = [
            (None, (), 1, "has no Procfile"),
            ("", (), 1, "the Procfile is empty"),
            ("hello\n", (), 1, "Procfile, line 1"),
            ("web: true\n", ("--scale", "web=0"), 1, "asks for none"),
            ("web: true\n", ("--scale", "wob=1"), 1, "has no 'wob'; it has web; did you mean 'web'?"),
            ("web: true\n", ("--scale", "web=1001"), 1, "more than 1000"),
            ("web: true\n", ("--scale", "web"), 2, "expected TYPE=NUMBER"),
            ("web: true\n", ("--env", "1A=2"), 2, "expected NAME=VALUE"),
            ("web: true\n", ("--env", "A"), 2, "expected NAME=VALUE"),
            ("web: true\n", ("--grace", "-1"), 2, "--grace"),
            ("web: true\n", ("--app", "a/b"), 3, "$.app"),
        ]
        calls = [
            smartmob("run", program(f"app{number}", procfile), *options)
            for number, (procfile, options, *_) in enumerate(cases)
        ]

        for (procfile, options, code, said), done in zip(cases, await asyncio.gather(*calls), strict=True):
            assert (done[0], done[1], said in done[2]) == (code, "", True), (procfile, options, done)
        assert (await smartmob("ps", "--json"))[1] == "[]\n"

    async def test_no_service_and_no_folder(self, program: Any, smartmob: Any) -> None:
        """Exit code 3 and 2."""
        code, _, errors = await run("run", program("myapp", PROCFILE), "--server", "http://127.0.0.1:1")
        assert (code, errors.startswith("smartmob: cannot connect to http://127.0.0.1:1: ")) == (3, True)
        assert (await smartmob("run", "no-such-folder"))[0] == 2

    async def test_an_archive_that_is_too_large(self, with_settings: Any, program: Any) -> None:
        """The service's own words are shown."""
        client = await with_settings(processes=ProcessesSettings(max_archive=1024))
        noise = "".join(f"{number**7:x}" for number in range(400_000))

        code, _, errors = await run(
            "run", program("myapp", PROCFILE, noise=noise), SMARTMOB_SERVER=f"http://127.0.0.1:{client.server.port}"
        )

        assert code == 3
        assert "1024 bytes" in errors, errors


class TestDetached:
    """A run that is not looked at."""

    async def test_it_returns_when_all_run(self, smartmob: Any, program: Any, rest: RestClient, base_port: int) -> None:
        """With as many of each as was asked for, and their ports; so many are named by their application."""
        folder = program("myapp", PROCFILE)

        code, output, errors = await smartmob(
            *("run", folder, "--scale", "web=5", "--scale", "worker=0", "--grace", "2.5", "--env", "A=1"),
            *("--detach", "--json"),
        )

        assert code == 0
        told = json.loads(output)
        assert [(p["slug"], p["state"], p["port"]) for p in told] == [
            (f"myapp.web.{number}", "running", base_port + number) for number in range(5)
        ]
        assert {(p["grace"], tuple(p["env"])) for p in told} == {(2.5, ("A",))}
        assert "follow:    smartmob logs -f myapp\n" in errors

    async def test_existing_processes_are_replaced_only_on_request(
        self, smartmob: Any, program: Any, rest: RestClient
    ) -> None:
        """The error has the option that replaces them."""
        folder = program("myapp", PROCFILE)
        assert (await smartmob("run", folder, "-d", "--scale", "web=1"))[0] == 0
        first = await rest.get("/process-status/myapp.web.0")

        code, _, errors = await smartmob("run", folder, "-d")
        assert code == 1
        assert "there is already myapp.web.0 (running)" in errors
        assert all(way in errors for way in ("--replace", "smartmob stop --remove myapp.web.0", "--app"))
        assert (await rest.get("/process-status/myapp.web.0"))["pid"] == first["pid"]
        assert await _states(rest) == {"myapp.web.0": "running"}

        (folder / "Procfile").write_text("web: echo second; exec sleep 1000\n")
        assert (await smartmob("run", folder, "-d", "--replace"))[0] == 0
        second = await rest.get("/process-status/myapp.web.0")
        assert second["digest"] != first["digest"]
        assert (await smartmob("logs", "myapp.web.0"))[1] == "second\n"

    async def test_it_waits_for_what_has_a_check(
        self, smartmob: Any, program: Any, rest: RestClient, base_port: int
    ) -> None:
        """It says what is waited for, `ps` shows what is ready, and one that is not is a failure."""
        procfile = "web: sleep 0.3; touch open; exec sleep 1000\nworker: exec sleep 1000\nonce: echo done\n"
        folder = program("myapp", procfile)
        (folder / "lab.toml").write_text(
            '[processes.web]\nreadiness = {command = "test -e open", interval = 0.1, failure_threshold = 1000}\n'
            '[processes.worker]\ndepends_on = {web = "ready", once = "completed"}\n'
            '[processes.once]\nrestart = "on-failure"\n'
        )
        code, _, errors = await smartmob("run", folder, "--detach", "--options", "lab.toml")
        assert (code, f"myapp.worker.0 runs with PORT={base_port + 100}" in errors) == (0, True), errors
        assert f"myapp.web.0 runs with PORT={base_port}, and is not ready yet" in errors
        assert "myapp.worker.0 waits for myapp.web.0 to be ready (" in errors
        table = (await smartmob("ps"))[1].splitlines()
        assert table[1].split()[:3] == ["Slug", "State", "Ready"]
        assert {tuple(line.split()[:3]) for line in table[2:5]} == {
            ("myapp.once.0", "stopped", "-"), ("myapp.web.0", "running", "yes"), ("myapp.worker.0", "running", "-"),
        }  # fmt: skip
        (folder / "smartmob.toml").write_text(
            "[processes.web]\nreadiness = {command = 'exit 3', failure_threshold = 1}\n"
        )
        code, _, errors = await smartmob("run", folder, "--scale", "web=1", "--app", "sick", "--detach")
        assert (code, "is not ready: its command exited 3" in errors) == (1, True), errors
        for text, said in (
            ("[processes.web]\ndepends_on = {workr = 'ready'}", "did you mean 'worker'?"),
            ("[processes.web]\ndepends_on = {web = 'ready'}", "it depends on itself: web -> web"),
            ("[processes.web", "lab.toml: Expected"),
        ):
            (folder / "lab.toml").write_text(text)
            code, output, errors = await smartmob("run", folder, "--app", "bad", "--options", "lab.toml")
            assert (code, output, said in errors, errors.count("\n")) == (1, "", True, 1), errors
        assert "no-file.toml" in (await smartmob("run", folder, "--app", "bad", "--options", "no-file.toml"))[2]


async def test_ctrl_c_while_detaching_tells_how_to_come_back(start: Any, program: Any) -> None:
    """The processes go on; the exit code is that of an interrupted command."""
    options = '[processes.web]\nreadiness = {command = "false", initial_delay = 600}\n'
    folder = program("myapp", "web: exec sleep 1000\n", **{"smartmob.toml": options})
    async with start("run", folder, "--detach") as command:
        await command.says("and is not ready yet")
        assert await command.interrupt() == 130
        await command.says("myapp.web.0 is still starting", "follow:    smartmob logs -f myapp.web.0")


async def test_ended_processes_are_not_said_to_run(smartmob: Any, program: Any) -> None:
    """A process that ended beside one that failed is in no list of running ones."""
    files = {"smartmob.toml": '[processes.bad]\ndepends_on = {short = "completed"}\n'}
    folder = program("myapp", "long: exec sleep 1000\nshort: true\nbad: exec ./no-such-program\n", **files)
    code, _, errors = await smartmob("run", folder, "--detach", "--restart", "never", "--uptime", "10")
    assert code == 1
    assert errors.splitlines()[-1] == "Still running: myapp.long.0"


async def test_a_program_that_keeps_ending_fails_a_detached_run(smartmob: Any, program: Any) -> None:
    """The exit code is 1, with its last lines, for each program of a type."""
    folder = program("myapp", "web: exec sleep 1000\ncrash: echo no database; exit 3\n")
    code, output, errors = await smartmob("run", folder, "-d", "--scale", "crash=2", "--uptime", "86400")
    assert (code, output) == (1, "")
    for number in (0, 1):
        _, _, told = errors.partition(f"myapp.crash.{number}  backoff: exited 3")
        assert told.splitlines()[1].startswith("  no database")
    assert "runs with PORT" not in errors
