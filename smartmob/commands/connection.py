"""One WebSocket connection of a client: it runs many commands at once."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from smartmob import __version__
from smartmob.commands import protocol
from smartmob.commands.error_serialisation import problem_name
from smartmob.commands.protocol import Call, Cancel, Credit, End, Hello, Ping, Pong, Refused
from smartmob.commands.service import CommandsService
from smartmob.commands.session import ClientSession
from smartmob.commands.socket_sinks import SocketInlineSink, SocketReplySink
from smartmob.errors import InvalidInput, SmartmobError
from smartmob.kernel.http import json_depth


class FrameWriter(Protocol):
    """The part of a WebSocket that a connection needs: writing frames."""

    async def write_text(self, content: bytes) -> None:
        """Write a text frame, and wait until more can be written."""

    async def write_binary(self, content: bytes) -> None:
        """Write a binary frame, and wait until more can be written."""


class Connection:
    """Handles the frames of one client. Frames are written in the order of their creation.

    `held_bytes` is the content of the frames that wait to be written.
    """

    def __init__(self, service: CommandsService, writer: FrameWriter, client: str) -> None:
        self.session: ClientSession = service.session(client)
        self.held_bytes = 0
        self._service = service
        self._writer = writer
        self._sinks: dict[int, SocketReplySink] = {}
        self._outgoing: deque[tuple[bool, bytes]] = deque()
        self._queued = asyncio.Event()
        self._broken = False
        self._handling_text = False
        self._sender = service.tasks.start("commands-sender", self._run_sender())

    # -- frames in ----------------------------------------------------------------------------------------------

    async def handle_text(self, content: str) -> None:
        """Handle a text frame."""
        # Replies that are ready at once are written here, which is faster than waking the sender.
        self._handling_text = True
        try:
            json_depth.check(content)
            message = protocol.decode_client_message(content)
            if isinstance(message, Call):
                self._start_call(message)
            else:
                self._handle(message)
        except InvalidInput as error:
            self._refuse(error, None)
        finally:
            self._handling_text = False
        if self._outgoing:
            await self.flush()

    async def handle_binary(self, content: bytes) -> None:
        """Handle a binary frame."""
        try:
            piece = protocol.decode_piece(content)
            sink = self._sinks.get(piece.id)
            if sink is not None:
                sink.receive_piece(piece)
        except InvalidInput as error:
            self._refuse(error, None)
            await self.flush()

    def close(self) -> None:
        """Cancel all calls after the client has disconnected; jobs go on."""
        self._broken = True
        self._sender.cancel()
        for sink in tuple(self._sinks.values()):
            sink.cancel()

    def _start_call(self, message: Call) -> None:
        if message.id in self._sinks or len(self._sinks) >= protocol.MOST_OPEN_CALLS:
            reason = "a call with this id is open" if message.id in self._sinks else "too many calls are open"
            self._refuse(InvalidInput(reason), message.id)
            return
        arguments = (message.args, message.kwargs)
        inline = SocketInlineSink(self, message.id)
        if self._service.calls.run_inline(self.session, message.name, arguments, inline):
            return
        sink = SocketReplySink(self, message.id, self._service.supervisor, self._service.tasks)
        self._sinks[message.id] = sink
        work = self._service.calls.run(self.session, message.name, arguments, sink, key=message.key)
        sink.task = self._service.tasks.start("command-call", work)

    def _handle(self, message: protocol.FromClient) -> None:
        if isinstance(message, Ping):
            self.send(Pong(message.n))
        elif isinstance(message, Hello):
            self._greet(message)
        elif isinstance(message, Credit | End | Cancel):
            sink = self._sinks.get(message.id)
            if sink is None:
                return  # the call has ended meanwhile
            if isinstance(message, Credit):
                sink.add_credit(message.bytes)
            elif isinstance(message, End):
                sink.end_input()
            else:
                sink.cancel()
                self.forget(message.id)

    def _greet(self, message: Hello) -> None:
        if message.client:
            self.session.client = f"{message.client} ({self.session.client})"
        if message.cwd is not None:
            path = self.session.path(message.cwd)
            if path.is_dir():
                self.session.cwd = path
        commands = self._service.registry.descriptions()
        self.send(protocol.Welcome(protocol.VERSION, f"smartmob {__version__}", commands))

    # -- frames out ---------------------------------------------------------------------------------------------

    def send(self, message: protocol.FromServer) -> None:
        """Queue a message; this never blocks."""
        self._enqueue(False, protocol.encode(message))

    def send_piece(self, kind: int, call_id: int, offset: int, data: bytes | memoryview) -> None:
        """Queue a binary frame; this never blocks."""
        self._enqueue(True, protocol.encode_piece(kind, call_id, offset, data))

    async def flush(self) -> None:
        """Wait until all queued frames are written, at the pace of the client."""
        while self._outgoing and not self._broken:
            # Several tasks may be at this point; each writes its frame before it waits, so the order is kept.
            binary, content = self._outgoing.popleft()
            self.held_bytes -= len(content)
            try:
                await (self._writer.write_binary(content) if binary else self._writer.write_text(content))
            except ConnectionError:
                self._broken = True

    def forget(self, call_id: int) -> None:
        """Remove a call that has ended."""
        self._sinks.pop(call_id, None)

    def _refuse(self, error: SmartmobError, call_id: int | None) -> None:
        self.send(Refused(problem_name(error), str(error), call_id))

    def _enqueue(self, binary: bool, content: bytes) -> None:
        if self._broken:
            return
        self._outgoing.append((binary, content))
        self.held_bytes += len(content)
        if not self._handling_text:
            self._queued.set()

    async def _run_sender(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            await self.flush()
