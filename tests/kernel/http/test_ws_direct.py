"""WebSockets that handle messages without waking a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from smartmob.kernel.http.ws_direct import DirectWebSocket
from tests.waiting import SECONDS


@pytest.fixture(name="heartbeat")
def _heartbeat() -> float | None:
    """Return the seconds of silence after which a ping is sent; most tests send none."""
    return None


class _Served:
    """A server whose function handles the messages in `directly`, and the messages that each way has got."""

    def __init__(self, heartbeat: float | None) -> None:
        self.heartbeat = heartbeat
        self.directly: set[Any] = set()
        self.handled: list[Any] = []
        self.received: list[Any] = []
        self.answering: list[asyncio.Task[None]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer each message with the way that it took."""
        socket = DirectWebSocket(heartbeat=self.heartbeat, timeout=1, max_msg_size=1024)
        await socket.prepare(request)
        loop = asyncio.get_running_loop()

        def handle(message: str | bytes) -> bool:
            if message not in self.directly:
                return False
            self.handled.append(message)
            self.answering.append(loop.create_task(socket.send_str("handled")))
            return True

        socket.handle_by(handle)
        async for message in socket:
            await self.go_on.wait()
            self.received.append(message.data)
            await socket.send_str("received")
        return socket


@pytest.fixture(name="served")
async def _served(heartbeat: float | None) -> AsyncIterator[tuple[_Served, TestClient[Any, Any]]]:
    """Return a server and a client."""
    served, app = _Served(heartbeat), web.Application()
    app.router.add_get("/", served.serve)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield served, client


@asynccontextmanager
async def _connected(client: TestClient[Any, Any]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with client.ws_connect("/", autoping=False, autoclose=False) as socket, asyncio.timeout(SECONDS):
        yield socket


async def test_a_message_is_handled_or_received(served: Any) -> None:
    """The function gets each text and each binary message, and `receive` those that it does not handle."""
    server, client = served
    server.directly = {"a", b"b"}
    async with _connected(client) as socket:
        for text, way in (("a", "handled"), ("c", "received"), ("a", "handled")):
            await socket.send_str(text)
            assert await socket.receive_str() == way
        for data, way in ((b"b", "handled"), (b"d", "received")):
            await socket.send_bytes(data)
            assert await socket.receive_str() == way
    assert (server.handled, server.received) == (["a", "a", b"b"], ["c", b"d"])


async def test_a_message_does_not_overtake_one_that_waits(served: Any) -> None:
    """While a message waits to be received, those after it wait too, even if they could be handled."""
    server, client = served
    server.directly = {"fast"}
    server.go_on.clear()
    async with _connected(client) as socket:
        for text in ("slow", "slow", "fast", "fast"):
            await socket.send_str(text)
        await socket.ping()
        server.go_on.set()
        for _ in range(4):
            assert await socket.receive_str() == "received"
        assert (await socket.receive()).type is WSMsgType.PONG
    assert (server.handled, server.received) == ([], ["slow", "slow", "fast", "fast"])


async def test_control_frames_are_those_of_aiohttp(served: Any) -> None:
    """A ping is answered, a message that is too long is refused, and a close frame is answered."""
    server, client = served
    server.directly = {"a", ""}
    async with _connected(client) as socket:
        await socket.ping(b"x")
        assert await socket.receive() == aiohttp.WSMessage(WSMsgType.PONG, b"x", "")
    async with _connected(client) as socket:
        await socket.send_str("x" * 1025)
        assert (await socket.receive()).data == WSCloseCode.MESSAGE_TOO_BIG
    assert server.handled == []


@pytest.mark.parametrize("heartbeat", [0.1])
async def test_a_silent_peer_gets_pings_and_one_that_answers_none_is_disconnected(served: Any) -> None:
    """The heartbeat works as that of aiohttp: messages and pongs postpone it, and silence ends the connection."""
    server, client = served
    server.directly = {"a"}
    async with _connected(client) as socket:
        for _ in range(3):
            assert (await socket.receive()).type is WSMsgType.PING
            await socket.send_str("a")  # any input is a sign of life
            while (message := await socket.receive()).type is WSMsgType.PING:
                await socket.pong()
            assert message.data == "handled"
        while (message := await socket.receive()).type is WSMsgType.PING:
            pass
        assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
