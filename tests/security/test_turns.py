"""Handlers of WebSockets leave turns of the event loop to others while they handle many small messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from smartmob.commands.connection import Connection
from smartmob.hosts.session import EchoSession
from tests.fuzzing.websocket import TEXT, frame
from tests.hosts.samples import CLIENT_ID, register, sample

MOST = 64
"""Messages that a handler may handle in one turn of the loop."""
FLOOD = 3000
_SAMPLE = {"type": "CLIENT_DATA", "data": sample(), "client_id": CLIENT_ID}
"""A message that authenticates a machine."""
_HANDSHAKE = (
    "GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("path", "handler", "methods", "first", "answer"),
    [
        ("/commands", Connection, ["handle_text"], [{"type": "ping", "n": 1}], b"pong"),
        ("/echo", EchoSession, ["receive", "_perform_now"], [{"type": "HELLO"}, _SAMPLE], b"DATA_RETURN"),
    ],
    ids=["commands", "echo"],
)
async def test_a_handler_leaves_a_turn_to_others_after_64_messages(
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    handler: type,
    methods: list[str],
    first: list[Any],
    answer: bytes,
) -> None:
    """Messages that arrive together are counted by the turn of the loop in which they are handled."""
    await register(client)
    loop, turn, handled = asyncio.get_running_loop(), 0, Counter[int]()

    def counting(original: Any) -> Any:
        def counted(*given: Any) -> Any:
            handled[turn] += 1
            return original(*given)

        return counted

    def count_turn() -> None:
        nonlocal turn, timer
        turn += 1
        timer = loop.call_soon(count_turn)

    for method in methods:
        monkeypatch.setattr(handler, method, counting(getattr(handler, method)))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(_HANDSHAKE.format(path).encode())
    await reader.readuntil(b"\r\n\r\n")
    for message in first:
        writer.write(frame(TEXT, orjson.dumps(message)))
    await reader.readuntil(answer)
    timer = loop.call_soon(count_turn)
    try:
        writer.write(frame(TEXT, b"x") * FLOOD + frame(8, b""))
        while await reader.read(2**20):
            pass
    finally:
        timer.cancel()
        writer.close()
    assert handled.total() > 10 * MOST
    assert max(handled.values()) <= MOST
