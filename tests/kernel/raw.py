"""HTTP over a bare socket: requests that no client library sends, and answers as they arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from multidict import CIMultiDict

_SECONDS = 800.0


@dataclass(frozen=True)
class Reply:
    """One answer with its parsed head."""

    version: str
    status: int
    headers: CIMultiDict[str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded JSON body."""
        return orjson.loads(self.body)


class Wire:
    """A connection to a server, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, text: str | bytes) -> None:
        """Send a text with line ends converted to CRLF, or bytes unchanged."""
        self.writer.write(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())

    def get(self, path: str, *headers: str, method: str = "GET") -> None:
        """Send a request without a body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
        self.send("\n".join(lines) + "\n\n")

    async def reply(self, head_only: bool = False) -> Reply:
        """Return the next answer; raises IncompleteReadError if the connection ends within it."""
        async with asyncio.timeout(_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, status, _ = head[0].split(" ", 2)
            headers: CIMultiDict[str] = CIMultiDict()
            for line in head[1:-2]:
                name, _, value = line.partition(": ")
                headers.add(name, value)
            return Reply(version, int(status), headers, b"" if head_only else await self._body(int(status), headers))

    async def ended(self) -> bytes:
        """Return all further bytes until the server closes the connection."""
        async with asyncio.timeout(_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def _body(self, status: int, headers: CIMultiDict[str]) -> bytes:
        if status in (204, 304):
            return b""
        if headers.get("Transfer-Encoding") != "chunked":
            length = headers.get("Content-Length")
            return await (self.reader.read() if length is None else self.reader.readexactly(int(length)))
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)


@asynccontextmanager
async def wire(port: int, limit: int = 2**16) -> AsyncIterator[Wire]:
    """Give a connection to the server on the port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
