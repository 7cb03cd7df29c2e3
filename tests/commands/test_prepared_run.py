"""Programs that are prepared first and then run as jobs: signals and input before and after the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smartmob.commands.model import ProgramSource
from smartmob.errors import InvalidInput
from smartmob.kernel.subprocesses.child import Child
from tests.commands.features import RunningFeature, feature
from tests.waiting import SECONDS, until

SOURCE = {"app": "mine", "source_url": "http://127.0.0.1:1/a.zip"}


@dataclass
class Prepared:
    """A program that is run by a shell."""

    argv: list[str]
    env: dict[str, str]
    folder: Path
    grace: float = SECONDS
    group: None = None
    children: list[Child] = field(default_factory=list)

    def started(self, child: Child) -> None:
        """Keep the child."""
        self.children.append(child)

    def cause(self) -> str:
        """Return a cause for one of the programs."""
        return "it was too large" if "large" in self.argv[2] else ""


class Preparation:
    """A preparation that goes on until `ready` is set, and counts the folders that are in use."""

    def __init__(self, folder: Path) -> None:
        self.ready = asyncio.Event()
        self.used = self.begun = 0
        self._folder = folder

    @asynccontextmanager
    async def prepared(
        self, source: ProgramSource, command: str, env: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> AsyncIterator[Prepared]:
        """Prepare a program after a line of output."""
        self.used, self.begun = self.used + 1, self.begun + 1
        try:
            on_output(f"preparing {source.app}\n".encode())
            await self.ready.wait()
            if command == "refused":
                raise InvalidInput("pip install failure: no")
            yield Prepared(["/bin/sh", "-c", command], dict(env), self._folder)
        finally:
            self.used -= 1


@pytest.fixture(name="preparation")
def _preparation(tmp_path: Path) -> Preparation:
    """Return the preparation."""
    return Preparation(tmp_path)


@pytest.fixture(name="commands")
async def _commands(database_url: str, tmp_path: Path, preparation: Preparation) -> AsyncIterator[RunningFeature]:
    """Return a running feature with that preparation."""
    async with feature(database_url, tmp_path, programs=preparation) as found:
        yield found


async def test_a_prepared_program_is_a_job(commands: RunningFeature, preparation: Preparation) -> None:
    """Output of the preparation is standard error; input waits for the program; the folder is released at the end."""
    run: dict[str, Any] = {"source": SOURCE, "env": {"WHO": "me"}}
    reply = commands.begin("exec", "pwd; cat; echo $WHO >&2; exit 3", apart=True, **run)
    await until(lambda: reply.data == b"preparing mine\n")
    await commands.call("resize", reply.number, 10, 20)
    given = commands.begin("send_input", reply.number, "hello")
    await until(lambda: given.number)
    preparation.ready.set()
    await given.ended.wait()
    await commands.call("end_input", reply.number)
    await reply.ended.wait()

    assert (reply.code, preparation.used) == (3, 0)
    assert reply.streams == {1: f"{commands.home.parent}\nhello\n".encode(), 2: b"preparing mine\nme\n"}
    record = await commands.service.jobs.get(reply.number)
    assert (record.cwd, record.apart, record.argv) == (
        str(commands.home.parent), True, ["pwd; cat; echo $WHO >&2; exit 3"],
    )  # fmt: skip
    large = await commands.call("exec", "true large", **run)
    assert large.data == b"preparing mine\nsmartmob: it was too large\n"
    refused = await commands.call("exec", "refused", **run)
    assert (refused.code, str(refused.error)) == (1, "pip install failure: no")


@pytest.mark.parametrize(("words", "code"), [(("signal", "INT"), -2), (("kill",), -15)])
async def test_a_signal_ends_the_preparation(
    commands: RunningFeature, preparation: Preparation, words: tuple[str, ...], code: int
) -> None:
    """The exit code is that of a program that the signal has ended, and nothing stays."""
    reply = commands.begin("exec", "sleep 600", source=SOURCE)
    await until(lambda: preparation.begun)
    await until(lambda: reply.number)
    ended = await commands.call(words[0], reply.number, *words[1:])
    await reply.ended.wait()

    assert ended.outcome is not None
    assert (reply.code, preparation.used) == (code, 0)


async def test_a_signal_reaches_the_program(commands: RunningFeature, preparation: Preparation) -> None:
    """Both ways to end it work once it runs."""
    preparation.ready.set()
    for words, code in ((("signal", "INT"), 5), (("kill",), 6)):
        reply = commands.begin(
            "exec", "trap 'exit 5' INT; trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done", source=SOURCE
        )
        await until(lambda reply=reply: b"up\n" in reply.data)
        await commands.call(words[0], reply.number, *words[1:])
        await reply.ended.wait()
        assert reply.code == code


async def test_options_that_do_not_fit_are_refused(commands: RunningFeature) -> None:
    """The message names the parameter and what to do."""
    for kwargs, text in (
        ({"source": SOURCE, "cwd": "/"}, "runs in its folder"),
        ({"source": {**SOURCE, "limit": {}}}, "limit"),
        ({"apart": True, "terminal": {"rows": 1, "columns": 1}}, "leave out one of apart and terminal"),
    ):
        assert text in str((await commands.call("exec", "true", **kwargs)).error)
