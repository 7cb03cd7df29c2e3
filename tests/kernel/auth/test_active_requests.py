"""Active requests of a token that is revoked or expires."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import WSMsgType

from smartmob.kernel.auth import token_service
from tests.kernel.auth.test_routes import OWN, make, status
from tests.waiting import SECONDS

CLOSED = (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR)


async def ended(socket: Any) -> None:
    """Wait until the server has closed the connection."""
    while (await socket.receive(timeout=SECONDS)).type not in CLOSED:
        pass


@pytest.mark.parametrize(
    ("path", "role"), [("/commands", "control"), ("/console/live", "read"), ("/echo", "read"), ("/echo", "ingest")]
)
async def test_a_websocket_ends_when_its_token_is_revoked(with_settings: Any, path: str, role: str) -> None:
    """Revoking a token closes its WebSocket; one of another token stays open."""
    client = await with_settings(token="own-secret")
    lost, kept = await make(client, "lost", role), await make(client, "kept", role)
    async with client.ws_connect(path, headers=lost) as gone, client.ws_connect(path, headers=kept) as stays:
        assert await status(client, "DELETE", "/tokens/lost", OWN) == 204
        await ended(gone)
        await stays.ping()
        assert not stays.closed
        assert await status(client, "GET", "/tokens", OWN) == 200


async def test_a_websocket_ends_when_its_token_expires(with_settings: Any, monkeypatch: Any) -> None:
    """The WebSocket of an expired token is closed without any request."""
    monkeypatch.setattr(token_service, "_REFRESH_SECONDS", 0.01)
    client = await with_settings(token="own-secret")
    short = await make(client, "short", "control", seconds=1)
    async with client.ws_connect("/commands", headers=short) as socket:
        await ended(socket)


async def test_a_token_can_revoke_itself(with_settings: Any) -> None:
    """The request that revokes its own token is answered, and the next one is refused."""
    client = await with_settings(token="own-secret")
    control = await make(client, "ops", "control")
    assert await status(client, "DELETE", "/tokens/ops", control) == 204
    assert await status(client, "GET", "/jobs", control) == 401
