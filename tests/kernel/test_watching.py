"""A WebSocket over which somebody only watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from smartmob.kernel import watching


def _served(frames: AsyncIterator[str]) -> TestClient[web.Request, web.Application]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await watching.serve(request, frames)

    app = web.Application()
    app.router.add_get("/", handler)
    return TestClient(TestServer(app, host="127.0.0.1"))


async def test_frames_and_the_end() -> None:
    """Everything that comes is sent, and then the connection is closed in the regular way."""

    async def frames() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    async with _served(frames()) as client, client.ws_connect("/") as socket:
        seen = [(await socket.receive(timeout=10)).data for _ in range(3)]
        assert seen == ["0", "1", "2"]
        assert (await socket.receive(timeout=10)).type is WSMsgType.CLOSE


async def test_a_viewer_leaves() -> None:
    """What would be sent to it is not made any more."""
    ended = asyncio.Event()

    async def frames() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with _served(frames()) as client:
        async with client.ws_connect("/") as socket:
            assert (await socket.receive(timeout=10)).data == "first"
        await asyncio.wait_for(ended.wait(), 10)


async def test_what_is_no_websocket() -> None:
    """It is told to become one."""

    async def frames() -> AsyncIterator[str]:
        yield "never"

    waiting: Any = frames()
    async with _served(waiting) as client, client.get("/") as response:
        assert response.status == 426
    await waiting.aclose()
