"""Requests that are passed on to another server, and its answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from yarl import URL

from smartmob.kernel.http.relay import Relay, StreamConnector, passed_on
from smartmob.kernel.http.ws_stream import while_connected
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import until


async def _echo(request: web.Request) -> web.Response:
    names = ("Accept-Encoding", "Authorization", "Connection", "Expect", "X-Own")
    seen = {name: request.headers[name] for name in names if name in request.headers}
    return web.json_response({"seen": seen, "body": (await request.read()).decode()}, headers={"Location": "/next"})


@asynccontextmanager
async def _served() -> AsyncIterator[tuple[str, list[socket.socket]]]:
    """Run a server, and one that passes requests on to it over streams; give the address and the streams."""
    behind = web.Application()
    behind.router.add_get("/socket", _echo_messages)
    behind.router.add_get("/wait", _wait)
    behind.router.add_get("/lines", _lines)
    behind.router.add_route("*", "/{path:.*}", _echo)
    runner = web.AppRunner(behind)
    await runner.setup()
    opened: list[socket.socket] = []

    async def open_stream() -> socket.socket:
        ours, theirs = socket.socketpair()
        assert runner.server is not None
        await asyncio.get_running_loop().connect_accepted_socket(runner.server, theirs)
        opened.append(ours)
        return ours

    relay = Relay(StreamConnector(open_stream, keep=True), "the server", heartbeat=0.01)

    async def pass_on(request: web.Request) -> web.StreamResponse:
        headers = passed_on(request.headers, frozenset(("x-own", "expect")))
        headers["X-Own"] = "ours"
        return await relay.relay(request, URL(f"http://localhost{request.path_qs}"), headers, "/prefix")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on, expect_handler=_ignore)
    async with TestServer(app) as server:
        yield str(server.make_url("/")), opened
        await relay.close()
    await runner.cleanup()


async def _echo_messages(request: web.Request) -> web.WebSocketResponse:
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for message in answer:
        await answer.send_str(message.data)
    return answer


_CANCELLED = asyncio.Event()


async def _wait(request: web.Request) -> web.Response:
    try:
        async with while_connected(request, TaskRegistry()):
            await asyncio.Event().wait()
    finally:
        _CANCELLED.set()
    return web.Response()


async def _lines(request: web.Request) -> web.Response:
    return web.json_response(request.headers.getall("X-Forwarded-For"))


async def _ignore(_: web.Request) -> None:
    """Leave it to the relay to ask for the body."""


async def test_a_client_that_waits_before_it_sends_is_told_to_go_on() -> None:
    """Bodies of any length arrive, headers of the connection do not, and a connection is used again."""
    async with _served() as (url, opened), aiohttp.ClientSession() as client:
        sent = {"X-Own": "forged", "Authorization": "Bearer x", "Accept-Encoding": "identity"}
        for options in ({"expect100": True}, {"chunked": True}, {}):
            async with client.post(url, data="text" * 50_000, headers=sent, allow_redirects=False, **options) as answer:
                document = await answer.json()
                assert answer.headers["Location"] == "/prefix/next"
            assert len(document["body"]) == 200_000
            assert document["seen"] == {"Accept-Encoding": "identity", "Authorization": "Bearer x", "X-Own": "ours"}
        assert len(opened) == 1


async def test_the_client_of_a_websocket_is_asked_whether_it_lives() -> None:
    """A ping comes from here, since the server's own are answered here and say nothing of the client."""
    async with (
        _served() as (url, _),
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}socket", autoping=False) as socket,
    ):
        assert (await socket.receive()).type is aiohttp.WSMsgType.PING


async def test_a_header_with_several_lines_keeps_them() -> None:
    """The client is found in all lines of X-Forwarded-For, which each proxy may append as a line of its own."""
    lines = [("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-For", "10.0.0.5")]
    async with (
        _served() as (url, _),
        aiohttp.ClientSession() as client,
        client.get(f"{url}lines", headers=CIMultiDict(lines)) as answer,
    ):
        assert await answer.json() == ["9.9.9.9", "10.0.0.5"]


async def test_a_client_that_disconnects_ends_its_request_at_the_server() -> None:
    """An answer that sends nothing for a long time would keep its place in a limit."""
    _CANCELLED.clear()
    async with _served() as (url, opened), aiohttp.ClientSession() as client:
        asked = asyncio.create_task(client.get(f"{url}wait"))
        await until(lambda: opened)
        asked.cancel()
        await _CANCELLED.wait()


async def test_the_close_code_of_a_client_is_answered_as_by_the_server() -> None:
    """The relay has no code of its own for it."""
    async with _served() as (url, _), aiohttp.ClientSession() as client:
        socket = await client.ws_connect(f"{url}socket")
        await socket.close(code=3999)
        assert socket.close_code == aiohttp.WSCloseCode.OK
