"""Bytes between a WebSocket and a socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp

from smartmob.nodes.pipe import pipe


class Scripted:
    """A WebSocket that receives some messages and remembers what is sent."""

    def __init__(self, *received: bytes) -> None:
        self.sent = b""
        self.closed = False
        self._received = [aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, data, None) for data in received]
        self._ended = asyncio.Event()

    async def receive(self) -> aiohttp.WSMessage:
        """Return the next message, and when there is none, wait until it is closed."""
        if self._received:
            return self._received.pop(0)
        await self._ended.wait()
        return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)

    async def send_bytes(self, data: bytes) -> None:
        """Remember bytes."""
        self.sent += data

    async def close(self) -> None:
        """End `receive`."""
        self.closed = True
        self._ended.set()


async def test_bytes_pass_in_both_directions_until_the_socket_ends() -> None:
    """All bytes arrive, and then the WebSocket is closed."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    websocket: Any = Scripted(b"abc", b"def")
    copying = asyncio.ensure_future(pipe(websocket, theirs))
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(b"x" * 200_000)
    assert await reader.readexactly(6) == b"abcdef"
    await writer.drain()
    writer.close()
    await copying
    assert websocket.sent == b"x" * 200_000
    assert websocket.closed


async def test_the_socket_ends_with_the_websocket() -> None:
    """A connection that is closed at the other side is closed here."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    websocket: Any = Scripted()
    copying = asyncio.ensure_future(pipe(websocket, theirs))
    reader, writer = await asyncio.open_connection(sock=ours)
    await websocket.close()
    assert await reader.read() == b""
    await copying
    writer.close()
