"""JSON answers over the wire: each way in which they are written is the same HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from smartmob.kernel.http.json_response import JSONResponse, dumps
from tests.kernel.raw import Wire, wire
from tests.waiting import until

SIZES = [2, 1000, 64 * 1024, 64 * 1024 + 1, 3_000_000]


class TestOrdinary:
    """What a client gets."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_the_body(self, tiny_client: Any, size: int) -> None:
        """It arrives whole, with its length and its type, whatever its size."""
        response = await tiny_client.get(f"/size/{size}")
        body = await response.read()

        assert len(body) == size
        assert orjson.loads(body) == "x" * (size - 2)
        assert response.headers["Content-Length"] == str(size)
        assert response.content_type == "application/json"
        assert response.headers["Date"].endswith(" GMT")
        assert "Transfer-Encoding" not in response.headers

    async def test_quick_and_slow_ways_agree(self, line: Wire) -> None:
        """Small and large answers have the same headers."""
        found = []
        for size in SIZES:
            line.get(f"/size/{size}", "X-Request-Id: id-1")
            headers = (await line.reply()).headers
            found.append({name.lower() for name in headers} | {headers["Content-Type"].partition(";")[0]})

        assert all(names == found[0] for names in found)

    @pytest.mark.parametrize("size", SIZES)
    async def test_only_the_head(self, line: Wire, size: int) -> None:
        """HEAD tells the length and sends nothing; the next request is answered."""
        line.get(f"/size/{size}", method="HEAD")
        reply = await line.reply(head_only=True)
        line.get("/hello")

        assert (reply.status, reply.headers["Content-Length"]) == (200, str(size))
        assert (await line.reply()).json() == {"hello": "wörld"}


class TestConnection:
    """When a connection goes on and when it ends."""

    async def test_it_goes_on(self, line: Wire) -> None:
        """Many requests in a row use one connection."""
        for _ in range(5):
            line.get("/hello")
            assert (await line.reply()).status == 200

    @pytest.mark.parametrize("path", ["/hello", "/unknown", "/size/100000"])
    async def test_the_client_ends_it(self, line: Wire, path: str) -> None:
        """`Connection: close` is obeyed after the answer, and confirmed."""
        line.get(path, "Connection: close")
        reply = await line.reply()

        assert reply.body
        assert reply.headers["Connection"].lower() == "close"
        assert await line.ended() == b""

    @pytest.mark.parametrize("path", ["/hello", "/unknown", "/size/100000"])
    async def test_http_1_0(self, line: Wire, path: str) -> None:
        """An old client gets an answer that it can read, and the end of the connection."""
        line.send(f"GET {path} HTTP/1.0\nHost: localhost\n\n")
        reply = await line.reply()

        assert int(reply.headers["Content-Length"]) == len(reply.body) > 0
        assert "Transfer-Encoding" not in reply.headers
        assert await line.ended() == b""

    async def test_http_1_0_that_goes_on(self, line: Wire) -> None:
        """An old client may ask to go on, and is told that it may."""
        for _ in range(2):
            line.send("GET /hello HTTP/1.0\nHost: localhost\nConnection: keep-alive\n\n")
            reply = await line.reply()

            assert reply.headers["Connection"].lower() == "keep-alive"

    async def test_requests_in_advance(self, line: Wire) -> None:
        """Requests that are sent without waiting are answered in their order, whatever their sizes and kinds."""
        paths = ["/hello", "/size/100000", "/unknown", "/size/2", "/part/x", "/stream", "/size/200000", "/hello"]
        for path in paths:
            line.get(path, f"X-Request-Id: id{path}")

        replies = [await line.reply() for _ in paths]

        assert [reply.headers["X-Request-Id"] for reply in replies] == [f"id{path}" for path in paths]
        assert [reply.status for reply in replies] == [200, 200, 404, 200, 200, 200, 200, 200]
        assert [len(reply.body) for reply in replies if reply.body.startswith(b'"')] == [100_000, 2, 200_000]

    async def test_bodies_in_advance(self, line: Wire) -> None:
        """So are requests with bodies."""
        for number in range(10):
            body = orjson.dumps({"name": f"thing {number}"})
            line.send(f"POST /things HTTP/1.1\nHost: localhost\nContent-Length: {len(body)}\n\n" + body.decode())

        assert [(await line.reply()).json()["name"] for _ in range(10)] == [f"thing {number}" for number in range(10)]


