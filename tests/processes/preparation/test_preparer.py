"""Preparing processes: all failures, and the steps that processes share."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from smartmob.feature_settings import ProcessesSettings
from tests.processes.archives import File, HardLink, Link, make_archive, wheel
from tests.processes.conftest import SLEEP, Agent, lines, until_line
from tests.processes.file_server import FileServer
from tests.waiting import SECONDS, until

pytestmark = pytest.mark.timeout(900)

GOOD = {"Procfile": f"web: {SLEEP}\n"}


def _bomb() -> bytes:
    """Return a small archive of a file of 300 MB. It is made by the one test that wants it, which takes a second."""
    return make_archive("tar.gz", {**GOOD, "zeros": File(bytes(300_000_000), 0o644)})


FAILURES: dict[str, tuple[Callable[[FileServer], str], str, str]] = {
    "connection refused": (lambda f: "http://127.0.0.1:1/app.zip", "download failure", "no connection"),
    "no such host": (lambda f: "http://no-such-host.invalid/app.zip", "download failure", "no-such-host.invalid"),
    "not there": (lambda f: f.url("/nothing"), "download failure", "404"),
    "server error": (lambda f: f.status("/app", 500), "download failure", "500"),
    "truncated": (lambda f: f.truncate("/app", b"PK", 1000), "download failure", ""),
    "stalled": (lambda f: f.stall("/app", b"PK"), "download failure", "1.5 s"),
    "silent": (lambda f: f.silence("/app"), "download failure", "1.5 s"),
    "endless": (lambda f: f.endless("/app"), "download failure", "1000000 bytes"),
    "redirect to a file": (lambda f: f.redirect("/app", "file:///etc/passwd"), "download failure", "only http"),
    "a page": (lambda f: f.file("/app", b"<html>hello</html>"), "unpack failure", "HTML"),
    "nothing": (lambda f: f.file("/app", b""), "unpack failure", ""),
    "a broken zip": (lambda f: f.file("/app", b"PK\x03\x04" + b"x" * 100), "unpack failure", ""),
    "zip slip": (
        lambda f: f.file("/app", make_archive("zip", {**GOOD, "../../evil": "x"})), "unpack failure", "evil",
    ),
    "an absolute name that leads out": (
        lambda f: f.file("/app", make_archive("tar", {**GOOD, "/../evil": "x"})), "unpack failure", "evil",
    ),
    "a link that leads out": (
        lambda f: f.file("/app", make_archive("tar", {**GOOD, "out": Link("../../../etc")})), "unpack failure", "out",
    ),
    "through a link": (
        lambda f: f.file("/app", make_archive("tar", [*GOOD.items(), ("out", Link("/tmp")), ("out/evil", "x")])),
        "unpack failure",
        "out",
    ),
    "a hard link that leads out": (
        lambda f: f.file("/app", make_archive("tar", {**GOOD, "p": HardLink("/etc/passwd")})), "unpack failure", "p",
    ),
    "a bomb": (lambda f: f.file("/app", _bomb()), "unpack failure", ""),
    "no Procfile": (lambda f: f.file("/app", make_archive("zip", {"main": "x"})), "no procfile", "no Procfile"),
    "a Procfile of another name": (
        lambda f: f.file("/app", make_archive("tar.zst", {"app/procfile": "web: x", "app/main": "x"})),
        "no procfile",
        "there is 'app/procfile': its name must be Procfile",
    ),
    "a Procfile in a folder": (
        lambda f: f.file("/app", make_archive("zip", {"main": "x", "shop/Procfile": "web: x"})),
        "no procfile",
        "there is 'shop/Procfile': pack that folder",
    ),
    "a bad line": (
        lambda f: f.file("/app", make_archive("zip", {"Procfile": "web: x\nnonsense\n"})), "no procfile", "line 2",
    ),
    "an open quote": (
        lambda f: f.file("/app", make_archive("zip", {"Procfile": "web: echo 'x\n"})),
        "no procfile",
        "line 1: Syntax error",
    ),
    "a shell that is no path": (
        lambda f: f.file("/app", make_archive("zip", {**GOOD, ".env": "SHELL=bash\n"})), "no procfile", "/bin/bash",
    ),
    "a shell that does not exist": (
        lambda f: f.file("/app", make_archive("zip", {"Procfile": "web: a\n", ".env": "SHELL=/no/sh\n"})),
        "no procfile",
        "/no/sh",
    ),
    "no such type": (
        lambda f: f.file("/app", make_archive("zip", {"Procfile": "worker: x\n"})), "unknown process type", "worker",
    ),
    "a bad .env": (
        lambda f: f.file("/app", make_archive("zip", {**GOOD, ".env": "A=secret\nnonsense\n"})),
        "no procfile",
        ".env, line 2",
    ),
    "a project that cannot be read": (
        lambda f: f.file("/app", make_archive("zip", {**GOOD, "pyproject.toml": "["})),
        "pip install failure",
        "cannot be read",
    ),
}  # fmt: skip

LIMITS = ProcessesSettings(max_archive=1_000_000, max_unpacked=200_000_000, stall_timeout=SECONDS)


@pytest.mark.parametrize(("serve", "state", "reason"), FAILURES.values(), ids=FAILURES)
async def test_every_failure_has_a_state_and_a_reason(
    agent_with: Any, serve: Callable[[FileServer], str], state: str, reason: str, tmp_path: Path
) -> None:
    """Nothing is started, no file leaves its folder, and a restart tries again."""
    stalls = reason == "1.5 s"
    agent: Agent = await agent_with(processes=replace(LIMITS, stall_timeout=1.5) if stalls else LIMITS)
    await agent.create(serve(agent.files), env={"SECRET": "wonderland"})
    status = await until(lambda: _failed(agent))
    assert status["state"] == state
    assert reason in status["detail"]
    assert "wonderland" not in json.dumps(status)
    assert "secret" not in status["detail"]
    assert not list(tmp_path.rglob("evil"))
    await agent.post("restart", "app.web.0")
    await until(lambda: _failed(agent))
    await agent.post("delete", "app.web.0")


async def _failed(agent: Agent) -> dict[str, Any] | None:
    status = await agent.status("app.web.0")
    assert status["state"] not in ("running", "backoff")
    ended = status["state"].endswith("failure") or status["state"] in ("no procfile", "unknown process type")
    return status if ended else None


async def test_a_failed_process_can_be_deleted_and_created_again(agent: Agent) -> None:
    """The corrected source runs."""
    await agent.create(agent.app("worker: true\n"))
    await until(lambda: _failed(agent))
    agent.app(f"web: {SLEEP}\n")
    await agent.post("delete", "app.web.0")
    await agent.create(agent.files.url("/app.tar.gz"))
    await agent.become("app.web.0", "running")


async def test_the_status_shows_the_progress_of_the_download(agent: Agent) -> None:
    """It has the bytes received and the total."""
    await agent.create(agent.files.stall("/app", b"PK" * 500, promised=4000))

    async def there() -> bool:
        status = await agent.status("app.web.0")
        return status["state"] == "downloading" and status["download"] == {"received": 1000, "total": 4000}

    await until(there)


async def test_a_delete_cancels_the_download(agent: Agent) -> None:
    """The process is not in the list afterwards."""
    await agent.create(agent.files.stall("/app", b"PK"))
    await agent.become("app.web.0", "downloading")
    await agent.post("delete", "app.web.0")
    async with agent.client.get("/list-processes") as response:
        assert await response.json() == {"processes": []}


SECRET = "wonderland"


@pytest.fixture(name="service_variables")
def _service_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the service variables with secrets."""
    monkeypatch.setenv("SMARTMOB_TOKEN", SECRET)
    monkeypatch.setenv("DATABASE_URL", SECRET)


