"""The door for stock conplyent clients: many at once, each with its own working directory, on a port of their own.

The wire has no authentication and no encryption, so the port is off unless asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog

from smartmob.commands.call import ClientSession
from smartmob.commands.conplyent import protocol
from smartmob.commands.conplyent.decoder import NotTaken, Refused
from smartmob.commands.conplyent.protocol import Answer, Command, Heartbeat, Sync
from smartmob.commands.conplyent.zmtp import Wire, WireError
from smartmob.commands.error_serialisation import native
from smartmob.commands.model import ERROR, Outcome
from smartmob.commands.service import CommandsService
from smartmob.errors import StartupError
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import ConplyentSettings

log = structlog.get_logger()

_GREETING_SECONDS = 30.0
_MOST_CLIENTS = 1_000
_MOST_WAITING = 1_000
_WRITE_BUFFER = 1024 * 1024
_LOCAL = ("127.0.0.1", "::1", "localhost")
_BYTE_STREAMS = ("get", "put")
"""Commands whose bytes this wire has no place for."""


class ConplyentGateway:
    """Listens for stock clients once it is started, if a port is set."""

    def __init__(self, service: CommandsService, settings: ConplyentSettings, tasks: TaskRegistry) -> None:
        self.service = service
        self.tasks = tasks
        self.limit = settings.max_message
        self.peers: set[_Peer] = set()
        self._settings = settings
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Return the port that is listened on; 0 when the door is closed."""
        return self._server.sockets[0].getsockname()[1] if self._server is not None else 0

    async def open(self) -> None:
        """Start the room, and begin to listen; raises StartupError."""
        await self.service.start()
        await self.start()

    async def start(self) -> None:
        """Begin to listen, if a port is set; raises StartupError."""
        host, port = self._settings.host, self._settings.port
        if port is None:
            return
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: _Peer(self), host, port)
        except OSError as error:
            raise StartupError(f"--conplyent-port: cannot listen on {host} port {port}: {error.strerror}") from None
        log.info("bind", transport="conplyent", host=host, port=self.port)
        if host not in _LOCAL:
            log.warning(
                "conplyent.open", host=host, hint="whoever reaches this port runs commands: there is no authentication"
            )

    async def close(self) -> None:
        """Shut the door, and close the room."""
        self.shut()
        await self.service.close()

    def shut(self) -> None:
        """Take no more clients and leave those that there are."""
        if self._server is not None:
            self._server.close()
            for peer in tuple(self.peers):
                peer.leave()
            self._server = None

    def names(self) -> list[str]:
        """Return the names of the commands that stock clients get as methods."""
        return [name for name in self.service.registry.names() if name not in _BYTE_STREAMS]


