"""A client of a WebSocket connection, without a network."""

from __future__ import annotations

import asyncio
from typing import Any

from smartmob.commands import protocol
from smartmob.commands.connection import Connection
from smartmob.commands.protocol import Done
from tests.commands.features import RunningFeature
from tests.waiting import until


class SocketClient:
    """A client without a network. It records the frames that it gets, and reads none while `open` is not set."""

    def __init__(self, commands: RunningFeature) -> None:
        self.messages: list[Any] = []
        self.open = asyncio.Event()
        self.open.set()
        self.connection = Connection(commands.service, self, "10.0.0.1:5")
        self.connection.session.cwd = commands.home

    async def write_text(self, content: bytes) -> None:
        await self.open.wait()
        self.messages.append(protocol.decode_server_message(content))

    async def write_binary(self, content: bytes) -> None:
        await self.open.wait()
        self.messages.append(protocol.decode_piece(content))

    async def send(self, *messages: Any) -> None:
        """Send messages of a client."""
        for message in messages:
            await self.connection.handle_text(protocol.encode(message).decode())

    def of(self, kind: type, call_id: int = 1) -> list[Any]:
        """Return the messages of a class about a call."""
        return [message for message in self.messages if type(message) is kind and message.id == call_id]

    async def end_of(self, call_id: int = 1) -> Done:
        """Return how a call ended, once it has."""
        (done,) = await until(lambda: self.of(Done, call_id))
        return done

    def data(self, call_id: int = 1) -> bytes:
        """Return the bytes of a call's output."""
        return b"".join(piece.data for piece in self.of(protocol.Piece, call_id) if piece.kind == protocol.OUTPUT)
