"""The least that a WebSocket server on aiohttp can do: send back what it gets, with a database once it is committed.

`python -m benchmarks.bare_echo [DSN]` listens on a free port of 127.0.0.1 and prints `port=N`. With a DSN each sample
is decoded and stored by COPY into a table without an index, all that wait together, before it is sent back: nothing is
checked, there are no passwords, and an error of the database ends the program.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import asyncpg
import orjson
import uvloop
from aiohttp import WSMsgType, web

_COLUMNS = ("host", "at", "cpu", "mem", "storage")
_TABLE = "CREATE TABLE IF NOT EXISTS bare_samples (host text, at timestamptz, cpu float8, mem float8, storage float8)"


class _Committing:
    """Commits what comes, in shared batches."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._waiting: list[tuple[tuple[object, ...], asyncio.Future[None]]] = []
        self._work = asyncio.Event()

    async def run_writes(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        await connection.execute(_TABLE)
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._waiting = self._waiting, []
            rows = [row for row, _ in batch]
            await connection.copy_records_to_table("bare_samples", records=rows, columns=_COLUMNS)
            for _, done in batch:
                done.set_result(None)

    async def commit(self, message: str) -> None:
        document = orjson.loads(message)
        if document["type"] != "CLIENT_DATA":
            return
        data = document["data"]
        done = asyncio.get_running_loop().create_future()
        at = datetime.fromtimestamp(data["time"], UTC)
        self._waiting.append((("bare", at, data["cpu_load"], data["mem"], data["storage"]), done))
        self._work.set()
        await done


_COMMITTING = web.AppKey[_Committing | None]("committing")


async def _echo(request: web.Request) -> web.WebSocketResponse:
    committing = request.app[_COMMITTING]
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            if committing is not None:
                await committing.commit(message.data)
            await socket.send_str(message.data)
    return socket


async def _serve(dsn: str | None) -> None:
    app = web.Application()
    app[_COMMITTING] = committing = _Committing(dsn) if dsn else None
    app.router.add_get("/echo", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(f"port={runner.addresses[0][1]}", flush=True)
    await (committing.run_writes() if committing else asyncio.Event().wait())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_serve(*(sys.argv[1:] or [None])))
