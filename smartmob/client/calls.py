"""One command that the client has called: what the server says of it, in order, and the bytes both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol
from uuid import uuid4

from smartmob.client.failures import ClientError, NotConnected
from smartmob.commands import protocol
from smartmob.commands.protocol import Done, FromServer, Gap, Piece, ReceiveWindow, Says, SendWindow, Started
from smartmob.errors import InvalidInput

MOST_MESSAGES = 1_000_000
"""Most messages of a command that are kept until its end."""
MOST_BYTES = 256 * 1024 * 1024
"""Most bytes of frames of a command whose messages are kept until its end."""


class Taker(Protocol):
    """Who gets what is said. Its methods are called in the connection's loop."""

    def started(self, number: int, job: bool) -> None:
        """The server has taken the command."""

    def values(self, values: list[Any], size: int) -> None:
        """Messages, which came in a frame of `size` bytes."""

    def output(self, offset: int, data: bytes) -> None:
        """Bytes of a job's output or a file. `RemoteCall.taken` must be told when they are needed no more."""

    def gap(self, first: int, last: int) -> None:
        """The output in between is no longer kept."""

    def done(self, done: Done) -> None:
        """The command has ended; nothing more comes."""

    def failed(self, error: Exception) -> None:
        """It is not known how the command ended; nothing more comes."""


class Line(Protocol):
    """What a call needs of the connection."""

    def send(self, message: protocol.FromClient) -> None:
        """Send a message, in its turn; dropped while there is no connection."""

    def send_piece(self, kind: int, call_id: int, offset: int, data: bytes | memoryview) -> None:
        """Send bytes, in their turn; dropped while there is no connection."""

    async def flush(self) -> None:
        """Return when what was sent is on its way."""

    def forget(self, call_id: int) -> None:
        """Take note that a call is over."""

    def moved(self, cwd: str) -> None:
        """Take note of the connection's working directory, to ask for it again on the next connection."""


