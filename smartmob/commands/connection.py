"""One WebSocket connection of a client: many commands at once, each with its own flow of bytes both ways."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

import structlog

from smartmob import __version__
from smartmob.commands import protocol
from smartmob.commands.call import ClientSession
from smartmob.commands.error_serialisation import name_of, travelling
from smartmob.commands.model import Outcome
from smartmob.commands.protocol import Call as CallMessage
from smartmob.commands.protocol import Cancel, Credit, Done, End, Gap, Hello, Ping, Pong, ReceiveWindow, Refused, Says
from smartmob.commands.service import CommandsService
from smartmob.errors import InvalidInput, SmartmobError, TooLarge
from smartmob.kernel.http import json_depth

log = structlog.get_logger()

_SURELY_SMALL = 100_000


class Wire(Protocol):
    """What a connection needs of the WebSocket: frames out."""

    async def send_text(self, content: bytes) -> None:
        """Send a text frame; returns when there is room for more."""

    async def send_binary(self, content: bytes) -> None:
        """Send a binary frame; returns when there is room for more."""


class Connection:
    """Handles the frames of one client. Frames go out in the order in which they are made."""

    def __init__(self, service: CommandsService, wire: Wire, client: str) -> None:
        self.service = service
        self.session: ClientSession = service.session(client)
        self._wire = wire
        self._calls: dict[int, _SocketSink] = {}
        self._outgoing: deque[tuple[bool, bytes]] = deque()
        self._held = 0
        self._news = asyncio.Event()
        self._broken = False
        self._held_back = False
        self._sender = service.tasks.start("commands-sender", self._send_for_ever())

    # -- frames in ----------------------------------------------------------------------------------------------

    async def text(self, content: str) -> None:
        """Handle a text frame."""
        # What is said at once goes out from here, which is quicker than to wake the sender.
        self._held_back = True
        try:
            json_depth.check(content)
            message = protocol.decode_client_message(content)
            if isinstance(message, CallMessage):
                self._begin(message)
            else:
                self._tell(message)
        except InvalidInput as error:
            self.refuse(error, None)
        finally:
            self._held_back = False
        if self._outgoing:
            await self.flush()

    async def binary(self, content: bytes) -> None:
        """Handle a binary frame."""
        try:
            found = protocol.decode_piece(content)
            sink = self._calls.get(found.id)
            if sink is not None:
                sink.take(found)
        except InvalidInput as error:
            self.refuse(error, None)
            await self.flush()

    def close(self) -> None:
        """Leave the commands that go on; the client is gone."""
        self._broken = True
        self._sender.cancel()
        for sink in tuple(self._calls.values()):
            sink.cancel()

    def _begin(self, message: CallMessage) -> None:
        if message.id in self._calls or len(self._calls) >= protocol.MOST_OPEN_CALLS:
            said = "a call with this id is open" if message.id in self._calls else "too many calls are open"
            self.refuse(InvalidInput(said), message.id)
            return
        arguments = (message.args, message.kwargs)
        if self.service.call_inline(self.session, message.name, arguments, _InlineSink(self, message.id)):
            return
        sink = _SocketSink(self, message.id)
        self._calls[message.id] = sink
        work = self.service.call(self.session, message.name, arguments, sink, key=message.key)
        sink.task = self.service.tasks.start("command-call", work)

    def _tell(self, message: protocol.FromClient) -> None:
        if isinstance(message, Ping):
            self.send(Pong(message.n))
        elif isinstance(message, Hello):
            self._greet(message)
        elif isinstance(message, Credit | End | Cancel):
            sink = self._calls.get(message.id)
            if sink is None:
                return  # it has ended meanwhile
            if isinstance(message, Credit):
                sink.give(message.bytes)
            elif isinstance(message, End):
                sink.end()
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
        self.send(protocol.Welcome(protocol.VERSION, f"smartmob {__version__}", self.service.describe()))

    # -- frames out ---------------------------------------------------------------------------------------------

    def refuse(self, error: SmartmobError, call_id: int | None) -> None:
        """Tell the client that a message was not taken."""
        self.send(Refused(name_of(error), str(error), call_id))

    def send(self, message: protocol.FromServer) -> None:
        """Send a message, in its turn."""
        self._enqueue(False, protocol.encode(message))

    def send_piece(self, kind: int, call_id: int, offset: int, data: bytes | memoryview) -> None:
        """Send bytes, in their turn."""
        self._enqueue(True, protocol.encode_piece(kind, call_id, offset, data))

    def _enqueue(self, binary: bool, content: bytes) -> None:
        if self._broken:
            return
        self._outgoing.append((binary, content))
        self._held += len(content)
        if not self._held_back:
            self._news.set()

    async def flush(self) -> None:
        """Return when all that was sent so far is on its way, at the client's speed."""
        while self._outgoing and not self._broken:
            # A frame is written before anything is waited for, so several tasks may be here and the order is kept.
            binary, content = self._outgoing.popleft()
            self._held -= len(content)
            try:
                await (self._wire.send_binary(content) if binary else self._wire.send_text(content))
            except ConnectionError:
                self._broken = True

    def forget(self, call_id: int) -> None:
        """Take note that a call is over."""
        self._calls.pop(call_id, None)

    async def _send_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.flush()