async def test_a_delete_during_pip_install_ends_its_process_tree(
    service_variables: None, quick_python: dict[str, str], agent_with: Any, tmp_path: Path
) -> None:
    """The build process has ended when the answer comes; its variables have no token and no database of the service."""
    setup = (
        f"import os, pathlib, time\nfolder = pathlib.Path({str(tmp_path)!r})\n"
        "(folder / 'variables').write_text(repr(dict(os.environ)))\n"
        "(folder / 'pid.new').write_text(str(os.getpid()))\n(folder / 'pid.new').rename(folder / 'pid')\n"
        "time.sleep(900)\n"
    )
    project = "[build-system]\nrequires = []\nbuild-backend = 'slow'\nbackend-path = ['.']\n"
    agent: Agent = await agent_with()
    await agent.create(agent.app(f"web: {SLEEP}\n", {"pyproject.toml": project, "slow.py": setup, **quick_python}))
    await until((tmp_path / "pid").exists)
    assert (await agent.status("app.web.0"))["state"] == "processing"
    pid = int((tmp_path / "pid").read_text())
    await agent.post("delete", "app.web.0")
    assert not psutil.pid_exists(pid)
    seen = (tmp_path / "variables").read_text()
    assert "VIRTUAL_ENV" in seen
    assert SECRET not in seen


