"""The least that a server on aiohttp can do with a metric: parse it and answer 201. Nothing is checked or stored.

`python -m benchmarks.bare` listens on a free port of 127.0.0.1 and prints `port=N`.
"""

from __future__ import annotations

import asyncio

import orjson
import uvloop
from aiohttp import web


async def _metric(request: web.Request) -> web.Response:
    document = orjson.loads(await request.read())
    return web.Response(body=orjson.dumps(document), status=201, content_type="application/json")


async def _serve() -> None:
    app = web.Application()
    app.router.add_post("/metrics/", _metric)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"port={runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve())
