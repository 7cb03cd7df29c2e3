"""A WebSocket over which somebody only watches: frames go out, and nothing is expected to come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, web

from smartmob.errors import Unavailable
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.runtime.tasks import TaskRegistry

_HEARTBEAT = 20.0
_LOOK_EVERY = 1.0
_LONGEST_MESSAGE = 1024
_LONGEST_REASON = 123  # RFC 6455, section 5.5


async def serve(request: web.Request, frames: AsyncIterator[str], places: ConnectionLimit) -> web.StreamResponse:
    """Send `frames` until they end or the viewer leaves; raises HTTPUpgradeRequired when this is no WebSocket.

    Raises Unavailable when there are too many viewers. When the frames are Unavailable the viewer is told to try again
    later.
    """
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_LONGEST_MESSAGE, compress=False)
    if not socket.can_prepare(request).ok:
        raise web.HTTPUpgradeRequired(text="ask for this address as a WebSocket")
    with places.place(request.remote):
        await socket.prepare(request)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send(socket, frames))
            async for _ in socket:
                pass
            sending.cancel()
    return socket


@asynccontextmanager
async def while_connected(request: web.Request, tasks: TaskRegistry) -> AsyncIterator[None]:
    """Cancel the handler of a request, whose answer goes on and may be silent for long, when its client has left."""
    handler = asyncio.current_task()
    assert handler is not None
    watching = tasks.start("viewer", _cancel_when_gone(request, handler))
    try:
        yield
    finally:
        watching.cancel()


async def _cancel_when_gone(request: web.Request, handler: asyncio.Task[object]) -> None:
    # No event tells of it while nothing is sent.
    while (transport := request.transport) is not None and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_EVERY)
    handler.cancel()


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
