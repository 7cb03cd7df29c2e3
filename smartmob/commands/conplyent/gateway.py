"""The gateway for clients of conplyent: many at once, each with its own working directory, on a separate port.

A client that reconnects is in its former directory, because the directory of conplyent's server is kept. The wire has
neither authentication nor encryption, so the port is closed by default.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

from smartmob.commands.conplyent import protocol
from smartmob.commands.conplyent.decoder import InvalidPickle, UnsupportedValue
from smartmob.commands.conplyent.protocol import AnswerEncoder, CommandRequest, Heartbeat, Sync
from smartmob.commands.conplyent.zmtp import Wire, WireError
from smartmob.commands.error_serialisation import as_builtin
from smartmob.commands.model import STDOUT, Outcome
from smartmob.commands.protocol import QUIET_SECONDS
from smartmob.commands.service import CommandsService
from smartmob.commands.session import ClientSession
from smartmob.errors import StartupError
from smartmob.feature_settings import ConplyentSettings
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

_GREETING_SECONDS = 30.0
"""Seconds in which a client must have completed the handshake of ZMTP."""
_MOST_CONNECTIONS = 1_000
_MOST_WAITING_COUNT = 1_000
"""The number of waiting requests at which reading from a client is paused; it is resumed at half of it."""
_WRITE_BUFFER_BYTES = 1024 * 1024
"""The number of bytes waiting to be written at which commands must wait for the client."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_STREAM_COMMANDS = ("get", "put")
"""Commands that are not offered, because this wire has no messages for streams of bytes."""
_OUTPUT_COMMANDS = ("exec", "attach")
"""Commands that send the output of a job, and accept the option `partial` of this wire."""


class ConplyentGateway:
    """The listening socket and its clients. The service must be started before it and closed after it."""

    def __init__(
        self,
        service: CommandsService,
        settings: ConplyentSettings,
        tasks: TaskRegistry,
        *,
        greeting_seconds: float = _GREETING_SECONDS,
        most_connections: int = _MOST_CONNECTIONS,
        most_waiting: int = _MOST_WAITING_COUNT,
    ) -> None:
        self.service = service
        self.tasks = tasks
        self.most_message_bytes = settings.max_message
        self.greeting_seconds = greeting_seconds
        self.most_connections = most_connections
        self.most_waiting = most_waiting
        self.peers: set[_ConplyentClient] = set()
        self._folders: dict[str, Path] = {}
        self._settings = settings
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Return the port of the listening socket, 0 while there is none."""
        return self._server.sockets[0].getsockname()[1] if self._server is not None else 0

    async def start(self) -> None:
        """Listen, if a port is set; raises StartupError."""
        host, port = self._settings.host, self._settings.port
        if port is None:
            return
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: _ConplyentClient(self), host, port)
        except OSError as error:
            raise StartupError(f"--conplyent-port: cannot listen on {host} port {port}: {error.strerror}") from None
        log.info("bind", transport="conplyent", host=host, port=self.port)
        if host not in _LOOPBACK:
            hint = "everyone who reaches this port can run commands: there is no authentication"
            log.warning("conplyent.exposed", host=host, hint=hint)

    def close(self) -> None:
        """Stop listening, and disconnect all clients."""
        if self._server is not None:
            self._server.close()
            for peer in tuple(self.peers):
                peer.disconnect()
            self._server = None

    def session(self, host: str, client: str) -> ClientSession:
        """Return the session of a client; it begins where the last one from its host was, as on conplyent's server."""
        session = self.service.session(client)
        folder = self._folders.get(host)
        if folder is not None and folder.is_dir():
            session.cwd = folder
        return session

    def keep(self, host: str, session: ClientSession) -> None:
        """Keep the working directory of a client that has disconnected for the next one from its host."""
        self._folders.pop(host, None)
        self._folders[host] = session.cwd
        while len(self._folders) > self.most_connections:
            del self._folders[next(iter(self._folders))]

    def names(self) -> list[str]:
        """Return the names of the commands that conplyent's client offers as methods."""
        return [name for name in self.service.registry.names() if name not in _STREAM_COMMANDS]