async def test_ten_nodes_share_everything_but_their_copies(
    quick_python: dict[str, str], agent: Agent, tmp_path: Path
) -> None:
    """There is one download, one unpacked source and one environment; each node has its own folder."""
    package = wheel("greeting", "1.0", {"greeting.py": "TEXT = 'hello from a package'\n"})
    url = agent.files.file("/greeting-1.0-py3-none-any.whl", package)
    main = "import greeting, os; print(greeting.TEXT, os.environ['VIRTUAL_ENV'], os.getcwd(), flush=True)"
    more = {"requirements.txt": f"greeting @ {url}\n", "main.py": main + "\nimport time; time.sleep(600)"}
    source = agent.app("web: python main.py\n", more | quick_python)
    agent.files.gate.clear()
    await asyncio.gather(*(agent.create(source, node=f"web.{n}") for n in range(10)))
    consoles = [await agent.attach(f"app.web.{n}", tail=1000) for n in range(10)]
    agent.files.gate.set()
    reported = [await until_line(console, "hello from a package") for console in consoles]
    assert agent.files.asked_for("/app.tar.gz") == 1
    assert agent.files.asked_for("/greeting-1.0-py3-none-any.whl") == 1
    last = [found[-1].split() for found in reported]
    assert len({words[-2] for words in last}) == 1
    assert len({words[-1] for words in last}) == 10
    # The output of pip is on the console of every node.
    assert all(any("Successfully installed greeting" in line for line in found) for found in reported)
    [environment] = [p for p in (tmp_path / "data" / "processes" / "environments").iterdir() if p.is_dir()]
    assert environment.name in last[0][-2]


async def test_without_requirements_no_environment_is_built(
    agent_with: Any, service_variables: None, tmp_path: Path
) -> None:
    """The process has no VIRTUAL_ENV, and neither the token nor the database address of the service."""
    agent: Agent = await agent_with()
    await agent.run("env; echo all; exec sleep 600", {".env": "A='x'\n"})
    variables = await until_line(await agent.attach(tail=1000), "all")
    assert "A='x'" in variables
    assert any(line.startswith("source: .env, line 1: the quotes are part of the value") for line in variables)
    assert any(line.startswith("PORT=") for line in variables)
    assert not any(line.startswith("VIRTUAL_ENV=") or SECRET in line for line in variables)
    assert not list((tmp_path / "data" / "processes" / "environments").iterdir())


async def test_a_hundred_processes_can_be_created_at_once(agent: Agent) -> None:
    """All of them run in the end, and the archive is downloaded once."""
    source = agent.app(f"web: {SLEEP}\n")
    await asyncio.gather(*(agent.create(source, node=f"web.{n}", grace=0) for n in range(100)))

    async def all_run() -> bool:
        async with agent.client.get("/list-processes") as response:
            return {p["state"] for p in (await response.json())["processes"]} == {"running"}

    await until(all_run)
    assert agent.files.asked_for("/app.tar.gz") == 1


