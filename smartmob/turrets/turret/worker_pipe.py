"""The pipe between a turret and its worker processes: msgpack messages, each preceded by its length."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec

from smartmob.turrets.turret.user_pool import FiringPlan, ResultBatch

_LENGTH_BYTES = 4
"""Bytes of the length before each message, in network byte order."""


class LoadMessage(msgspec.Struct, frozen=True, tag=True):
    """To a worker: the script and its configuration. `share` is (index of the worker, number of workers)."""

    config: dict[str, Any]
    script: str
    folders: list[str]
    share: tuple[int, int]


class FireMessage(msgspec.Struct, frozen=True, tag=True):
    """To a worker: fire by the plan."""

    plan: FiringPlan


class StopMessage(msgspec.Struct, frozen=True, tag=True):
    """To a worker: start no more transactions."""

    at_once: bool


class PauseMessage(msgspec.Struct, frozen=True, tag=True):
    """To a worker: pause, or resume."""

    paused: bool


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """From a worker: the script is loaded, or cannot be loaded for `reason`."""

    reason: str = ""


class Fired(msgspec.Struct, frozen=True, tag=True):
    """From a worker: its next result batch; `ended`: all of its cannons have ended, or failed for `reason`."""

    batch: ResultBatch
    ended: bool = False
    reason: str = ""


Message = LoadMessage | FireMessage | StopMessage | PauseMessage | Loaded | Fired

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class WorkerPipe:
    """One end of the pipe. After use you must `close`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, end: socket.socket) -> WorkerPipe:
        """Return the pipe over a connected socket."""
        return cls(*await asyncio.open_connection(sock=end))

    def send(self, message: Message) -> None:
        """Queue a message; it is sent as the other side reads."""
        data = _ENCODER.encode(message)
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    async def drained(self) -> None:
        """Wait until the send buffer is below its limit; raises ConnectionError when the other side is closed."""
        await self._writer.drain()

    async def receive(self) -> Message | None:
        """Return the next message, or None when the other side is closed."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            return _DECODER.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Close this end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass
