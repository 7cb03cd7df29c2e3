"""Every command that talks to a server, against servers whose answers are hostile."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from aiohttp.test_utils import TestServer

from smartmob.cli.main import group
from smartmob.metrics.protocol import CSV_HEADER
from tests.acceptance.commands import environment
from tests.cli.hostile import EVIL, TRIED, Hostile
from tests.experiments.reports import report

TOKEN = "a-token-of-32-characters-or-more"
_SECONDS = 800
_MOST_MEMORY = 160 * 1024  # kB
_LOCAL = {"doctor"}
"""Commands with --server that look at this machine; of the server doctor asks the time only."""
_WORDS: dict[str, list[list[str]]] = {
    "cp": [[":there", "here"], ["here", ":there"]],
    "exec": [["-n", "true"], ["--on", "{server}", "true"]],
    "hosts watch": [["--times", "1"]],
    "results-to-csv": [["last", "results.csv"], ["run", "results.csv"]],
    "report": [["last"], ["run"]],
    "rebuild-results": [["last"]],
    "output": [["-f", "1"]],
    "tests export": [["-o", "export"], ["-o", "export", "--format", "pymon"]],
    "tests import": [["measures.xml"]],
    "token add": [["name", "--role", "read"]],
    "experiments send": [["experiment.json"]],
    "fire": [["project"], ["project", "--no-wait"]],
    "run": [["project"]],
}
"""Words of commands whose arguments are more than any text, any number or any file."""
_RAW = {"output", "exec", "logs", "attach", "run"}
"""Commands that show what a program wrote as it was written."""

_PATIENT = {"output"}
"""Commands that wait for what may say nothing for any time: the output of a job."""

_PATIENCE = {"silent": 0.1, "closes": 0.3, "cut off": 0.3, "short": 0.3}
"""Seconds that a command waits for an answer of scripts that give none; other scripts answer at once."""

_CSV_HEAD = ",".join(CSV_HEADER) + "\r\n"

_NO_ANSWERS = ("noise", "levels", "problem", "endless", "cut off", "short", "silent", "closes", "redirect")
"""Scripts whose answers no command takes for good."""

_ALL_FORMS = ("texts", "numbers")
"""Scripts that every form of output is tried with; whether an answer is taken depends on no form."""

_RUNNER = """
import gc, json, os, resource, signal, sys
from smartmob.cli import commands, follower, live_run, main
from smartmob.client import channel
from smartmob.client.limits import LIMITS
from tests.acceptance.fork_server import import_modules
import_modules("commands")
LIMITS.document_bytes = LIMITS.report_bytes = LIMITS.gathered_bytes = LIMITS.unread_bytes = 2**21
LIMITS.listing_bytes, LIMITS.problem_bytes, LIMITS.line_bytes = 2**22, 2**18, 2**18
LIMITS.pages = 5
channel.PAUSES = (0.01, 0.02)
follower.PAUSES = channel.PAUSES
live_run.RECONNECT_SECONDS = 0.01
gc.collect()
gc.freeze()
gc.freeze = int  # a command freezes all objects before it ends, but here others follow it in the same process
# What is read ahead of its line would be lost with the copy that has read it.
lines, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "w")

def answer(code, memory):
    answers.write(json.dumps([code, memory]) + "\\n")
    answers.flush()

