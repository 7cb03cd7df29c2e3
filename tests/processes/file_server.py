"""A server of archives on 127.0.0.1, which can misbehave in many ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict

_CHUNK = bytes(64 * 1024)

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FileServer:
    """Answers each path as the test has set it, and others with 404.

    `requests` has the paths and headers of the requests in order, `queries` their queries. While `gate` is not set, no
    request is answered, so that a test can act during a request; `asked` is set by each request.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, CIMultiDict[str]]] = []
        self.queries: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self._behaviours: dict[str, Behaviour] = {}
        self._ending = asyncio.Event()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._server = TestServer(app, host="127.0.0.1")

    def url(self, path: str) -> str:
        """Return the address of `path`, which begins with a slash."""
        return str(self._server.make_url(path))

    def asked_for(self, path: str) -> int:
        """Return the number of requests for `path`."""
        return sum(asked == path for asked, _ in self.requests)

    def file(self, path: str, body: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Answer with `body`."""
        return self._behave(path, _constant(body, content_type))

    def tagged(self, path: str, body: bytes, tag: str) -> str:
        """Answer with `body` and its entity tag, or with 304 when the request has this tag."""

        async def behave(request: web.Request) -> web.StreamResponse:
            if request.headers.get("If-None-Match") == tag:
                return web.Response(status=304, headers={"ETag": tag})
            return web.Response(body=body, headers={"ETag": tag})

        return self._behave(path, behave)

    def status(self, path: str, status: int) -> str:
        """Answer with a status and a page."""

        async def behave(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text="<html>no</html>", content_type="text/html")

        return self._behave(path, behave)

    def busy(self, path: str, body: bytes, *waits: str, status: int = 503) -> str:
        """Answer with `status` and Retry-After, once for each of `waits`; then with `body`."""
        left = list(waits)

        async def behave(_: web.Request) -> web.StreamResponse:
            return (
                web.Response(status=status, headers={"Retry-After": left.pop(0)}) if left else web.Response(body=body)
            )

        return self._behave(path, behave)

    def encoded(self, path: str, body: bytes, encoding: str) -> str:
        """Answer with `body` and the header Content-Encoding."""

        async def behave(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, headers={"Content-Encoding": encoding})

        return self._behave(path, behave)

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        """Redirect to `location`."""

        async def behave(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": location})

        return self._behave(path, behave)

    def stall(self, path: str, body: bytes = b"", promised: int = 1_000_000) -> str:
        """Promise `promised` bytes, send `body` and then nothing more, with the connection open."""

        async def behave(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": str(promised)})
            await response.prepare(request)
            await response.write(body)
            await self._ending.wait()
            return response

        return self._behave(path, behave)

    def silence(self, path: str) -> str:
        """Read the request and never answer."""

        async def behave(_: web.Request) -> web.StreamResponse:
            await self._ending.wait()
            return web.Response()

        return self._behave(path, behave)

    def endless(self, path: str) -> str:
        """Send zeros without an end and without a Content-Length."""

        async def behave(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            while not self._ending.is_set():
                await response.write(_CHUNK)
            return response

        return self._behave(path, behave)

    def truncate(self, path: str, body: bytes, promised: int) -> str:
        """Promise `promised` bytes, send `body` and close the connection."""

        async def behave(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": str(promised)})
            await response.prepare(request)
            await response.write(body)
            assert request.transport is not None
            request.transport.close()
            return response

        return self._behave(path, behave)

    def _behave(self, path: str, behaviour: Behaviour) -> str:
        self._behaviours[path] = behaviour
        return self.url(path)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, CIMultiDict(request.headers)))
        self.queries.append(request.query_string)
        self.asked.set()
        await self.gate.wait()
        if (behaviour := self._behaviours.get(request.path)) is None:
            raise web.HTTPNotFound
        return await behaviour(request)

    async def start(self) -> None:
        """Start to listen on a free port."""
        await self._server.start_server()

    async def close(self) -> None:
        """End all requests and stop."""
        self._ending.set()
        self.gate.set()
        await self._server.close()


def _constant(body: bytes, content_type: str) -> Behaviour:
    async def behave(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type)

    return behave


@asynccontextmanager
async def running_file_server() -> AsyncIterator[FileServer]:
    """Serve on a free port of 127.0.0.1."""
    server = FileServer()
    await server.start()
    try:
        yield server
    finally:
        await server.close()
