"""One call of a command: its messages in order, and its bytes in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol
from uuid import uuid4

from smartmob.client import messages
from smartmob.client.failures import ClientError, NotConnected
from smartmob.commands import protocol
from smartmob.commands.protocol import Done, Emitted, FromServer, Gap, Piece, ReceiveWindow, SendWindow, Started
from smartmob.errors import InvalidInput


class CallHandler(Protocol):
    """Callbacks for the messages of the server about a call, called in the event loop of the connection."""

    def started(self, number: int, job: bool) -> None:
        """Called when the server has accepted the command."""

    def values(self, values: list[Any], size: int) -> None:
        """Called with messages that arrived in a frame of `size` bytes."""

    def output(self, offset: int, data: bytes) -> None:
        """Called with bytes of an output or a file. Call `RemoteCall.taken` when they have been used.

        Those of standard error are StandardErrorBytes.
        """

    def gap(self, first: int, last: int) -> None:
        """Called when the server no longer keeps the output from byte `first` to byte `last`."""

    def done(self, done: Done) -> None:
        """Called at the end of the command; no other call follows."""

    def failed(self, error: Exception) -> None:
        """Called when the outcome of the command cannot be known; no other call follows."""


class CallTransport(Protocol):
    """The methods of a connection that a call needs."""

    def send(self, message: protocol.FromClient) -> None:
        """Queue a message to send; it is dropped while there is no connection."""

    def send_piece(self, kind: int, call_id: int, offset: int, data: bytes | memoryview) -> None:
        """Queue bytes to send; they are dropped while there is no connection."""

    async def flush(self) -> None:
        """Wait until all queued messages are written to the connection."""

    def forget(self, call_id: int) -> None:
        """Remove a call that is over."""

    def moved(self, cwd: str) -> None:
        """Store the working directory, which the next connection begins with."""


class RemoteCall:
    """A call whose messages are passed on as they arrive.

    A job survives the loss of the connection: the next connection continues where its output ended.
    """

    def __init__(
        self,
        transport: CallTransport,
        handler: CallHandler,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        resumable: bool,
    ) -> None:
        self.id = 0
        self.number: int | None = None
        self.over = False
        self._transport = transport
        self._handler = handler
        self.name = name
        self._args = args
        self._kwargs = kwargs
        self._key = uuid4().hex if resumable else None
        self._last_text: str | None = None

    # Most commands send one message and end, so the state of byte streams is created only when it is used.

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
        """Send the call; after the loss of a connection, ask for the rest of the job's output."""
        self.id = call_id
        if self.number is not None:
            offset = self._in.offset
            self._in = ReceiveWindow(offset)
            kwargs = {"job_num": self.number, "offset": offset, "hold": True}
            kwargs |= {"apart": True} if self._kwargs.get("apart") else {}
            self._transport.send(protocol.Call(call_id, "attach", [], kwargs))
        else:
            self._transport.send(protocol.Call(call_id, self.name, self._args, self._kwargs, self._key))

    def taken(self, size: int) -> None:
        """Report that `size` bytes of output have been used, so that the server may send more."""
        credit = self._in.consume(size)
        if credit and not self.over:
            self._transport.send(protocol.Credit(self.id, credit))

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes to the command within its credit; raises NotConnected when the command has ended."""
        rest = memoryview(data)
        while rest:
            if self.over:
                raise NotConnected("the command has ended and reads no more input")
            offset = self._out.offset
            piece = self._out.take(rest)
            if piece:
                rest = rest[len(piece) :]
                self._transport.send_piece(protocol.INPUT, self.id, offset, piece)
                await self._transport.flush()
            else:
                self._credited.clear()
                await self._credited.wait()

    def end(self) -> None:
        """Send the end of the input."""
        if not self.over:
            self._transport.send(protocol.End(self.id))

    def cancel(self) -> None:
        """Stop listening. A job continues on the server; any other command is cancelled."""
        if not self.over:
            self.over = True
            self._transport.send(protocol.Cancel(self.id))
            self._transport.forget(self.id)

    # -- from the server ----------------------------------------------------------------------------------------

    def _receive_done(self, message: Done, size: int) -> None:
        if message.values:
            self._values(message.values, size)
        if self.name == "cd" and message.exit_code == 0 and self._last_text is not None:
            self._transport.moved(self._last_text)
        self._finish(lambda: self._handler.done(message))

    def receive(self, message: FromServer, size: int = 0) -> None:
        """Pass on a message about this call, from a frame of `size` bytes."""
        if isinstance(message, Started):
            if message.job:
                self.number = message.number
            self._handler.started(message.number, message.job)
        elif isinstance(message, Emitted):
            self._values(message.values, size)
        elif isinstance(message, Gap):
            self._in.skip(message.last)
            self._handler.gap(message.first, message.last)
        elif isinstance(message, protocol.Credit):
            self._out.add(message.bytes)
            self._credited.set()
        elif isinstance(message, Done):
            self._receive_done(message, size)

    def _values(self, values: list[Any], size: int) -> None:
        found = [protocol.decode_value(value) for value in values]
        if isinstance(found[-1], str):
            self._last_text = found[-1]
        self._handler.values(found, size)

    def receive_piece(self, piece: Piece) -> None:
        """Pass on bytes; raises InvalidInput when bytes are missing or repeated."""
        if piece.kind == protocol.VALUE:
            self._handler.values([piece.data], len(piece.data))
            return
        if self._in.offset == 0 and piece.offset and not self._in.held:
            self._in.skip(piece.offset)  # the call asked for a file or an output from this byte on
        self._in.receive(piece)
        self._in.held.clear()
        errors = piece.kind == protocol.ERRORS
        self._handler.output(piece.offset, messages.StandardErrorBytes(piece.data) if errors else piece.data)

    def refused(self, error: Exception) -> None:
        """End the call because the server refused it, or because its outcome cannot be known."""
        self._finish(lambda: self._handler.failed(error))

    def lost(self) -> bool:
        """Return whether the call continues on the next connection, now that this one is lost; if not, end it."""
        if self.number is not None or self._key is not None:
            return True
        self.refused(broke(self.name))
        return False

    def _finish(self, report: Callable[[], None]) -> None:
        if not self.over:
            self.over = True
            self._credited.set()
            self._transport.forget(self.id)
            report()


class GatheringCall:
    """A call whose messages are gathered in `found` until `ended`. It is not repeated on another connection."""

    __slots__ = ("_args", "_kwargs", "_size", "_transport", "ended", "found", "id", "name")

    def __init__(self, transport: CallTransport, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
        self.id = 0
        self.found: list[Any] = []
        self.ended: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self.name = name
        self._args = args
        self._kwargs = kwargs
        self._size = 0

    def begin(self, call_id: int) -> None:
        """Send the call."""
        self.id = call_id
        self._transport.send(protocol.Call(call_id, self.name, self._args, self._kwargs))

    def receive(self, message: FromServer, size: int = 0) -> None:
        """Gather the messages of a frame of `size` bytes."""
        values = message.values if isinstance(message, Done | Emitted) else []
        if values and not self._gathered([protocol.decode_value(value) for value in values], size):
            return
        if isinstance(message, Done):
            self._transport.forget(self.id)
            if self.name == "cd" and message.exit_code == 0 and self.found:
                self._transport.moved(self.found[-1])
            if not self.ended.done():
                self.ended.set_result(message)

    def receive_piece(self, piece: Piece) -> None:
        """Gather a message that is bytes. Other bytes are ignored and get no credit, since this call asks for none."""
        if piece.kind == protocol.VALUE:
            self._gathered([piece.data], len(piece.data))

    def _gathered(self, values: list[Any], size: int) -> bool:
        """Add messages; return False, after cancelling the call, when they exceed LIMITS."""
        self.found += values
        self._size += size
        try:
            messages.check_gathered(self.name, len(self.found), self._size)
        except ClientError as error:
            self.found = []
            self.cancel()
            self.refused(error)
            return False
        return True

    def cancel(self) -> None:
        """Cancel the command."""
        self._transport.send(protocol.Cancel(self.id))
        self._transport.forget(self.id)

    def refused(self, error: Exception) -> None:
        """End the call because its outcome cannot be known."""
        self._transport.forget(self.id)
        if not self.ended.done():
            self.ended.set_exception(error)

    def lost(self) -> bool:
        """End the call, and return False: it does not continue on the next connection."""
        self.refused(broke(self.name))
        return False


def broke(name: str) -> NotConnected:
    """Return the error for a command whose connection broke, and which cannot be repeated."""
    return NotConnected(f"the connection was lost while {name} ran; it may or may not have been done")


def check_piece(content: bytes) -> Piece:
    """Return the bytes in a frame that the server sent; raises InvalidInput."""
    found = protocol.decode_piece(content)
    if found.kind == protocol.INPUT:
        raise InvalidInput("the server sent a message that only clients send")
    return found
