"""A connection pooler in transaction mode before the PostgreSQL server of the test run, such as PgBouncer is.

It has a few sessions of the server. A client has one of them from its first message until its transaction has ended;
the session that was given back last is the next to be used. It keeps no prepared statements for its clients, and
refuses settings in their first message, as PgBouncer does.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

_TLS_REQUEST, _CANCEL_REQUEST = 80877103, 80877102
"""Numbers in place of the protocol's version (PostgreSQL 18, 54.7 Message Formats)."""
_KNOWN = {"user", "database", "client_encoding", "application_name", "datestyle", "timezone"}
_ASKING = b"QS"
"""Types of messages that the server answers with ReadyForQuery: Query and Sync."""


class _Session:
    """A session of the server, and the client that uses it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.client: _Client | None = None
        self.asked = 0


class _Client:
    """A connected client and the session that it uses now."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.session: _Session | None = None


class Pooler:
    """Shares `size` sessions of the server of `url` among all clients."""

    def __init__(self, url: str, size: int) -> None:
        parts = urlsplit(url)
        folder = parse_qs(parts.query).get("host")
        self._target = (parts.hostname, parts.port or 5432) if folder is None else f"{folder[0]}/.s.PGSQL.5432"
        self._user, self._path, self._size = parts.username or "", parts.path, size
        self._idle: asyncio.LifoQueue[_Session] = asyncio.LifoQueue()
        self._greeting = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Connect to the server, and take clients from now on."""
        for _ in range(self._size):
            await self._connect()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{self._user}@127.0.0.1:{port}{self._path}?sslmode=disable"

    async def close(self) -> None:
        """End everything."""
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> None:
        if isinstance(self._target, str):
            reader, writer = await asyncio.open_unix_connection(self._target)
        else:
            reader, writer = await asyncio.open_connection(*self._target)
        self._writers.add(writer)
        words = ("user", self._user, "database", self._path[1:])
        body = struct.pack("!I", 3 << 16) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        writer.write(struct.pack("!I", len(body) + 4) + body)
        greeting = b""
        while (message := await _message(reader))[:1] != b"Z":
            assert message[:1] in b"RSKN", message
            greeting += message if message[:1] in b"RS" else b""
        self._greeting = greeting
        session = _Session(reader, writer)
        self._keep(asyncio.create_task(self._answer(session)))
        self._idle.put_nowait(session)

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)

    async def _answer(self, session: _Session) -> None:
        """Pass the messages of a session on to its client, and take it back when a transaction has ended."""
        while True:
            message = await _message(session.reader)
            client = session.client
            assert client is not None
            client.writer.write(message)
            if message[:1] == b"Z":
                session.asked -= 1
                if message[-1:] == b"I" and session.asked == 0:
                    session.client = client.session = None
                    self._idle.put_nowait(session)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        self._writers.add(writer)
        client = _Client(writer)
        try:
            if await self._greet(reader, writer):
                while (message := await _message(reader))[:1] != b"X":
                    await self._pass_on(client, message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        if client.session is not None:
            client.session.writer.transport.abort()
        writer.transport.abort()

    async def _pass_on(self, client: _Client, message: bytes) -> None:
        if client.session is None:
            session = await self._idle.get()
            client.session, session.client = session, client
        client.session.asked += message[:1] in _ASKING
        client.session.writer.write(message)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the first message of a client; return False for one that is refused."""
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        (version,) = struct.unpack("!I", body[:4])
        if version == _TLS_REQUEST:
            writer.write(b"N")
            return await self._greet(reader, writer)
        if version == _CANCEL_REQUEST:
            return False
        words = body[4:].rstrip(b"\0").split(b"\0")
        unknown = [name for name in (word.decode() for word in words[::2]) if name.lower() not in _KNOWN]
        if unknown:
            text = f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown[0]}\0\0".encode()
            writer.write(b"E" + struct.pack("!I", len(text) + 4) + text)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return False
        # The key for cancelling is the pooler's own, so its process number is not that of the server's session.
        key = b"K" + struct.pack("!III", 12, 2**31 - 1, 1)
        writer.write(self._greeting + key + b"Z" + struct.pack("!I", 5) + b"I")
        return True


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Return the next message: its type, its length and its body."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


@asynccontextmanager
async def pooler_of(url: str, size: int = 2) -> AsyncIterator[Pooler]:
    """Give a pooler before the server of `url`."""
    pooler = Pooler(url, size)
    try:
        await pooler.open()
        yield pooler
    finally:
        await pooler.close()
