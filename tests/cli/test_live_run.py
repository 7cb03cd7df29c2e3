"""Following a load test, with a scripted service whose connections break."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from aiohttp import web

from smartmob.cli import live_run
from smartmob.client.http import RestClient
from smartmob.errors import RemoteError


async def _follow(aiohttp_server: Any, *connections: list[str]) -> list[str]:
    """Return the states that are seen when each connection sends some and breaks."""
    waiting = list(connections)

    async def live(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for state in waiting.pop(0):
            await socket.send_json({"state": state})
        assert request.transport is not None
        if waiting:
            request.transport.abort()
        return socket

    app = web.Application()
    app.router.add_get("/turret-runs/r/live", live)
    server = await aiohttp_server(app)
    async with RestClient(str(server.make_url("")).rstrip("/")) as rest:
        states = [frame["state"] async for frame in live_run.live_frames(rest, "r")]
    assert waiting == []
    return states


async def test_a_broken_connection_is_made_again(aiohttp_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run continues while its service is restarted, so it is followed until its final state."""
    monkeypatch.setattr(live_run, "RECONNECT_SECONDS", 0.0)
    states = await _follow(aiohttp_server, ["waiting", "running"], [], ["running", "draining", "finished"])
    assert states[-3:] == ["running", "draining", "finished"]


async def test_an_unknown_state_ends_the_view(aiohttp_server: Any) -> None:
    """The error names the state: a command does not wait for an end that it would not notice."""
    with pytest.raises(RemoteError, match="the server names the unknown state 'resting'"):
        await _follow(aiohttp_server, ["running", "resting"])


async def test_the_first_interrupt_stops_and_the_second_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """CTRL-C asks for an early stop once; afterwards it has its usual meaning again."""
    before = signal.getsignal(signal.SIGINT)
    with live_run.stopped_by_interrupt() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        await interrupted.wait()
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capsys.readouterr().err == "stopping; once more to leave without waiting\n"
    signal.signal(signal.SIGINT, before)
