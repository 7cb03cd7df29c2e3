"""JSON answers over the wire: direct writing and aiohttp's own class give the same HTTP."""

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


class TestContent:
    """Bodies and headers of answers."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_body_of_any_size_arrives_whole(self, tiny_client: Any, size: int) -> None:
        """The body arrives whole, with its length and type."""
        response = await tiny_client.get(f"/size/{size}")
        body = await response.read()

        assert len(body) == size
        assert orjson.loads(body) == "x" * (size - 2)
        assert response.headers["Content-Length"] == str(size)
        assert response.content_type == "application/json"
        assert response.headers["Date"].endswith(" GMT")
        assert "Transfer-Encoding" not in response.headers

    async def test_small_and_large_answers_have_the_same_headers(self, line: Wire) -> None:
        """Answers that are written directly and by aiohttp have the same headers."""
        found = []
        for size in SIZES:
            line.get(f"/size/{size}", "X-Request-Id: id-1")
            headers = (await line.reply()).headers
            found.append({name.lower() for name in headers} | {headers["Content-Type"].partition(";")[0]})

        assert all(names == found[0] for names in found)

    @pytest.mark.parametrize("size", SIZES)
    async def test_head_gets_the_length_without_a_body(self, line: Wire, size: int) -> None:
        """HEAD returns the Content-Length and no body; the next request is answered."""
        line.get(f"/size/{size}", method="HEAD")
        reply = await line.reply(head_only=True)
        line.get("/hello")

        assert (reply.status, reply.headers["Content-Length"]) == (200, str(size))
        assert (await line.reply()).json() == {"hello": "wörld"}


class TestConnection:
    """Connections that stay open or are closed."""

    async def test_a_connection_serves_many_requests(self, line: Wire) -> None:
        """Many requests in a row use one connection."""
        for _ in range(5):
            line.get("/hello")
            assert (await line.reply()).status == 200

    @pytest.mark.parametrize("path", ["/hello", "/unknown", "/size/100000"])
    async def test_connection_close_is_obeyed(self, line: Wire, path: str) -> None:
        """After `Connection: close` the answer confirms it and the connection is closed."""
        line.get(path, "Connection: close")
        reply = await line.reply()

        assert reply.body
        assert reply.headers["Connection"].lower() == "close"
        assert await line.ended() == b""

    @pytest.mark.parametrize("path", ["/hello", "/unknown", "/size/100000"])
    async def test_http_1_0_gets_a_length_and_the_connection_is_closed(self, line: Wire, path: str) -> None:
        """An HTTP/1.0 client gets a Content-Length, no chunks, and the end of the connection."""
        line.send(f"GET {path} HTTP/1.0\nHost: localhost\n\n")
        reply = await line.reply()

        assert int(reply.headers["Content-Length"]) == len(reply.body) > 0
        assert "Transfer-Encoding" not in reply.headers
        assert await line.ended() == b""

    async def test_http_1_0_keep_alive_is_confirmed(self, line: Wire) -> None:
        """An HTTP/1.0 client that asks for keep-alive gets it."""
        for _ in range(2):
            line.send("GET /hello HTTP/1.0\nHost: localhost\nConnection: keep-alive\n\n")
            reply = await line.reply()

            assert reply.headers["Connection"].lower() == "keep-alive"

    async def test_pipelined_requests_are_answered_in_order(self, line: Wire) -> None:
        """Pipelined requests of all sizes and kinds are answered in their order."""
        paths = ["/hello", "/size/100000", "/unknown", "/size/2", "/part/x", "/stream", "/size/200000", "/hello"]
        for path in paths:
            line.get(path, f"X-Request-Id: id{path}")

        replies = [await line.reply() for _ in paths]

        assert [reply.headers["X-Request-Id"] for reply in replies] == [f"id{path}" for path in paths]
        assert [reply.status for reply in replies] == [200, 200, 404, 200, 200, 200, 200, 200]
        assert [len(reply.body) for reply in replies if reply.body.startswith(b'"')] == [100_000, 2, 200_000]

    async def test_pipelined_bodies_are_answered_in_order(self, line: Wire) -> None:
        """Pipelined requests with bodies are answered in their order."""
        for number in range(10):
            body = orjson.dumps({"name": f"thing {number}"})
            line.send(f"POST /things HTTP/1.1\nHost: localhost\nContent-Length: {len(body)}\n\n" + body.decode())

        assert [(await line.reply()).json()["name"] for _ in range(10)] == [f"thing {number}" for number in range(10)]


class TestSlowClients:
    """Clients that read slowly or not at all."""

    async def test_a_client_that_reads_late_gets_all_answers(self, serving: Any) -> None:
        """A slow client gets all answers whole and in order, and other clients are served meanwhile."""
        client, _, _ = await serving()
        async with wire(client.port, limit=1024) as line:
            for _ in range(40):
                line.get("/size/300000")
                line.get("/size/60000")
            await line.writer.drain()
            assert (await client.get("/hello")).status == 200

            sizes = [len((await line.reply()).body) for _ in range(80)]

        assert sizes == [300_000, 60_000] * 40

    async def test_a_client_that_never_reads_is_not_served_further(self, serving: Any) -> None:
        """The requests of a client that does not read wait, so that the buffer stays bounded."""
        client, _, request_stats = await serving()
        async with wire(client.port, limit=1024) as line:
            for _ in range(200):
                line.get("/size/1000000")
            await until(lambda: request_stats.requests)
            await asyncio.gather(*(client.get("/hello") for _ in range(50)))

            assert request_stats.requests["GET", 200] < 150

    async def test_a_client_that_disconnects_is_no_error(self, serving: Any) -> None:
        """An answer to a client that has disconnected is no error."""
        client, handlers, request_stats = await serving()
        async with wire(client.port) as line:
            line.get("/wait")
            await until(lambda: handlers.waiting)

        handlers.go.set()
        await until(lambda: not request_stats.active)

        assert (await client.get("/hello")).status == 200


class TestForHandlers:
    """Changes of an answer by its handler before it is sent."""

    async def test_status_type_and_headers_are_sent_as_set(self) -> None:
        """The status, the media type and further headers are sent as the handler set them."""

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

    async def test_a_handler_can_close_the_connection(self) -> None:
        """After `force_close` the answer has `Connection: close`."""

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

    async def test_an_answer_is_sent_once(self) -> None:
        """An answer that the handler prepares and returns is sent once."""

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


def test_dumps_encodes_plain_objects() -> None:
    """`dumps` returns plain objects as JSON."""
    assert dumps({"a": [1, None]}) == b'{"a":[1,null]}'