async def test_the_program_replaces_a_shell_that_expands(agent: Agent, base_port: int) -> None:
    """The process id is that of the program."""
    status = await agent.run("python3 -c 'import time; time.sleep(600)' $PORT")
    # The command line is empty for a moment while the program replaces the shell.
    await until(lambda: psutil.Process(status["pid"]).cmdline()[-1:] == [str(base_port)])
    assert await lines(await agent.attach(tail=0, follow=0), 0) == []


SHELL_LINES = r"""
loop: sh -c "for i in 1 2; do echo n=\$i; done"
path: PATH=$PATH:bin && echo path $PATH
comment: echo it works # it's a comment
default: X="${A:-$HOME/.b}/bin" sh -c 'echo $X'
bash: shopt -q extglob; echo ${BASH_VERSION:+bash}
"""


async def test_commands_print_what_a_shell_prints(agent: Agent) -> None:
    """Loops, assignments, comments and defaults mean what `sh -c` makes of them; a broken neighbour is no matter."""
    source = agent.app(f"{SHELL_LINES}broken: echo 'x\nempty:\n")
    await agent.create(source, "broken")
    wanted = dict(line.split(": ", 1) for line in SHELL_LINES.strip().splitlines())
    outer = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    for name, command in wanted.items():
        shell = "/bin/bash" if name == "bash" else "/bin/sh"
        await agent.create(source, name, **({"env": {"SHELL": shell}} if name == "bash" else {}))
        expected = await asyncio.create_subprocess_exec(shell, "-c", command, env=outer, stdout=asyncio.subprocess.PIPE)
        output, _ = await expected.communicate()
        console = await agent.attach(f"app.{name}.0", tail=100)
        for line in output.decode().splitlines():
            assert line in await until_line(console, line)
    await until(lambda: _failed_as("app.broken.0", agent))


@pytest.mark.parametrize(
    ("procfile", "script", "hint"),
    [
        ("web: ./run\n", "#!/no/python\n", "cannot start ./run: its first line names /no/python, which does not exist"),
        ("web: ./run $PORT\n", "#!/bin/sh\r\n", "./run: its first line ends with a carriage return"),
        ("web: no-such-program x\n", "", "there is no 'no-such-program' on the PATH"),
        ("web: sh -c 'sleep 600 & exit 0'\n", "", "a program that puts itself into the background"),
    ],
)
async def test_a_program_that_cannot_run_gets_a_hint(agent: Agent, procfile: str, script: str, hint: str) -> None:
    """The detail says what is missing or what to change."""
    await agent.create(agent.app(procfile, {"run": File(script.encode(), 0o755)}))

    async def told() -> bool:
        return hint in ((await agent.status("app.web.0"))["detail"] or "")

    await until(told)


async def test_a_program_in_the_background_is_a_failure_and_not_started_again(agent: Agent) -> None:
    """Its descendants are ended."""
    await agent.create(agent.app("web: sh -c 'sleep 600 & exit 0'\n"))
    await until(lambda: _is(agent, "app.web.0", state="start failure", restarts=0, exit_status=0))


async def test_descendants_that_end_a_moment_later_are_no_background(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a pipeline; the end of the last one is awaited."""
    monkeypatch.setattr("smartmob.processes.supervisor._LINGER_SECONDS", SECONDS)
    await agent.create(agent.app("web: sh -c 'sleep 0.1 & exit 0'\n"), restart="never")
    status = await agent.become("app.web.0", "stopped")
    assert "background" not in status["detail"]


async def _is(agent: Agent, slug: str, **fields: Any) -> bool:
    return (await agent.status(slug)).items() >= fields.items()


async def _failed_as(slug: str, agent: Agent) -> bool:
    return "Syntax error" in ((await agent.status(slug))["detail"] or "")
