"""An HTTP server on this machine that counts the requests of turrets, and how many are active at the same time."""

from __future__ import annotations

import asyncio

from smartmob.turrets.conformance.awaited_changes import AwaitedChanges

_LONGEST_HEAD = 64 * 1024  # bytes of a request without its body
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"


class CountingTarget:
    """Answers each GET after `delay` seconds; while `drops`, it ends the connection without an answer.

    `hits` counts the requests, `under_way` those that are not answered yet; `peak` is the largest number at the same
    time since it was set to 0; `all_at` is the time at which `wanted` were under way for the first time. `paths` has
    the last thousand paths.
    """

    def __init__(self, changes: AwaitedChanges, delay: float = 0.1) -> None:
        self.delay = delay
        self.drops = False
        self.hits = 0
        self.under_way = 0
        self.peak = 0
        self.wanted = 0
        self.all_at: float | None = None
        self.paths: list[str] = []
        self._changes = changes
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_HEAD)

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Return the address to request."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/checked"

    def watch(self, wanted: int) -> None:
        """Forget the peak, and record the time when `wanted` requests are under way."""
        self.peak, self.wanted, self.all_at = 0, wanted, None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if self.drops else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether another one may follow on the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, _, fields = head.partition("\r\n")
        for name, _, value in (one.partition(":") for one in fields.split("\r\n")):
            if name.strip().lower() == "content-length":
                await reader.readexactly(int(value))
        self.hits += 1
        self.paths = [*self.paths[-999:], line.split(" ")[1] if " " in line else ""]
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        if self.all_at is None and self.wanted and self.under_way >= self.wanted:
            self.all_at = asyncio.get_running_loop().time()
        self._changes.notify()
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.under_way -= 1
        if self.drops:
            return False
        writer.write(_ANSWER)
        await writer.drain()
        return "connection: close" not in head.lower() and not line.endswith("HTTP/1.0")