class _ConplyentClient(asyncio.Protocol):
    """One client. Its commands are started in the order of their arrival, as by conplyent's server.

    A command that is not a job must end before the next one is started; jobs run side by side.
    """

    def __init__(self, gateway: ConplyentGateway) -> None:
        self._gateway = gateway
        self._wire = Wire(gateway.most_message_bytes)
        self._waiting: deque[CommandRequest | Exception] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._client = self._host = "?"
        self._session: ClientSession | None = None
        self.transport: Any = None

    # -- the connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._host, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        self._client = f"conplyent {self._host}:{port}"
        most = self._gateway.most_connections
        if len(self._gateway.peers) >= most:
            log.warning("conplyent.refused", client=self._client, reason=f"{most} clients are connected")
            transport.abort()
            return
        self._gateway.peers.add(self)
        transport.set_write_buffer_limits(_WRITE_BUFFER_BYTES)
        transport.write(self._wire.to_send())
        self._session = self._gateway.session(self._host, self._client)
        asyncio.get_running_loop().call_later(self._gateway.greeting_seconds, self._check_greeted)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._wire.receive(data)
        except WireError as error:
            log.warning("conplyent.refused", client=self._client, reason=str(error))
            self.transport.abort()
            return
        if answer := self._wire.to_send():
            self.transport.write(answer)
        for message in messages:
            self._handle(message)

    def connection_lost(self, _: Exception | None) -> None:
        self._gateway.peers.discard(self)
        if self._session is not None:
            self._gateway.keep(self._host, self._session)
        self._writable.set()
        for task in tuple(self._tasks):
            task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def disconnect(self) -> None:
        """Close the connection after all queued bytes are sent."""
        self.transport.close()

    def _check_greeted(self) -> None:
        if not self._wire.ready and not self.transport.is_closing():
            log.warning("conplyent.refused", client=self._client, reason="no greeting came in time")
            self.transport.abort()

    # -- messages -----------------------------------------------------------------------------------------------

    def _handle(self, data: bytes) -> None:
        try:
            message = protocol.parse(data)
        except InvalidPickle as error:
            log.warning("conplyent.refused", client=self._client, reason=str(error))
            if isinstance(error, UnsupportedValue):
                # An honest client has passed a value that is not accepted, and waits for an answer.
                self._enqueue(error)
            else:
                self.transport.abort()
            return
        if isinstance(message, Heartbeat):
            self.write(protocol.HEARTBEAT_ANSWER)
        elif isinstance(message, Sync):
            self.write(protocol.sync(self._gateway.names()))
        elif isinstance(message, CommandRequest):
            self._enqueue(message)

    def _enqueue(self, item: CommandRequest | Exception) -> None:
        self._waiting.append(item)
        if len(self._waiting) >= self._gateway.most_waiting:
            self.transport.pause_reading()
        if self._worker is None:
            self._worker = self._start("conplyent-commands", self._run_in_order())

    def _start(self, name: str, work: Any) -> asyncio.Task[None]:
        task = self._gateway.tasks.start(name, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_in_order(self) -> None:
        while self._waiting:
            item = self._waiting.popleft()
            if len(self._waiting) == self._gateway.most_waiting // 2 and not self.transport.is_closing():
                self.transport.resume_reading()
            sink = _ConplyentSink(self, item)
            if isinstance(item, Exception):
                await self._gateway.service.calls.refuse(sink, item)
                continue
            self._start("conplyent-command", self._call(item, sink))
            await sink.next_may_start.wait()
        self._worker = None

    async def _call(self, command: CommandRequest, sink: _ConplyentSink) -> None:
        assert self._session is not None
        try:
            kwargs = {name: value for name, value in command.kwargs.items() if not sink.partial or name != "partial"}
            arguments = (command.args, kwargs)
            await self._gateway.service.calls.run(self._session, command.name, arguments, sink, native=True)
        finally:
            sink.next_may_start.set()

    def write(self, data: bytes) -> None:
        """Write frames; this never blocks."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has received enough for more to be written."""
        await self._writable.wait()


class _ConplyentSink:
    """Sends the answer to one command. `next_may_start` is set when the client's next command may start.

    With `partial`, which the client requests by an argument of this name, a line without its end, such as a prompt, is
    sent within 0.1 seconds, and the rest of it in a further message. Without it only whole lines are sent.
    """

    def __init__(self, peer: _ConplyentClient, item: CommandRequest | Exception) -> None:
        self.next_may_start = asyncio.Event()
        self._peer = peer
        self._item = item
        self._encoder: AnswerEncoder | None = None
        self._showing: asyncio.TimerHandle | None = None
        self.partial = (
            isinstance(item, CommandRequest) and item.name in _OUTPUT_COMMANDS and item.kwargs.get("partial") is True
        )

    def acknowledge(self, number: int, job: bool) -> None:
        self._encoder = AnswerEncoder(number)
        item = self._item
        echo = protocol.echo(item.name, item.args, item.kwargs) if isinstance(item, CommandRequest) else "?"
        self._peer.write(self._encoder.acknowledge() + self._encoder.detail(echo))
        if job or (isinstance(item, CommandRequest) and item.name == "attach"):
            self.next_may_start.set()

    def emit(self, value: object) -> None:
        if self._encoder is not None:
            self._peer.write(self._encoder.detail(value))

    async def drain(self) -> None:
        await self._peer.drain()

    async def send_output(self, offset: int, data: bytes | memoryview, stream: int = STDOUT) -> None:
        if self._encoder is not None:
            self._peer.write(self._encoder.output(bytes(data)))
            if self.partial and self._showing is None:
                self._showing = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._show_rest)
        await self._peer.drain()

    def _show_rest(self) -> None:
        self._showing = None
        if self._encoder is not None:
            self._peer.write(self._encoder.rest())

    def report_gap(self, first: int, last: int) -> None:
        self.emit(f"... {last - first} bytes of output are no longer kept ...\n")

    async def receive(self) -> bytes | None:
        return None

    def finish(self, outcome: Outcome) -> None:
        encoder = self._encoder
        if self._showing is not None:
            self._showing.cancel()
        if encoder is None:
            return
        frames = encoder.output(b"", last=True)
        if outcome.error is not None:
            frames += encoder.detail(as_builtin(outcome.error))
        self._peer.write(frames + encoder.complete(outcome.exit_code))