def run(asked):
    signal.alarm(asked["seconds"])
    os.chdir(asked["folder"])
    for number, name in ((0, "/dev/null"), (1, asked["out"]), (2, asked["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False, errors="backslashreplace")
    os.environ |= asked["environment"]
    LIMITS.silence_seconds = channel.HEARTBEAT_SECONDS = commands.CONNECT_SECONDS = asked["patience"]
    sys.argv = ["smartmob", *asked["words"]]
    code = 99
    try:
        main.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for file in (sys.stdout, sys.stderr):
        if file is not None:
            file.flush()
    answer(code & 0xFF, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

def run_all(line):
    while line.strip():
        run(json.loads(line))
        line = lines.readline()

while line := lines.readline():
    if not line.strip():
        continue
    child = os.fork()
    if not child:
        run_all(line)
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    if status:
        answer(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""
"""Runs commands in a copy of a process that has loaded them, with smaller limits and shorter pauses.

Commands run one after another in one copy, up to an empty line: most of the time of a copy is for its memory.
"""


def _leaves(found: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(found, click.Group):
        for name in found.list_commands(click.Context(found)):
            inner = found.get_command(click.Context(found), name)
            assert inner is not None
            yield from _leaves(inner, (*words, name))
    else:
        yield " ".join(words), found


def _calls(*, all_forms: bool = True) -> list[tuple[str, list[str]]]:
    """Return each command that has --server, in each of its forms of output."""
    calls = []
    for name, found in _leaves(group):
        if not any("--server" in each.opts for each in found.params) or name in _LOCAL:
            continue
        for words in _WORDS.get(name) or [_any_words(found)]:
            calls += [
                (name, [*name.split(), *words, *form])
                for form in (_forms(found) if all_forms else [[]])
                if not set(form) & set(words)
            ]
    return calls


def _any_words(found: click.Command) -> list[str]:
    arguments = [each for each in found.params if isinstance(each, click.Argument) and each.required]
    return ["1" if isinstance(each.type, click.IntRange) else "x" for each in arguments]


def _forms(found: click.Command) -> list[list[str]]:
    forms: list[list[str]] = [[]]
    for each in found.params:
        if "--json" in each.opts:
            forms.append(["--json"])
        if "--format" in each.opts and isinstance(each.type, click.Choice):
            forms += [["--format", str(choice)] for choice in each.type.choices]
    return forms


class Runner:
    """Runs commands in a process that is a copy of one that has loaded them."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._process = process

    async def run(self, server: str, *words: str, patience: float = 60.0) -> tuple[int, int, str, str]:
        """Return the exit code, the most memory in kB, the output and the errors of a command.

        The command waits `patience` seconds for an answer. The next one has the same process, unless you call `end`.
        """
        out, err = self.folder.parent / "out", self.folder.parent / "err"
        variables = {"SMARTMOB_SERVER": server, "SMARTMOB_TOKEN": TOKEN, "HOME": str(self.folder.parent.parent)}
        asked = {"environment": variables, "seconds": _SECONDS, "words": words, "patience": patience}
        asked |= {"folder": str(self.folder), "out": str(out), "err": str(err)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code, memory = json.loads(await asyncio.to_thread(self._process.stdout.readline))
        return code, memory, _head(out), _head(err)

    def end(self) -> None:
        """Let the next command have a new process."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4_000_000).decode(errors="replace")


@pytest.fixture(name="loaded", scope="module")
def _loaded() -> Iterator[subprocess.Popen[str]]:
    """Return a process that has loaded all commands."""
    arguments = [sys.executable, "-c", _RUNNER]
    variables = environment(PYTHONPATH=str(Path(__file__).parents[2]))
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables, text=True
    ) as process:
        yield process
        process.communicate()


@pytest.fixture(name="runner")
def _runner(tmp_path: Path, loaded: subprocess.Popen[str]) -> Iterator[Runner]:
    """Return the runner of commands in a folder with a file, a project and measures."""
    folder = tmp_path / "scratch" / "inner"
    (folder / "project").mkdir(parents=True)
    (folder / "here").write_text("x")
    (folder / "measures.xml").write_text('<testsuite name="x"><testcase name="a" classname="b" time="1"/></testsuite>')
    (folder / "experiment.json").write_bytes(msgspec.json.encode(report()))
    (folder / "project" / "config.json").write_text("{}")
    (folder / "project" / "Procfile").write_text("web: true\n")
    for name in ("out", "err"):
        (folder.parent / name).touch()
    runner = Runner(folder, loaded)
    yield runner
    runner.end()


def _outside(runner: Runner) -> set[str]:
    above = runner.folder.parent.parent
    return {str(path) for path in above.rglob("*") if runner.folder not in (path, *path.parents)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    # Many commands wait for the silent server.
    "script",
    [pytest.param(script, marks=pytest.mark.long) if script == "silent" else script for script in TRIED],
)
async def test_every_command_ends_well(runner: Runner, script: str) -> None:
    """Each ends by itself without a traceback, within bounded memory, writes nothing elsewhere and nothing raw."""
    faults = []
    other = Hostile("texts")
    async with TestServer(other.app()) as elsewhere:
        hostile = Hostile(script, str(elsewhere.make_url("")).replace("127.0.0.1", "localhost").rstrip("/"))
        async with TestServer(hostile.app()) as server:
            url = str(server.make_url("")).rstrip("/")
            before = _outside(runner)
            for name, words in _calls(all_forms=script in _ALL_FORMS):
                if script == "silent" and name in _PATIENT:
                    continue
                given = [word.replace("{server}", url) for word in words]
                code, memory, out, err = await runner.run(url, *given, patience=_PATIENCE.get(script, 1.0))
                shown = err if name in _RAW and "--json" not in words else out + err
                if code not in (0, 1, 2, 3) or "Traceback" in err or memory > _MOST_MEMORY or _obeyed(shown):
                    faults.append((words, code, memory, err[-2000:], _obeyed(shown)))
                if code and not err.strip():
                    faults.append((words, "it says nothing", code))
                if script in _NO_ANSWERS and code == 0 and name not in (*_RAW, "report"):
                    faults.append((words, "it takes that for good", out[-300:], err[-300:]))
            hostile.over.set()
            assert _outside(runner) == before
    assert not faults
    assert not other.asked


def _obeyed(text: str) -> list[str]:
    return sorted({mark for mark in text if mark in EVIL and not mark.isprintable()})


@pytest.mark.parametrize(
    "path",
    [
        *("/tmp/smartmob-evil", "../evil", "a/../../evil", "..", "a/..", "", "/", "a//b", "./a", "nul\0", "link/evil"),
        *("here/evil", 7, None, ["a"], {"path": "a"}),
    ],
)  # fmt: skip
async def test_a_copy_stays_below_its_folder(runner: Runner, path: object) -> None:
    """A path that leaves the folder, goes through a link or is none ends the copy with one line, and writes nothing."""
    target = runner.folder / "target"
    target.mkdir()
    (target / "link").symlink_to(runner.folder.parent)
    (target / "here").write_text("x")
    before = _outside(runner) | {str(each) for each in runner.folder.rglob("*")}
    files = [{"path": path, "size": 4}, {"path": path, "size": 4}] if path == "" else [{"path": path, "size": 4}]
    async with TestServer(Hostile("texts", files=files).app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "cp", ":target", ".")
    assert code in (1, 3)
    assert len(err.splitlines()) == 1, err
    after = _outside(runner) | {str(each) for each in runner.folder.rglob("*")}
    assert after - before <= {str(runner.folder.parent / "out"), str(runner.folder.parent / "err")}


@pytest.mark.parametrize(
    "files",
    [
        [{"path": "a", "size": -1}],
        [{"path": "a", "size": "4"}],
        [7],
        [{"path": "a", "size": 4}, {"path": "a", "size": 4}],
    ],
)
async def test_a_list_that_is_none(runner: Runner, files: list[object]) -> None:
    """Sizes below nothing, other types and names that come twice end the copy with one line."""
    async with TestServer(Hostile("texts", files=files).app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "cp", ":target", ".")
    assert (code, len(err.splitlines())) == (3, 1)
    assert not list(runner.folder.rglob("a"))


async def test_a_copy_takes_no_bits_and_follows_no_link(runner: Runner) -> None:
    """A file arrives without setuid, setgid and sticky bits and by the umask; a link in its place is replaced."""
    secret = runner.folder.parent / "secret"
    secret.write_text("mine")
    (runner.folder / "target").mkdir()
    (runner.folder / "target" / "a").symlink_to(secret)
    async with TestServer(Hostile("texts", files=[{"path": "a", "size": 4}]).app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "cp", ":target", ".")
    assert (code, err) == (0, "Copied 1 file, 4 B from :target to .\n")
    found = runner.folder / "target" / "a"
    umask = os.umask(0o077)
    os.umask(umask)
    assert (secret.read_text(), found.read_text(), found.is_symlink()) == ("mine", "evil", False)
    assert found.stat().st_mode & 0o7777 == 0o777 & ~umask


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"session_h,item\r\n1,2\r\n", "are not those of metrics"),
        (b"a" * 100_000, "are not those of metrics"),
        (_CSV_HEAD.encode() + b"1,2", "ends within a line"),
    ],
)
async def test_an_export_refuses_a_table_without_the_columns_of_metrics(runner: Runner, body: bytes, said: str) -> None:
    """Other columns, or a table that is cut off, end the export with one line and leave no file."""
    async with TestServer(Hostile("table", body=body).app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "tests", "export", "-o", "export")
    assert (code, len(err.splitlines())) == (3, 1)
    assert said in err
    assert not list(runner.folder.glob("export*"))


async def test_a_report_is_written_below_the_folder_whatever_the_id_of_the_run(runner: Runner) -> None:
    """An id with `..` and `/` is quoted in the address and in the name of the file."""
    before = _outside(runner)
    hostile = Hostile("climbing")
    async with TestServer(hostile.app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "report", "last")
    assert (code, _outside(runner)) == (0, before), err
    assert [path.name for path in runner.folder.glob("report*")] == ["report-..%2F..%2Fevil.html"]
    assert [path for _, path, _ in hostile.asked] == ["/turret-runs", "/turret-runs/../../evil/report"]


async def test_a_command_gives_up_on_a_server_that_closes_each_connection(runner: Runner) -> None:
    """A job is not asked for again without end: one line says what the server does."""
    hostile = Hostile("closes")
    async with TestServer(hostile.app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "exec", "-n", "true")
    assert (code, len(err.splitlines())) == (3, 1)
    assert "closes each connection at once" in err
    assert len(hostile.asked) <= 20


@pytest.mark.parametrize("words", [["exec", "-n", "true"], ["exec", "--on", "{server}", "true"]])
async def test_messages_are_no_output_of_a_program(runner: Runner, words: list[str]) -> None:
    """A server that sends messages without end where output belongs is told to break the protocol."""
    async with TestServer(Hostile("endless").app()) as server:
        url = str(server.make_url("")).rstrip("/")
        code, _, out, err = await runner.run(url, *(word.replace("{server}", url) for word in words))
    assert (code, out) == (3, "")
    assert "violates the protocol" in err


async def test_the_messages_of_a_command_are_bounded(runner: Runner) -> None:
    """A command whose messages are gathered ends with one line when there are too many."""
    async with TestServer(Hostile("endless").app()) as server:
        code, _, _, err = await runner.run(str(server.make_url("")).rstrip("/"), "kill", "1")
    assert (code, len(err.splitlines())) == (3, 1)
    assert "was left out" in err
