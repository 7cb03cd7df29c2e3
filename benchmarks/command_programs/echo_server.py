"""The least that a WebSocket server on aiohttp can do: parse a frame of JSON and send it back, on uvloop."""

from __future__ import annotations

import asyncio

import orjson
import uvloop
from aiohttp import web


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(orjson.dumps(orjson.loads(message.data)).decode())
    return socket


async def _serve() -> None:
    app = web.Application()
    app.router.add_get("/", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"port={runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


uvloop.run(_serve())
