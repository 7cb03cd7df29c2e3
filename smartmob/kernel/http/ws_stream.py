"""WebSockets that only send: messages from the client are ignored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, web

from smartmob.errors import Unavailable
from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.runtime.tasks import TaskRegistry

_HEARTBEAT_SECONDS = 20.0
_CHECK_SECONDS = 1.0
_MAX_MESSAGE_BYTES = 1024
_MAX_REASON_BYTES = 123  # a control frame has at most 125 bytes, two of them for the code (RFC 6455, section 5.5)


async def serve(request: web.Request, frames: AsyncIterator[str], viewers: ConnectionLimit) -> web.StreamResponse:
    """Send `frames` until they end or the client disconnects.

    If producing them raises Unavailable, the connection is closed with the code 1013 (try again later). Raises
    HTTPUpgradeRequired if the request is not a WebSocket handshake, and Unavailable if there are too many viewers.
    """
    ws_upgrade.require(request)
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_SECONDS, max_msg_size=_MAX_MESSAGE_BYTES, compress=False)
    with viewers.slot(request.remote):
        await ws_upgrade.accept(request, socket)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send(socket, frames))
            async for _ in socket:
                pass
            sending.cancel()
    return socket


@asynccontextmanager
async def while_connected(request: web.Request, tasks: TaskRegistry) -> AsyncIterator[None]:
    """Cancel the current handler when its client disconnects. For answers that may send nothing for a long time."""
    handler = asyncio.current_task()
    assert handler is not None
    watching = tasks.start("viewer", _cancel_when_gone(request, handler))
    try:
        yield
    finally:
        watching.cancel()


async def _cancel_when_gone(request: web.Request, handler: asyncio.Task[object]) -> None:
    # aiohttp gives no event for a disconnect while a handler runs and sends nothing.
    while (transport := request.transport) is not None and not transport.is_closing():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(_CHECK_SECONDS)
    handler.cancel()


async def _send(socket: web.WebSocketResponse, frames: AsyncIterator[str]) -> None:
    try:
        async for frame in frames:
            await socket.send_str(frame)
        await socket.close()
    except Unavailable as error:
        reason = str(error).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason.encode())
    except ConnectionError:
        return  # the client has disconnected
