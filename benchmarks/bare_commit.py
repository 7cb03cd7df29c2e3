"""The least that a server on aiohttp can do that commits a measure before it answers.

`python -m benchmarks.bare_commit DSN` listens on a free port of 127.0.0.1 and prints `port=N`. A metric is parsed,
stored as `bare_batches` does, and answered with the document. Nothing is checked, and there is no log.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from typing import Any

import orjson
import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

from benchmarks.bare_batches import BareBatches

_TEXTS = ("session_h", "context_h", "item_path", "item", "item_variant", "item_fs_loc", "kind", "component")
_FIGURES = ("total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage")
_COLUMNS = (
    ("item_start_time", "timestamp"),
    *((name, "text") for name in _TEXTS),
    *((name, "float8") for name in _FIGURES),
)


def _posting(batches: BareBatches) -> Handler:
    """Return the handler of a post."""

    async def post(request: web.Request) -> web.StreamResponse:
        document: dict[str, Any] = orjson.loads(await request.read())
        began = datetime.fromisoformat(document["item_start_time"])
        await batches.commit((began, *[document[name] for name, _ in _COLUMNS[1:]]))
        return web.Response(body=orjson.dumps(document), status=201, content_type="application/json")

    return post


async def _serve(dsn: str) -> None:
    batches = BareBatches(dsn, "bare_metrics", _COLUMNS)
    app = web.Application()
    app.router.add_post("/metrics/", _posting(batches))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"port={runner.addresses[0][1]}", flush=True)
    await batches.run_writes()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve(sys.argv[1]))
