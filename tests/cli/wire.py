"""A wire between a command and its service, which can be cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """Forwards connections to `port`; `cut` breaks those that exist, and the next ones until `repair`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._whole = True
        self.refused = asyncio.Event()
        self.cut_at: list[re.Pattern[bytes]] = []
        """Patterns of requests; each is used once: such a request cuts the wire until a connection was refused."""
        self._repaired_by_refusal = False

    def cut(self) -> None:
        """Break all connections, and each new one."""
        self._whole = False
        self.refused.clear()
        for writer in tuple(self._writers):
            writer.transport.abort()

    def repair(self) -> None:
        """Let new connections through."""
        self._whole, self._repaired_by_refusal = True, False

    async def ended(self) -> None:
        """Return when nothing is forwarded any more."""
        await asyncio.gather(*self._serving)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        if not self._whole:
            writer.transport.abort()
            self.refused.set()
            if self._repaired_by_refusal:
                self.repair()
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        pair = {writer, server_writer}
        self._writers |= pair
        await asyncio.gather(self._copy(reader, server_writer), self._copy(server_reader, writer))
        self._writers -= pair

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if found := [pattern for pattern in self.cut_at if pattern.match(data)]:
                    self.cut_at.remove(found[0])
                    self.cut()
                    self._repaired_by_refusal = True
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other side is told by the abort below
        writer.transport.abort()


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[tuple[Wire, str]]:
    """Give a wire to the service at `port`, and the address of its other end."""
    wire = Wire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    try:
        yield wire, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        wire.cut()
        await wire.ended()
