"""The least that a WebSocket server on aiohttp can do: send back what it gets, with a database once it is committed.

`python -m benchmarks.bare_echo [DSN]` listens on a free port of 127.0.0.1 and prints `port=N`. With a DSN each sample
is decoded and stored as `bare_batches` does, before it is sent back: nothing is checked, and there are no passwords.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import orjson
import uvloop
from aiohttp import WSMsgType, web

from benchmarks.bare_batches import BareBatches

_COLUMNS = (("host", "text"), ("at", "timestamptz"), ("cpu", "float8"), ("mem", "float8"), ("storage", "float8"))
_BATCHES = web.AppKey[BareBatches | None]("batches")


async def _commit(batches: BareBatches, message: str) -> None:
    """Return when a sample is committed; other messages are not stored."""
    document = orjson.loads(message)
    if document["type"] == "CLIENT_DATA":
        data = document["data"]
        at = datetime.fromtimestamp(data["time"], UTC)
        await batches.commit(("bare", at, data["cpu_load"], data["mem"], data["storage"]))


async def _echo(request: web.Request) -> web.WebSocketResponse:
    batches = request.app[_BATCHES]
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            if batches is not None:
                await _commit(batches, message.data)
            await socket.send_str(message.data)
    return socket


async def _serve(dsn: str | None) -> None:
    app = web.Application()
    app[_BATCHES] = batches = BareBatches(dsn, "bare_samples", _COLUMNS) if dsn else None
    app.router.add_get("/echo", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(f"port={runner.addresses[0][1]}", flush=True)
    await (batches.run_writes() if batches else asyncio.Event().wait())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve(*(sys.argv[1:] or [None])))
