"""WebSockets that only send."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from smartmob.errors import Unavailable
from smartmob.kernel.http import ws_stream
from smartmob.kernel.http.broadcast import Broadcast
from smartmob.kernel.http.connection_limit import ConnectionLimit
from tests.waiting import SECONDS, until

_LARGE, _MANY = 1 << 19, 30  # a frame has twice as many bytes
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def _served(frames: AsyncIterator[str]) -> TestClient[web.Request, web.Application]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await ws_stream.serve(request, frames, ConnectionLimit("viewers", 10, 10))

    app = web.Application()
    app.router.add_get("/", handler)
    return TestClient(TestServer(app, host="127.0.0.1"))


async def test_all_frames_are_sent_before_the_close() -> None:
    """All frames are sent, and then the connection is closed with a normal close frame."""

    async def frames() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    async with _served(frames()) as client, client.ws_connect("/") as socket:
        seen = [(await socket.receive(timeout=SECONDS)).data for _ in range(3)]
        assert seen == ["0", "1", "2"]
        assert (await socket.receive(timeout=SECONDS)).type is WSMsgType.CLOSE


async def test_a_disconnect_ends_the_source() -> None:
    """The source of frames is closed when the client disconnects."""
    ended = asyncio.Event()

    async def frames() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with _served(frames()) as client:
        async with client.ws_connect("/") as socket:
            assert (await socket.receive(timeout=SECONDS)).data == "first"
        await asyncio.wait_for(ended.wait(), SECONDS)


async def test_a_slow_client_delays_no_other_and_gets_the_newest() -> None:
    """A slow client delays no other client, buffers a bounded amount, and gets the newest value."""
    broadcast, viewers = Broadcast[str](), ConnectionLimit("viewers", 10, 10)

    async def handler(request: web.Request) -> web.StreamResponse:
        return await ws_stream.serve(request, broadcast.subscribe(), viewers)

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", client.port))
            reader, writer = await asyncio.open_connection(sock=line, limit=4096)
            writer.write(_UPGRADE)
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            async with client.ws_connect("/", max_msg_size=0) as reading:
                await until(lambda: len(broadcast) == 2)
                for number in range(_MANY):
                    broadcast.publish(f"{number:02}" * _LARGE)
                    assert (await reading.receive(timeout=SECONDS)).data[:2] == f"{number:02}"
                broadcast.close()
                assert (await reading.receive(timeout=SECONDS)).type is WSMsgType.CLOSE
            seen = b""
            while not seen.endswith(b"\x03\xe8"):  # the regular end
                seen += await asyncio.wait_for(reader.read(1 << 20), SECONDS)
            writer.close()
    assert len(seen) < _MANY * _LARGE
    assert f"{_MANY - 1:02}".encode() * 100 in seen[-1000:]


async def test_an_unavailable_source_closes_with_try_again_later() -> None:
    """The connection is closed with 1013 and the reason, and no error is logged."""

    async def frames() -> AsyncIterator[str]:
        yield "first"
        raise Unavailable(f"the database is not available{'ü' * 100}")

    async with _served(frames()) as client, client.ws_connect("/") as socket:
        assert (await socket.receive(timeout=SECONDS)).data == "first"
        told = await socket.receive(timeout=SECONDS)
    assert (told.type, told.data) == (WSMsgType.CLOSE, WSCloseCode.TRY_AGAIN_LATER)
    assert told.extra is not None and told.extra.startswith("the database is not availableü")


async def test_an_ordinary_request_gets_426() -> None:
    """A request that is not a WebSocket handshake gets 426."""

    async def frames() -> AsyncIterator[str]:
        yield "never"

    waiting: Any = frames()
    async with _served(waiting) as client, client.get("/") as response:
        assert response.status == 426
    await waiting.aclose()