class RemoteCall:
    """A call. It survives the loss of the connection if it is a job: then it goes on where its output ended."""

    def __init__(
        self, line: Line, taker: Taker, name: str, args: list[Any], kwargs: dict[str, Any], *, resumable: bool
    ) -> None:
        self.id = 0
        self.number: int | None = None
        self.over = False
        self._line = line
        self._taker = taker
        self._name = name
        self._args = args
        self._kwargs = kwargs
        self._key = uuid4().hex if resumable else None
        self._last_text: str | None = None

    # Most commands say a line and end, so what streams of bytes need is made for those that have them.

    @cached_property
    def _in(self) -> ReceiveWindow:
        return ReceiveWindow()

    @cached_property
    def _out(self) -> SendWindow:
        return SendWindow()

    @cached_property
    def _credited(self) -> asyncio.Event:
        return asyncio.Event()

    # -- to the server ------------------------------------------------------------------------------------------

    def begin(self, call_id: int) -> None:
        """Ask for the command, or after the loss of a connection for the rest of it."""
        self.id = call_id
        if self.number is not None:
            offset = self._in.offset
            self._in = ReceiveWindow(offset)
            kwargs = {"job_num": self.number, "offset": offset, "hold": True}
            self._line.send(protocol.Call(call_id, "attach", [], kwargs))
        else:
            self._line.send(protocol.Call(call_id, self._name, self._args, self._kwargs, self._key))

    def taken(self, size: int) -> None:
        """Take note that so many bytes of output are needed no more."""
        credit = self._in.consume(size)
        if credit and not self.over:
            self._line.send(protocol.Credit(self.id, credit))

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes to the command, as it takes them; raises NotConnected when it takes none any more."""
        rest = memoryview(data)
        while rest:
            if self.over:
                raise NotConnected("the command has ended and takes no more")
            place = self._out.offset
            piece = self._out.take(rest)
            if piece:
                rest = rest[len(piece) :]
                self._line.send_piece(protocol.INPUT, self.id, place, piece)
                await self._line.flush()
            else:
                self._credited.clear()
                await self._credited.wait()

    def end(self) -> None:
        """Tell the command that no more bytes come."""
        if not self.over:
            self._line.send(protocol.End(self.id))

    def cancel(self) -> None:
        """Listen no more. A job goes on; any other command is given up."""
        if not self.over:
            self.over = True
            self._line.send(protocol.Cancel(self.id))
            self._line.forget(self.id)

    # -- from the server ----------------------------------------------------------------------------------------

    def receive(self, message: FromServer, size: int = 0) -> None:
        """Pass on a message about this call, of so many bytes."""
        if isinstance(message, Started):
            if message.job:
                self.number = message.number
            self._taker.started(message.number, message.job)
        elif isinstance(message, Says):
            self._values(message.values, size)
        elif isinstance(message, Gap):
            self._in.skip(message.last)
            self._taker.gap(message.first, message.last)
        elif isinstance(message, protocol.Credit):
            self._out.add(message.bytes)
            self._credited.set()
        elif isinstance(message, Done):
            if message.values:
                self._values(message.values, size)
            if self._name == "cd" and message.exit_code == 0 and self._last_text is not None:
                self._line.moved(self._last_text)
            self._finish(lambda: self._taker.done(message))

    def _values(self, values: list[Any], size: int) -> None:
        found = [protocol.decode_value(value) for value in values]
        if isinstance(found[-1], str):
            self._last_text = found[-1]
        self._taker.values(found, size)

    def receive_piece(self, piece: Piece) -> None:
        """Pass on bytes; raises InvalidInput for a gap or a repeat."""
        if piece.kind == protocol.VALUE:
            self._taker.values([piece.data], len(piece.data))
            return
        if self._in.offset == 0 and piece.offset and not self._in.held:
            self._in.skip(piece.offset)  # a file or an output that was asked for from there on
        self._in.receive(piece)
        self._in.held.clear()
        self._taker.output(piece.offset, piece.data)

    def refused(self, error: Exception) -> None:
        """Take note that the server did not take the call, or that its outcome will never be known."""
        self._finish(lambda: self._taker.failed(error))

    def lost(self) -> bool:
        """Take note that the connection is lost; return whether the call goes on with the next one."""
        if self.number is not None or self._key is not None:
            return True
        self.refused(broke(self._name))
        return False

    def _finish(self, tell: Callable[[], None]) -> None:
        if not self.over:
            self.over = True
            self._credited.set()
            self._line.forget(self.id)
            tell()


class Question:
    """A call of which nothing is wanted before its end: all its messages, then `ended`. It is not repeated."""

    __slots__ = ("_args", "_kwargs", "_line", "_name", "_size", "ended", "found", "id")

    def __init__(self, line: Line, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        self.id = 0
        self.found: list[Any] = []
        self.ended: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._line = line
        self._name = name
        self._args = args
        self._kwargs = kwargs
        self._size = 0

    def begin(self, call_id: int) -> None:
        """Ask for the command."""
        self.id = call_id
        self._line.send(protocol.Call(call_id, self._name, self._args, self._kwargs))

    def receive(self, message: FromServer, size: int = 0) -> None:
        """Gather what the command says, in frames of so many bytes."""
        values = message.values if isinstance(message, Done | Says) else []
        if values and not self._gathered([protocol.decode_value(value) for value in values], size):
            return
        if isinstance(message, Done):
            self._line.forget(self.id)
            if self._name == "cd" and message.exit_code == 0 and self.found:
                self._line.moved(self.found[-1])
            if not self.ended.done():
                self.ended.set_result(message)

    def receive_piece(self, piece: Piece) -> None:
        """Gather a message that is bytes; other bytes are not asked for, so there is no credit for more."""
        if piece.kind == protocol.VALUE:
            self._gathered([piece.data], len(piece.data))

    def _gathered(self, values: list[Any], size: int) -> bool:
        """Keep what was said; return False, after giving the command up, when that is too much."""
        self.found += values
        self._size += size
        if len(self.found) <= MOST_MESSAGES and self._size <= MOST_BYTES:
            return True
        self.found = []
        self.cancel()
        self.refused(ClientError(f"{self._name} said more than {MOST_MESSAGES} messages or {MOST_BYTES} bytes"))
        return False

    def cancel(self) -> None:
        """Give the command up."""
        self._line.send(protocol.Cancel(self.id))
        self._line.forget(self.id)

    def refused(self, error: Exception) -> None:
        """Take note that the outcome will never be known."""
        self._line.forget(self.id)
        if not self.ended.done():
            self.ended.set_exception(error)

    def lost(self) -> bool:
        """Take note that the connection is lost."""
        self.refused(broke(self._name))
        return False


def broke(name: str) -> NotConnected:
    """Return the error for a command that cannot be repeated."""
    return NotConnected(f"the connection broke while {name} ran; it may have been done or not")


def check_piece(content: bytes) -> Piece:
    """Return the piece in a frame of the server's; raises InvalidInput."""
    found = protocol.decode_piece(content)
    if found.kind == protocol.INPUT:
        raise InvalidInput("the server sent what only a client sends")
    return found
