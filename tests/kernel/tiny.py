"""A tiny application behind the request gate: each route shows one thing that handlers do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import orjson
import structlog
from aiohttp import web

from smartmob import errors
from smartmob.kernel.auth.authenticator import HostRules, TokenAuthenticator
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.gate import RequestGate, RequestStats
from smartmob.kernel.http.json_response import JSONResponse, json_response
from smartmob.kernel.http.routing import JSON, Body, Route, RouteTable, answer, mount, public_paths
from smartmob.kernel.http.stream_response import stream
from smartmob.kernel.observability.log import AccessLog

log = structlog.get_logger()


class Thing(msgspec.Struct):
    """The body of POST /things."""

    name: str
    sizes: list[int] = []
    notes: dict[str, Any] = {}


class Search(msgspec.Struct):
    """The query of /search."""

    text: str
    page: int = 1


class Streamed(msgspec.Struct):
    """The query of /stream."""

    chunks: int = 0
    name: str = ""
    fail_at: int = -1


DECODER = msgspec.json.Decoder(Thing)
RAISED: dict[str, Callable[[], Exception]] = {
    "bug": lambda: RuntimeError("password=hunter2"),
    "not-found": lambda: errors.NotFound("there is no x"),
    "unavailable": lambda: errors.Unavailable("the database is away", retry_after=3),
    "invalid": lambda: errors.InvalidInput.at("$.x", "is wrong"),
    "gone": lambda: web.HTTPGone(text="moved away"),
    "found": lambda: web.HTTPFound("/hello"),
    "not-modified": web.HTTPNotModified,
    "timeout": TimeoutError,
}


class Tiny:
    """The handlers of the application; `waiting` counts the requests that wait for `go`."""

    def __init__(self, bodies: BodyReader) -> None:
        self._bodies = bodies
        self.go = asyncio.Event()
        self.waiting = 0

    def table(self) -> RouteTable:
        """Return the route table."""
        paths: dict[tuple[str, str], Any] = {
            ("GET", "/hello"): self.hello,
            ("GET", "/raise/{name}"): self.fail,
            ("GET", "/size/{bytes}"): self.sized,
            ("GET", "/plain"): self.plain,
            ("GET", "/stream"): self.streamed,
            ("GET", "/search"): self.search,
            ("GET", "/part/{name}"): self.part,
            ("GET", "/open/{name}"): self.part,
            ("GET", "/wait"): self.wait,
            ("GET", "/go"): self.release,
            ("GET", "/socket"): self.socket,
            ("POST", "/length"): self.length,
            ("POST", "/few"): self.length,
            ("POST", "/things"): self.things,
        }
        routes = [
            Route(
                method,
                path,
                handler,
                path,
                "A route of the tests.",
                {200: answer(dict)},
                Body({JSON: dict}, limit=1_000) if path == "/few" else None,
                {"/search": Search, "/stream": Streamed}.get(path),
                public=path in ("/plain", "/open/{name}"),
            )
            for (method, path), handler in paths.items()
        ]
        return RouteTable("tiny", tuple(routes))

    async def hello(self, _: web.Request) -> web.StreamResponse:
        log.info("greeted")
        return json_response({"hello": "wörld"})

    async def fail(self, request: web.Request) -> web.StreamResponse:
        raise RAISED[request.match_info["name"]]()

    async def sized(self, request: web.Request) -> web.StreamResponse:
        return JSONResponse(orjson.dumps("x" * (int(request.match_info["bytes"]) - 2)))

    async def plain(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="plain")

    async def streamed(self, request: web.Request) -> web.StreamResponse:
        arguments = request.query

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(int(arguments.get("chunks", "3"))):
                if arguments.get("fail_at") == str(number):
                    raise RuntimeError("password=hunter2")
                yield b"%d," % number * 1000

        return await stream(request, chunks(), "text/csv", arguments.get("name"))

    async def search(self, request: web.Request) -> web.StreamResponse:
        return json_response(query(request, Search))

    async def part(self, request: web.Request) -> web.StreamResponse:
        return json_response({"name": parameter(request, "name")})

    async def wait(self, _: web.Request) -> web.StreamResponse:
        self.waiting += 1
        await self.go.wait()
        return json_response({"waited": True})

    async def release(self, _: web.Request) -> web.StreamResponse:
        self.go.set()
        return json_response({})

    async def socket(self, request: web.Request) -> web.StreamResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        await connection.send_str("hello")
        await connection.close()
        return connection

    async def length(self, request: web.Request) -> web.StreamResponse:
        return json_response({"length": len(await self._bodies.read(request))})

    async def things(self, request: web.Request) -> web.StreamResponse:
        return json_response(decode(DECODER, await self._bodies.read(request)), 201)


def build(
    token: str | None = None,
    limit: int = 100_000,
    timeout: float = 20.0,
    access_log: AccessLog = lambda _: None,
    *,
    least_rate: float = 0.0,
    seconds: Callable[[], float] = time.monotonic,
) -> tuple[web.Application, Tiny, RequestGate]:
    """Return the application, its handlers and its request gate."""
    mounted: dict[web.AbstractRoute, Route] = {}
    tiny = Tiny(BodyReader(limit, timeout, least_rate, mounted, seconds=seconds))
    tables = [tiny.table()]
    gate = RequestGate(
        TokenAuthenticator(token), HostRules("127.0.0.1"), public_paths(tables), RequestStats(access_log), mounted
    )
    app = web.Application(middlewares=[gate.middleware()], client_max_size=limit)
    mounted |= mount(app, tables)
    return app, tiny, gate
