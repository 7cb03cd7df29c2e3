"""The least that a server on aiohttp can do that commits a measure before it answers.

`python -m benchmarks.bare_commit DSN` listens on a free port of 127.0.0.1 and prints `port=N`. A metric is parsed,
stored by COPY into a table without an index, all that wait together, and answered with the document. Nothing is
checked, there is no log, and an error of the database ends the program.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from typing import Any

import asyncpg
import orjson
import uvloop
from aiohttp import web

_TEXTS = ("session_h", "context_h", "item_path", "item", "item_variant", "item_fs_loc", "kind", "component")
_FIGURES = ("total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage")
_COLUMNS = ("item_start_time", *_TEXTS, *_FIGURES)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS bare_metrics (item_start_time timestamp, "
    f"{', '.join(f'{name} text' for name in _TEXTS)}, {', '.join(f'{name} float8' for name in _FIGURES)})"
)
Waiting = list[tuple[tuple[object, ...], asyncio.Future[None]]]


class _Committing:
    """Commits what comes, in shared batches."""

    def __init__(self) -> None:
        self._waiting: Waiting = []
        self._work = asyncio.Event()

    async def run_writes(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(_TABLE)
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._waiting = self._waiting, []
            rows = [row for row, _ in batch]
            await connection.copy_records_to_table("bare_metrics", records=rows, columns=_COLUMNS)
            for _, done in batch:
                done.set_result(None)

    async def post(self, request: web.Request) -> web.Response:
        document: dict[str, Any] = orjson.loads(await request.read())
        done = asyncio.get_running_loop().create_future()
        began = datetime.fromisoformat(document["item_start_time"])
        self._waiting.append(((began, *[document[name] for name in _COLUMNS[1:]]), done))
        self._work.set()
        await done
        return web.Response(body=orjson.dumps(document), status=201, content_type="application/json")


async def _serve(dsn: str) -> None:
    committing = _Committing()
    app = web.Application()
    app.router.add_post("/metrics/", committing.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"port={runner.addresses[0][1]}", flush=True)
    await committing.run_writes(dsn)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve(sys.argv[1]))
