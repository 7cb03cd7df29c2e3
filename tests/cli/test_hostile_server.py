"""Every command that talks to a server, against servers whose answers are hostile."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp.test_utils import TestServer

from smartmob.cli.main import group
from tests.acceptance.commands import environment
from tests.cli.hostile import EVIL, TRIED, Hostile

TOKEN = "a-token-of-32-characters-or-more"
_SECONDS = 60
_MOST_MEMORY = 512 * 1024  # kB
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
    "fire": [["project"], ["project", "--no-wait"]],
    "run": [["project"]],
}
"""Words of commands whose arguments are more than any text, any number or any file."""
_RAW = {"output", "exec", "logs", "attach", "run"}
"""Commands that show what a program wrote as it was written."""

_NO_ANSWERS = ("noise", "levels", "problem", "endless", "cut off", "short", "silent", "closes", "redirect")
"""Scripts whose answers no command takes for good."""

_ALL_FORMS = ("texts", "numbers")
"""Scripts that every form of output is tried with; whether an answer is taken depends on no form."""

_RUNNER = """
import gc, json, os, signal, sys
from dataclasses import replace
from smartmob.cli import commands, compare, deploy, fire, hosts, main, marks, processes, run, tests, token
from smartmob.client import calls, channel, http, messages
from smartmob.cli import console
import rich.live, rich.progress, rich.table
http.LIMITS = replace(http.LIMITS, document=2**21, complaint=2**18, line=2**18, report=2**21, listing=2**22)
http.LIMITS = replace(http.LIMITS, pages=20, silence=1)
channel.PAUSES = (0.01, 0.02)
channel.HEARTBEAT_SECONDS = 1.0
console.PAUSES = channel.PAUSES
messages.MOST_HELD_BYTES = calls.MOST_BYTES = 2**21
commands.CONNECT_SECONDS = 1.0
fire._AGAIN_AFTER = 0.01
gc.collect()
gc.freeze()
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        signal.alarm(asked["seconds"])
        os.chdir(asked["folder"])
        for number, name in ((0, "/dev/null"), (1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.environ |= {"SMARTMOB_SERVER": asked["server"], "SMARTMOB_TOKEN": asked["token"]}
        sys.argv = ["smartmob", *asked["words"]]
        code = 99
        try:
            main.main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
        for file in (sys.stdout, sys.stderr):
            if file is not None:
                file.flush()
        os._exit(code & 0xFF)
    _, status, used = os.wait4(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss]), flush=True)
"""
"""Runs each command in a copy of a process that has loaded them, with smaller limits and shorter pauses."""


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
    """Runs commands, each in a process of its own that is a copy of one that has loaded them."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self._process = process

    async def run(self, server: str, *words: str) -> tuple[int, int, str, str]:
        """Return the exit code, the most memory in kB, the output and the errors of a command."""
        out, err = self.folder.parent / "out", self.folder.parent / "err"
        asked = {"server": server, "token": TOKEN, "seconds": _SECONDS, "words": words}
        asked |= {"folder": str(self.folder), "out": str(out), "err": str(err)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        code, memory = json.loads(await self._process.stdout.readline())
        return code, memory, _head(out), _head(err)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(4_000_000).decode(errors="replace")


@pytest.fixture(name="runner")
async def _runner(tmp_path: Path) -> Any:
    """Return the runner of commands in a folder with a file, a project and measures."""
    folder = tmp_path / "scratch" / "inner"
    (folder / "project").mkdir(parents=True)
    (folder / "here").write_text("x")
    (folder / "measures.xml").write_text('<testsuite name="x"><testcase name="a" classname="b" time="1"/></testsuite>')
    (folder / "project" / "config.json").write_text("{}")
    (folder / "project" / "Procfile").write_text("web: true\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _RUNNER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(HOME=str(tmp_path)),
    )
    yield Runner(folder, process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def _outside(runner: Runner) -> set[str]:
    above = runner.folder.parent.parent
    return {str(path) for path in above.rglob("*") if runner.folder not in (path, *path.parents)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", TRIED)
async def test_every_command_ends_well(runner: Runner, script: str) -> None:
    """Each ends by itself without a traceback, within bounded memory, writes nothing elsewhere and nothing raw."""
    faults = []
    other = Hostile("texts")
    async with TestServer(other.app()) as elsewhere:
        hostile = Hostile(script, str(elsewhere.make_url("")).replace("127.0.0.1", "localhost").rstrip("/"))
        async with TestServer(hostile.app()) as server:
            url = str(server.make_url("")).rstrip("/")
            await runner.run(url, "jobs")
            before = _outside(runner)
            for name, words in _calls(all_forms=script in _ALL_FORMS):
                code, memory, out, err = await runner.run(url, *(word.replace("{server}", url) for word in words))
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
    assert (code, err) == (0, "")
    found = runner.folder / "target" / "a"
    umask = os.umask(0o077)
    os.umask(umask)
    assert (secret.read_text(), found.read_text(), found.is_symlink()) == ("mine", "evil", False)
    assert found.stat().st_mode & 0o7777 == 0o777 & ~umask