class TestSlowClients:
    """Clients that do not read."""

    async def test_one_that_reads_later(self, serving: Any) -> None:
        """It gets all answers in order and whole, and the others are served meanwhile."""
        client, _, _ = await serving()
        async with wire(client.port, limit=1024) as line:
            for _ in range(40):
                line.get("/size/300000")
                line.get("/size/60000")
            await line.writer.drain()
            assert (await client.get("/hello")).status == 200

            sizes = [len((await line.reply()).body) for _ in range(80)]

        assert sizes == [300_000, 60_000] * 40

    async def test_one_that_never_reads(self, serving: Any) -> None:
        """What waits for it does not grow without bound: its requests wait."""
        client, _, request_stats = await serving()
        async with wire(client.port, limit=1024) as line:
            for _ in range(200):
                line.get("/size/1000000")
            await until(lambda: request_stats.requests)
            await asyncio.gather(*(client.get("/hello") for _ in range(50)))

            assert request_stats.requests["GET", 200] < 150

    async def test_one_that_leaves(self, serving: Any) -> None:
        """An answer to nobody is no failure."""
        client, handlers, request_stats = await serving()
        async with wire(client.port) as line:
            line.get("/wait")
            await until(lambda: handlers.waiting)

        handlers.go.set()
        await until(lambda: not request_stats.active)

        assert (await client.get("/hello")).status == 200


class TestForHandlers:
    """What a handler can do with it before it is sent."""

    async def test_its_parts(self) -> None:
        """Status, media type and further headers are those that were given."""

        async def handler(_: web.Request) -> web.StreamResponse:
            answer = JSONResponse(b"{}", 418, "application/x-tea+json")
            answer.headers["X-Pot"] = "full"
            assert (answer.status, answer.prepared, answer.keep_alive) == (418, False, True)
            return answer

        app = web.Application()
        app.router.add_get("/", handler)
        async with TestClient(TestServer(app, host="127.0.0.1")) as client:
            response = await client.get("/")

            assert (response.status, response.reason) == (418, "I'm a Teapot")
            assert response.headers["X-Pot"] == "full"
            assert response.content_type == "application/x-tea+json"

    async def test_the_end_of_the_connection(self) -> None:
        """A handler can ask for it."""

        async def handler(_: web.Request) -> web.StreamResponse:
            answer = JSONResponse(b"{}")
            answer.force_close()
            return answer

        app = web.Application()
        app.router.add_get("/", handler)
        async with TestServer(app, host="127.0.0.1") as server, wire(server.port or 0) as line:
            line.get("/")

            assert (await line.reply()).headers["Connection"] == "close"
            assert await line.ended() == b""

    async def test_it_is_sent_once(self) -> None:
        """Preparing it by hand and returning it sends one answer."""

        async def handler(request: web.Request) -> web.StreamResponse:
            answer = JSONResponse(b"[1]")
            await answer.prepare(request)
            assert answer.prepared
            await answer.prepare(request)
            return answer

        app = web.Application()
        app.router.add_get("/", handler)
        async with TestServer(app, host="127.0.0.1") as server, wire(server.port or 0) as line:
            for _ in range(2):
                line.get("/")
                assert (await line.reply()).json() == [1]


def test_plain_documents() -> None:
    """Plain objects become JSON."""
    assert dumps({"a": [1, None]}) == b'{"a":[1,null]}'
