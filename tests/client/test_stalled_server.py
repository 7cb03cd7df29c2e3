"""A server that answers pings and nothing else: commands and transfers end with one line, accepted commands go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientTimeout
from smartmob.client.limits import LIMITS
from smartmob.client.listener import Listener
from smartmob.commands import protocol
from smartmob.commands.builtin import COMMANDS
from smartmob.commands.registry import Registry
from tests.acceptance.commands import QUICK_PROGRAMS
from tests.waiting import SECONDS, until


class Stalled:
    """A server of commands that accepts the commands in `accepts`, and does no more with any."""

    def __init__(self, *accepts: str) -> None:
        self.accepts = set(accepts)
        self.calls: list[dict[str, Any]] = []
        self.cancelled: list[int] = []
        self.socket: Any = None
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Speak the protocol of the WebSocket `/commands`."""
        self.socket = socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            document = msgspec.json.decode(message.data)
            kind = document.get("type")
            if kind == "hello":
                await self.say(protocol.Welcome(protocol.VERSION, "stalled", Registry(COMMANDS).descriptions()))
            elif kind == "ping":
                await self.say(protocol.Pong(document.get("n", 0)))
            elif kind == "call":
                self.calls.append(document)
                if document["name"] in self.accepts:
                    await self.say(protocol.Started(document["id"], 1, document["name"] == "exec"))
            elif kind == "cancel":
                self.cancelled.append(document["id"])
        return socket

    async def say(self, message: Any) -> None:
        """Send a message."""
        await self.socket.send_frame(msgspec.json.encode(message), WSMsgType.TEXT)


@pytest.fixture(name="stalled")
async def _stalled() -> AsyncIterator[Stalled]:
    stalled = Stalled()
    app = web.Application()
    app.router.add_get("/commands", stalled.serve)
    async with TestServer(app) as server:
        stalled.url = f"http://127.0.0.1:{server.port}"
        yield stalled


@pytest.fixture(autouse=True)
def _short_limits() -> Iterator[None]:
    kept = LIMITS.answer_seconds, LIMITS.transfer_seconds
    LIMITS.answer_seconds, LIMITS.transfer_seconds = 0.3, 0.3
    yield
    LIMITS.answer_seconds, LIMITS.transfer_seconds = kept


async def test_a_command_that_is_not_accepted_fails(stalled: Stalled) -> None:
    """The error names the command and the time, and the server is told that nothing waits for it."""
    async with CommandClient(stalled.url, timeout=SECONDS) as lab:
        refused = await lab.run("exec", "true")
        with pytest.raises(ClientTimeout, match=r"did not accept exec within 0\.3 s"):
            await refused.next()
        with pytest.raises(ClientTimeout, match="did not accept cwd"):
            await lab.run("cwd")
        await until(lambda: len(stalled.cancelled) == 2)
        assert await lab.heartbeat(SECONDS)


async def test_an_accepted_command_may_be_quiet_for_any_time(stalled: Stalled) -> None:
    """A job without output goes on while another command, sent after it, was given up."""
    stalled.accepts = {"exec"}
    short, LIMITS.answer_seconds = LIMITS.answer_seconds, SECONDS
    async with CommandClient(stalled.url, timeout=SECONDS) as lab:
        job = await lab.run("exec", "sleep 1d")
        LIMITS.answer_seconds = short
        assert isinstance(job, Listener)
        for _ in range(2):
            with pytest.raises(ClientTimeout):
                await lab.run("cwd")
        await stalled.say(protocol.Done(stalled.calls[0]["id"], exit_code=0))
        assert await job.output() == []
        assert job.exit_code == 0


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_transfer_without_progress_fails(stalled: Stalled, direction: str, tmp_path: Path) -> None:
    """An accepted transfer that stands still ends with an error that says so."""
    stalled.accepts = {"put", "get"}
    LIMITS.answer_seconds = SECONDS
    (tmp_path / "here").write_bytes(b"x")
    async with CommandClient(stalled.url, timeout=SECONDS) as lab:
        with pytest.raises(ClientTimeout, match="made no progress"):
            if direction == "up":
                await lab.transfer(tmp_path / "here", "there")
            else:
                await lab.fetch("there", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [["exec", "true"], ["cp", "here", ":there"], ["cp", ":there", "new"]])
async def test_the_commands_end_with_one_line(stalled: Stalled, words: list[str], tmp_path: Path) -> None:
    """`exec` and `cp` exit with 3 and one line after `--answer-timeout`."""
    (tmp_path / "here").write_bytes(b"x")
    program = await asyncio.create_subprocess_exec(
        *(QUICK_PROGRAMS / "smartmob", words[0], "--server", stalled.url, "--answer-timeout", "0.3", *words[1:]),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await program.communicate()
    assert (program.returncode, out) == (3, b"")
    assert error.decode().count("\n") == 1
    assert "did not accept" in error.decode()
