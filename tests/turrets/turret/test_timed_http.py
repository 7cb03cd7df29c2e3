"""The HTTP client whose requests are timers, against scripted servers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.turrets.turret.failure import Failure
from smartmob.turrets.turret.http_client import HttpError
from smartmob.turrets.turret.timed_http import TimedHttp
from tests.certificates import Authority


async def _answer(request: web.Request) -> web.Response:
    return web.Response(status=503 if request.path == "/busy" else 200, text=await request.text())


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """The address of a server that answers with the body of the request, and with 503 at /busy."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    async with TestServer(app) as running:
        yield str(running.make_url("")).rstrip("/")


@pytest.fixture
def transaction() -> Any:
    """A transaction at the begin of `run`."""
    return SimpleNamespace(custom_timers={}, failed_timers={})


async def test_a_request_is_a_timer_and_so_are_its_parts(server: str, transaction: Any) -> None:
    """The first request opens the connection; the second one has no such part, and its own name."""
    http = TimedHttp(transaction, timeout=600)
    first = await http.get(f"{server}/items?page=2")
    timers = dict(transaction.custom_timers)
    assert list(timers) == ["GET /items", "GET /items first byte", "GET /items connect"]
    assert timers["GET /items"] == first.total >= timers["GET /items first byte"] > 0
    transaction.custom_timers.clear()
    second = await http.post(f"{server}/items/7", document={"a": 1}, name="change an item")
    assert second.json() == {"a": 1}
    assert list(transaction.custom_timers) == ["change an item", "change an item first byte"]
    await http.request("PUT", server, b"x")
    assert list(transaction.custom_timers)[2:] == ["PUT /", "PUT / first byte"]
    assert transaction.failed_timers == {}
    http.close()


async def test_an_encrypted_connection_has_its_handshake(transaction: Any, tmp_path: Path) -> None:
    """It is apart from reaching the server."""
    authority = Authority(tmp_path)
    files = authority.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    app = web.Application()
    app.router.add_get("/", _answer)
    server = TestServer(app, scheme="https", host="localhost")
    await server.start_server(ssl=context)
    http = TimedHttp(transaction, context=ssl.create_default_context(cafile=str(authority.file)), timeout=600)
    await http.get(f"https://localhost:{server.port}/")
    assert set(transaction.custom_timers) == {"GET /", "GET / first byte", "GET / connect", "GET / tls"}
    http.close()
    await server.close()


async def test_a_refused_answer_is_a_failure_of_its_timer(server: str, transaction: Any) -> None:
    """It has the status as its code, and keeps its duration; another request does not fail with it."""
    http = TimedHttp(transaction, timeout=600)
    (await http.get(f"{server}/fine")).expect()
    busy = await http.get(f"{server}/busy")
    with pytest.raises(HttpError, match="HTTP 503"):
        busy.expect()
    assert transaction.failed_timers == {"GET /busy": Failure("HTTP 503", "HttpError", "503")}
    assert transaction.custom_timers["GET /busy"] == busy.total
    http.close()


async def test_a_request_without_an_answer_is_a_failure_of_its_timer(unused_tcp_port: int, transaction: Any) -> None:
    """Its timer has the time until the error, whose code says why."""
    http = TimedHttp(transaction, timeout=600)
    with pytest.raises(HttpError):
        await http.get(f"http://127.0.0.1:{unused_tcp_port}/", name="home")
    assert list(transaction.custom_timers) == ["home"]
    assert transaction.failed_timers["home"].code == "ECONNREFUSED"
