"""Reasons why a WebSocket was not opened, in words."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from smartmob.client.connection_errors import handshake_refusal, reason_of


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "the role read may not run commands; `smartmob token add`"),
        (418, "does not offer commands: it answered 418"),
    ],
)
async def test_a_handshake_that_is_refused(aiohttp_server: Any, status: int, said: str) -> None:
    """The answer to the request decides what to do: another token, or another address."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/commands", refuse)
    url = str((await aiohttp_server(app)).make_url("/commands"))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
    assert said in handshake_refusal(url, refused.value)


async def test_the_words_of_the_system_are_the_reason() -> None:
    """They come without the addresses and numbers of aiohttp; an error without words has its name."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.get("http://127.0.0.1:1")
    assert reason_of(refused.value) == "Connection refused"
    assert reason_of(OSError(errno.ENETUNREACH, "x")) == "Network is unreachable"
    assert reason_of(asyncio.IncompleteReadError(b"", 4)) == "0 bytes read on a total of 4 expected bytes"
    assert reason_of(aiohttp.ServerDisconnectedError()) == "Server disconnected"
