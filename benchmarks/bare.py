"""The least that a server on aiohttp can do: parse a document and answer it, or send a page.

Nothing is checked or stored.

`python -m benchmarks.bare [PROCESSES [PAGE]]` listens on a free port of 127.0.0.1 with this many processes and prints
`port=N`. PAGE is a file with the answer to GET.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import orjson
import uvloop
from aiohttp import web


async def _metric(request: web.Request) -> web.Response:
    document = orjson.loads(await request.read())
    return web.Response(body=orjson.dumps(document), status=201, content_type="application/json")


async def _serve(sock: socket.socket, page: bytes) -> None:
    async def send_page(_: web.Request) -> web.Response:
        return web.Response(body=page, content_type="application/json")

    app = web.Application()
    app.router.add_post("/metrics/", _metric)
    app.router.add_post("/client/{name}", _metric)
    app.router.add_get("/metrics/", send_page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    await asyncio.Event().wait()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def main(processes: int = 1, page: bytes = b"{}") -> None:
    """Serve with this many processes until SIGTERM."""
    first = _bound(0)
    port = first.getsockname()[1]
    sockets = [first, *(_bound(port) for _ in range(processes - 1))]
    children = []
    for sock in sockets[1:]:
        if not (pid := os.fork()):
            sockets = [sock]
            break
        children.append(pid)
    else:
        print(f"port={port}", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(_serve(sockets[0], page))
    finally:
        for pid in children:
            os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]), *(Path(word).read_bytes() for word in sys.argv[2:3]))
