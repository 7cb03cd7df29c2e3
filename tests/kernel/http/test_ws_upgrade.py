"""The check of WebSocket handshakes."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from smartmob.errors import InvalidInput, SmartmobError, Unavailable
from smartmob.kernel.http import ws_upgrade
from tests.waiting import SECONDS

HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def test_a_handshake_passes() -> None:
    """A request with all headers of RFC 6455, section 4.2.1, is a handshake."""
    request = make_mocked_request("GET", "/", headers=HANDSHAKE)
    assert ws_upgrade.is_handshake(request)
    ws_upgrade.require(request)


@pytest.mark.parametrize("missing", ["Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
def test_a_request_without_one_of_the_headers_is_no_handshake(missing: str) -> None:
    """Without one of the headers the request is refused with 426."""
    request = make_mocked_request("GET", "/", headers={k: v for k, v in HANDSHAKE.items() if k != missing})
    assert not ws_upgrade.is_handshake(request)
    with pytest.raises(web.HTTPUpgradeRequired, match="Upgrade Required"):
        ws_upgrade.require(request)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ValueError("secret"), WSCloseCode.INTERNAL_ERROR, "internal server error; see the log of the service"),
        (Unavailable("try later"), WSCloseCode.TRY_AGAIN_LATER, "try later"),
        (InvalidInput("é" * 200), WSCloseCode.INTERNAL_ERROR, "é" * 61),
    ],
)
async def test_an_error_after_the_handshake_closes_the_websocket(error: Exception, code: int, reason: str) -> None:
    """The client gets a close frame with the code and the reason, and no HTTP answer amid its frames."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await ws_upgrade.accept(request, web.WebSocketResponse())
        raise error

    @web.middleware
    async def close(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except (SmartmobError, ValueError) as failed:
            socket = await ws_upgrade.close_failed(request, failed)
            assert socket is not None
            return socket
        return response

    app = web.Application(middlewares=[close])
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client, client.ws_connect("/") as socket:
        message = await socket.receive(timeout=SECONDS)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, code, reason)


async def test_an_error_before_the_handshake_is_an_http_answer() -> None:
    """There is no WebSocket to close yet."""
    request = make_mocked_request("GET", "/", headers=HANDSHAKE)
    assert await ws_upgrade.close_failed(request, ValueError()) is None
