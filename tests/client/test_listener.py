"""The listener of asyncio's client; tests/client/test_command_client.py tests it with a service."""

from __future__ import annotations

import asyncio

import pytest

from smartmob.client.failures import ClientError
from smartmob.client.limits import LIMITS
from smartmob.client.listener import Listener
from smartmob.commands.protocol import Done


def test_gathered_messages_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener gives a command up whose messages have more bytes than may be gathered."""
    monkeypatch.setattr(LIMITS, "gathered_bytes", 100)
    listener = Listener("ls", max_interval=None)
    for _ in range(2):
        listener.values(["x"], 60)
    listener.finished(Done(1, 0))
    with pytest.raises(ClientError, match="ls sent more than 1000000 messages or 100 bytes"):
        asyncio.run(listener.output())


async def test_a_message_counts_as_accepted() -> None:
    """A server that sends messages without having accepted the command does not keep its caller waiting."""
    listener = Listener("exec", max_interval=None)
    listener.values(["x"], 1)
    await listener.accepted()
    assert await listener.next() == "x"
