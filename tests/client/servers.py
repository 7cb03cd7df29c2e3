"""A service in a thread of its own, for clients that block; and a wire that can be cut between both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from smartmob.app import build
from smartmob.settings import Settings
from tests.serving import ServiceServer
from tests.waiting import SECONDS

T = TypeVar("T")


class Server:
    """A running service: where it answers, and its loop."""

    def __init__(self, settings: Settings) -> None:
        self.port = 0
        self._settings = settings
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def url(self) -> str:
        """Return the address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers."""
        self._thread.start()
        assert self._ready.wait(SECONDS)

    def stop(self) -> None:
        """Return when it has ended."""
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(300)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns in the loop of the service."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        service = build(self._settings)
        async with ServiceServer(service.app, service.gate) as server:
            assert server.port is not None
            self.port = server.port
            self._ready.set()
            await self._stop.wait()


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    """Run a service until the end of the block."""
    server = Server(settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Wire:
    """A connection between clients and a service that can be cut, and can fall silent without being cut.

    `at_budget` is called once when `budget` bytes have passed in both directions; what follows in that one is lost.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.refuses = False
        self.limit: int | None = None
        self.budget: int | None = None
        self.at_budget: Callable[[], object] = self.cut
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Return the address for clients."""
        return f"http://127.0.0.1:{self.port}"

    def lead_to(self, port: int) -> None:
        """Connect later clients to another port."""
        self._target = port

    def cut(self) -> None:
        """End all connections at once, with what is on its way."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def hush(self) -> None:
        """Let nothing more through on the connections that there are, without ending them."""
        for task in tuple(self._tasks):
            task.cancel()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client."""
        self.connections += 1
        if self.refuses:
            writer.transport.abort()
            return
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        for pair in ((reader, out), (there, writer)):
            self._writers.add(pair[1])
            task = asyncio.create_task(self._pass(*pair, limited=pair[1] is writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool) -> None:
        spent = False
        try:
            while data := await reader.read(65536):
                if limited and self.limit is not None:
                    self.limit -= len(data)
                    if self.limit <= 0:
                        self.limit = None
                        self.cut()
                        return
                if spent:
                    continue
                if self.budget is not None:
                    data, self.budget = data[: self.budget], self.budget - len(data)
                    if spent := self.budget <= 0:
                        self.budget = None
                        self.at_budget()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.transport.abort()
        self._writers.discard(writer)


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    """Put a wire before a port until the end of the block."""
    wire = Wire(port)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.cut()
        wire.hush()
        server.close()
        await server.wait_closed()