class _InlineSink:
    """The client's end of a command that is answered at once, by one message."""

    def __init__(self, connection: Connection, call_id: int) -> None:
        self._connection = connection
        self._id = call_id
        self._values: list[Any] = []

    def say(self, value: object) -> None:
        self._values.append(_encodable(value))

    def done(self, outcome: Outcome) -> None:
        error = None if outcome.error is None else travelling(outcome.error)
        self._connection.send(Done(self._id, outcome.exit_code, self._values, error))


class _SocketSink:
    """The client's end of one call."""

    def __init__(self, connection: Connection, call_id: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._id = call_id
        self._out = protocol.SendWindow()
        self._in = ReceiveWindow()
        self._values: list[Any] = []
        self._said = 0
        self._credited = asyncio.Event()
        self._came = asyncio.Event()
        self._ended = False
        self._asked_to_end = False

    # -- from the client ----------------------------------------------------------------------------------------

    def take(self, found: protocol.Piece) -> None:
        """Hold input for the command."""
        if found.kind != protocol.INPUT or self._ended:
            raise InvalidInput("bytes came that no command expects")
        self._in.receive(found)
        self._came.set()

    def end(self) -> None:
        """Take note that the client has sent all input."""
        self._asked_to_end = True
        self._stop_receiving()

    def give(self, credit: int) -> None:
        """Take note that the client has room for more."""
        self._out.add(credit)
        self._credited.set()

    def cancel(self) -> None:
        """Stop; a job goes on by itself, and its input stays open."""
        self._stop_receiving()
        if self.task is not None:
            self.task.cancel()

    # -- from the command ---------------------------------------------------------------------------------------

    def acknowledge(self, number: int, job: bool) -> None:
        if job:
            self._connection.send(protocol.Started(self._id, number, job))
            self._connection.service.tasks.start(f"job-{number}-forward", self._forward(number))

    def say(self, value: object) -> None:
        if isinstance(value, bytes | bytearray):
            self._speak()
            self._connection.send_piece(protocol.VALUE, self._id, self._said, bytes(value))
        else:
            self._values.append(_encodable(value))
        self._said += 1

    async def room(self) -> None:
        self._speak()
        await self._connection.flush()

    async def output(self, offset: int, data: bytes | memoryview) -> None:
        self._speak()
        rest = memoryview(data)
        self._out.offset = offset
        while rest:
            place = self._out.offset
            sent = self._out.take(rest)
            if sent:
                rest = rest[len(sent) :]
                self._connection.send_piece(protocol.OUTPUT, self._id, place, sent)
                await self._connection.flush()
            else:
                self._credited.clear()
                await self._credited.wait()

    def gap(self, first: int, last: int) -> None:
        self._connection.send(Gap(self._id, first, last))

    async def receive(self) -> bytes | None:
        while not self._in.held:
            if self._ended:
                return None
            self._came.clear()
            await self._came.wait()
        data = self._in.held.popleft()
        if credit := self._in.consume(len(data)):
            self._connection.send(Credit(self._id, credit))
        return data

    def done(self, outcome: Outcome) -> None:
        error = None if outcome.error is None else travelling(outcome.error)
        values, self._values = self._values, []
        self._stop_receiving()
        self._connection.forget(self._id)
        self._connection.send(Done(self._id, outcome.exit_code, values, error, outcome.state, outcome.end))

    def _stop_receiving(self) -> None:
        self._ended = True
        self._came.set()

    def _speak(self) -> None:
        if self._values:
            values, self._values = self._values, []
            self._connection.send(Says(self._id, values))

    async def _forward(self, number: int) -> None:
        """Give a job what the client sends as its input."""
        job = self._connection.service.supervisor.find(number)
        controls = await job.controls() if job is not None else None
        if controls is None:
            return
        try:
            while (data := await self.receive()) is not None:
                await controls.write(data)
        except SmartmobError:
            return  # it takes no more input; its end is told by `done`
        if self._asked_to_end:
            controls.end_input()


def _encodable(value: object) -> object:
    if type(value) is str and len(value) < _SURELY_SMALL:
        return value
    try:
        value = protocol.encode_value(value)
        size = len(protocol.encode(Says(0, [value])))
    except (TypeError, ValueError, RecursionError):
        return str(value)
    if size > protocol.LONGEST_TEXT_BYTES:
        raise TooLarge(f"a message of {size} bytes is too large to be sent in one piece")
    return value
