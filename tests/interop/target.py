"""A web server that is fired at, and counts for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer


class Target:
    """A server that counts the requests of each path."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Count a request and answer it."""
        self.hits[request.path] += 1
        return web.Response(text="hello")


@asynccontextmanager
async def target(host: str = "127.0.0.1") -> AsyncIterator[Target]:
    """Give a target that answers until the end of the block."""
    place = Target()
    app = web.Application()
    app.router.add_get("/{path:.*}", place.answer)
    async with TestServer(app, host=host) as server:
        place.url = f"http://{host}:{server.port}"
        yield place
