"""A WebSocket over which somebody only watches: frames go out, and nothing is expected to come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import WSCloseCode, web

from smartmob.errors import Unavailable

_HEARTBEAT = 20.0
_LONGEST_MESSAGE = 1024
_LONGEST_REASON = 123  # RFC 6455, section 5.5


async def serve(request: web.Request, frames: AsyncIterator[str]) -> web.StreamResponse:
    """Send `frames` until they end or the viewer leaves; raises HTTPUpgradeRequired when this is no WebSocket.

    When they are Unavailable the viewer is told to try again later.
    """
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_LONGEST_MESSAGE, compress=False)
    if not socket.can_prepare(request).ok:
        raise web.HTTPUpgradeRequired(text="ask for this address as a WebSocket")
    await socket.prepare(request)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send(socket, frames))
        async for _ in socket:
            pass
        sending.cancel()
    return socket


async def _send(socket: web.WebSocketResponse, frames: AsyncIterator[str]) -> None:
    try:
        async for frame in frames:
            await socket.send_str(frame)
        await socket.close()
    except Unavailable as error:
        reason = str(error).encode()[:_LONGEST_REASON].decode(errors="ignore")
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason.encode())
    except ConnectionError:
        return  # the viewer has left