class _Peer(asyncio.Protocol):
    """One stock client. Its commands are begun in the order in which they come, as the stock server does it."""

    def __init__(self, door: ConplyentGateway) -> None:
        self._door = door
        self._wire = Wire(door.limit)
        self._waiting: deque[Command | Exception] = deque()
        self._work: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._name = "?"
        self.transport: Any = None

    # -- the connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        host, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        self._name = f"conplyent {host}:{port}"
        if len(self._door.peers) >= _MOST_CLIENTS:
            log.warning("conplyent.refused", client=self._name, reason=f"{_MOST_CLIENTS} clients are connected")
            transport.abort()
            return
        self._door.peers.add(self)
        transport.set_write_buffer_limits(_WRITE_BUFFER)
        transport.write(self._wire.to_send())
        self._session: ClientSession = self._door.service.session(self._name)
        asyncio.get_running_loop().call_later(_GREETING_SECONDS, self._check_greeted)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._wire.receive(data)
        except WireError as error:
            log.warning("conplyent.refused", client=self._name, reason=str(error))
            self.transport.abort()
            return
        if answer := self._wire.to_send():
            self.transport.write(answer)
        for message in messages:
            self._take(message)

    def connection_lost(self, _: Exception | None) -> None:
        self._door.peers.discard(self)
        self._room.set()
        for task in tuple(self._work):
            task.cancel()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def leave(self) -> None:
        """Close the connection once what was written is out."""
        self.transport.close()

    def _check_greeted(self) -> None:
        if not self._wire.ready and not self.transport.is_closing():
            log.warning("conplyent.refused", client=self._name, reason="no greeting came in time")
            self.transport.abort()

    # -- messages -----------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        try:
            message = protocol.parse(data)
        except Refused as error:
            log.warning("conplyent.refused", client=self._name, reason=str(error))
            if isinstance(error, NotTaken):
                # An honest client passed what is not taken; it waits for an answer.
                self._enqueue(error)
            else:
                self.transport.abort()
            return
        if isinstance(message, Heartbeat):
            self.write(protocol.HEARTBEAT_ANSWER)
        elif isinstance(message, Sync):
            self.write(protocol.sync(self._door.names()))
        elif isinstance(message, Command):
            self._enqueue(message)

    def _enqueue(self, item: Command | Exception) -> None:
        self._waiting.append(item)
        if len(self._waiting) >= _MOST_WAITING:
            self.transport.pause_reading()
        if self._worker is None:
            self._worker = self._start("conplyent-commands", self._run_in_order())

    def _start(self, name: str, work: Any) -> asyncio.Task[None]:
        task = self._door.tasks.start(name, work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _run_in_order(self) -> None:
        while self._waiting:
            item = self._waiting.popleft()
            if len(self._waiting) == _MOST_WAITING // 2 and not self.transport.is_closing():
                self.transport.resume_reading()
            sink = _StockSink(self, item)
            if isinstance(item, Exception):
                sink.acknowledge(await self._door.service.number(), job=False)
                sink.done(Outcome(exit_code=ERROR, error=item))
                continue
            self._start("conplyent-command", self._call(item, sink))
            # Others may be begun once this one has ended, or is a job: then its output comes beside theirs.
            await sink.passed.wait()
        self._worker = None

    async def _call(self, command: Command, sink: _StockSink) -> None:
        try:
            arguments = (command.args, command.kwargs)
            await self._door.service.call(self._session, command.name, arguments, sink, native=True)
        finally:
            sink.passed.set()

    def write(self, data: bytes) -> None:
        """Send frames."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def room(self) -> None:
        """Return when the client has taken what it was sent."""
        await self._room.wait()


class _StockSink:
    """Answers one command."""

    def __init__(self, peer: _Peer, item: Command | Exception) -> None:
        self.passed = asyncio.Event()
        self._peer = peer
        self._item = item
        self._answer: Answer | None = None

    def acknowledge(self, number: int, job: bool) -> None:
        self._answer = Answer(number)
        item = self._item
        echo = protocol.echo(item.name, item.args, item.kwargs) if isinstance(item, Command) else "?"
        self._peer.write(self._answer.acknowledge() + self._answer.detail(echo))
        if job or (isinstance(item, Command) and item.name == "attach"):
            self.passed.set()

    def say(self, value: object) -> None:
        if self._answer is not None:
            self._peer.write(self._answer.detail(value))

    async def room(self) -> None:
        await self._peer.room()

    async def output(self, offset: int, data: bytes | memoryview) -> None:
        if self._answer is not None:
            self._peer.write(self._answer.output(bytes(data)))
        await self._peer.room()

    def gap(self, first: int, last: int) -> None:
        self.say(f"... {last - first} bytes of output are no longer kept ...\n")

    async def receive(self) -> bytes | None:
        return None

    def done(self, outcome: Outcome) -> None:
        answer = self._answer
        if answer is None:
            return
        last = answer.output(b"", last=True)
        if outcome.error is not None:
            last += answer.detail(native(outcome.error))
        self._peer.write(last + answer.complete(outcome.exit_code))
