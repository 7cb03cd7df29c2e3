"""Copies bytes between a WebSocket and a socket, in both directions, until either side ends."""

from __future__ import annotations

import asyncio
import socket as sockets
from contextlib import suppress
from typing import TypeAlias

import aiohttp
from aiohttp import web

AnyWebSocket: TypeAlias = aiohttp.ClientWebSocketResponse | web.WebSocketResponse

_READ_BYTES = 64 * 1024


async def pipe(websocket: AnyWebSocket, sock: sockets.socket) -> None:
    """Copy until the WebSocket or the socket is closed, then close both. Each direction waits for its slower end."""
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        # A direction ends by closing its target, which ends the other direction.
        async with asyncio.TaskGroup() as group:
            group.create_task(_to_websocket(reader, websocket))
            group.create_task(_to_socket(websocket, writer))
    finally:
        writer.close()


async def _to_websocket(reader: asyncio.StreamReader, websocket: AnyWebSocket) -> None:
    with suppress(ConnectionError, aiohttp.ClientError):
        while data := await reader.read(_READ_BYTES):
            await websocket.send_bytes(data)
    await websocket.close()


async def _to_socket(websocket: AnyWebSocket, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while (message := await websocket.receive()).type is aiohttp.WSMsgType.BINARY:
            writer.write(message.data)
            await writer.drain()
    writer.close()
