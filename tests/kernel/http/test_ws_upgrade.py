"""The check of WebSocket handshakes."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from smartmob.kernel.http import ws_upgrade

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
