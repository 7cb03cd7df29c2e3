"""A TCP proxy before the PostgreSQL server of the test run: what a failing network does, at will."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit


class Proxy:
    """Forwards to the server of `url` while `up`; while not, it closes each connection at once.

    Before `listen` its port refuses connections. While `flowing` is not set, connections stay open and not a byte
    passes: what a cable does that somebody has pulled.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        # A run on a server of one's own, or on a cluster, has the address of a port.
        folder = query.pop("host", None)
        self._target = (parts.hostname, parts.port or 5432) if folder is None else f"{folder}/.s.PGSQL.5432"
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.up = True
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.seen = 0
        port = self._socket.getsockname()[1]
        self.url = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?{urlencode(query)}"

    async def listen(self) -> None:
        """Take connections from now on."""
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    def cut(self) -> None:
        """Be away: break the connections that exist, and each new one."""
        self.up = False
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """End everything."""
        self.flowing.set()
        self.cut()
        if self._server is not None:
            self._server.close()
        self._socket.close()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.seen += 1
        if not self.up:
            writer.transport.abort()
            return
        if isinstance(self._target, str):
            server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        else:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        pair = {writer, server_writer}
        self._writers |= pair
        if self.up:
            await asyncio.gather(self._copy(reader, server_writer), self._copy(server_reader, writer))
        self._writers -= pair
        for end in pair:
            end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other end is told by the abort below
        writer.transport.abort()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    """Give a proxy before the server of `url` that listens."""
    proxy = Proxy(url)
    try:
        await proxy.listen()
        yield proxy
    finally:
        await proxy.close()
