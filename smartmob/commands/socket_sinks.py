"""The replies to the calls of a WebSocket connection."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from smartmob.commands import protocol
from smartmob.commands.call import RunningJobs
from smartmob.commands.error_serialisation import serialise
from smartmob.commands.model import STDERR, STDOUT, Outcome
from smartmob.commands.protocol import Credit, Done, Emitted, Gap, Piece, ReceiveWindow, SendWindow, Started
from smartmob.errors import InvalidInput, SmartmobError, TooLarge
from smartmob.kernel.runtime.tasks import TaskRegistry

_ALWAYS_SMALL_CHARACTERS = 100_000
"""Texts below this length are sent without measuring their JSON, which is at most six times as long."""


class FrameQueue(Protocol):
    """The part of a connection that a sink needs: queueing frames."""

    def send(self, message: protocol.FromServer) -> None:
        """Queue a message; this never blocks."""

    def send_piece(self, kind: int, call_id: int, offset: int, data: bytes | memoryview) -> None:
        """Queue a binary frame; this never blocks."""

    async def flush(self) -> None:
        """Wait until all queued frames are written, at the pace of the client."""

    def forget(self, call_id: int) -> None:
        """Remove a call that has ended."""


class SocketInlineSink:
    """Sends the replies of a command that never waits, in one message."""

    def __init__(self, frames: FrameQueue, call_id: int) -> None:
        self._frames = frames
        self._id = call_id
        self._values: list[Any] = []

    def emit(self, value: object) -> None:
        self._values.append(_encodable(value))

    def finish(self, outcome: Outcome) -> None:
        self._frames.send(_done(self._id, outcome, self._values))


class SocketReplySink:
    """Sends the replies of one call, and receives the bytes that the client sends to it."""

    def __init__(self, frames: FrameQueue, call_id: int, jobs: RunningJobs, tasks: TaskRegistry) -> None:
        self.task: asyncio.Task[None] | None = None
        self._frames = frames
        self._id = call_id
        self._jobs = jobs
        self._tasks = tasks
        self._values: list[Any] = []
        self._emitted = 0
        self._output = SendWindow()
        self._credited = asyncio.Event()
        self._input = ReceiveWindow()
        self._input_changed = asyncio.Event()
        self._input_closed = False
        self._input_ended_by_client = False
        self._job: int | None = None
        self._forwarding: asyncio.Task[None] | None = None

    # -- from the client ----------------------------------------------------------------------------------------

    def receive_piece(self, piece: Piece) -> None:
        """Hold input for the command; raises InvalidInput when the client has ended it or sends another kind."""
        if piece.kind != protocol.INPUT or self._input_closed:
            raise InvalidInput("bytes arrived that no command expects")
        self._input.receive(piece)
        self._input_changed.set()
        self._forward()

    def end_input(self) -> None:
        """Record that the client has sent all input."""
        self._input_ended_by_client = True
        self._close_input()
        self._forward()

    def add_credit(self, credit: int) -> None:
        """Add credit in bytes, which the client has granted."""
        self._output.add(credit)
        self._credited.set()

    def cancel(self) -> None:
        """Cancel the call. A job goes on, and its input stays open."""
        self._close_input()
        if self.task is not None:
            self.task.cancel()

    # -- from the command ---------------------------------------------------------------------------------------

    def acknowledge(self, number: int, job: bool) -> None:
        if job:
            self._frames.send(Started(self._id, number, job))
            self._job = number
            if self._input.held or self._input_ended_by_client:
                self._forward()

    def emit(self, value: object) -> None:
        if isinstance(value, bytes | bytearray):
            self._send_values()
            self._frames.send_piece(protocol.VALUE, self._id, self._emitted, bytes(value))
        else:
            self._values.append(_encodable(value))
        self._emitted += 1

    async def drain(self) -> None:
        self._send_values()
        await self._frames.flush()

    async def send_output(self, offset: int, data: bytes | memoryview, stream: int = STDOUT) -> None:
        self._send_values()
        rest = memoryview(data)
        self._output.offset = offset
        kind = protocol.ERRORS if stream == STDERR else protocol.OUTPUT
        while rest:
            start = self._output.offset
            part = self._output.take(rest)
            if part:
                rest = rest[len(part) :]
                self._frames.send_piece(kind, self._id, start, part)
                await self._frames.flush()
            else:
                self._credited.clear()
                await self._credited.wait()

    def report_gap(self, first: int, last: int) -> None:
        self._frames.send(Gap(self._id, first, last))

    async def receive(self) -> bytes | None:
        while not self._input.held:
            if self._input_closed:
                return None
            self._input_changed.clear()
            await self._input_changed.wait()
        data = self._input.held.popleft()
        if credit := self._input.consume(len(data)):
            self._frames.send(Credit(self._id, credit))
        return data

    def finish(self, outcome: Outcome) -> None:
        values, self._values = self._values, []
        self._close_input()
        self._frames.forget(self._id)
        self._frames.send(_done(self._id, outcome, values))

    def _close_input(self) -> None:
        self._input_closed = True
        self._input_changed.set()

    def _send_values(self) -> None:
        if self._values:
            values, self._values = self._values, []
            self._frames.send(Emitted(self._id, values))

    def _forward(self) -> None:
        """Begin to forward input to the job. Most jobs get none, so this begins with the first input or its end."""
        if self._job is not None and self._forwarding is None:
            self._forwarding = self._tasks.start(f"job-{self._job}-forward", self._forward_input(self._job))

    async def _forward_input(self, number: int) -> None:
        """Write the bytes that the client sends to the input of a job."""
        job = self._jobs.find(number)
        controls = await job.controls() if job is not None else None
        if controls is None:
            return
        try:
            while (data := await self.receive()) is not None:
                await controls.write(data)
        except SmartmobError:
            return  # the job has closed its input; `finish` reports its end
        if self._input_ended_by_client:
            controls.end_input()


def _done(call_id: int, outcome: Outcome, values: list[Any]) -> Done:
    error = None if outcome.error is None else serialise(outcome.error)
    return Done(
        call_id,
        outcome.exit_code,
        values,
        error,
        outcome.state,
        outcome.end,
        outcome.signal,
        outcome.bad_parameter,
    )


def _encodable(value: object) -> object:
    """Return a message as a JSON value, or as a text if it is not one; raises TooLarge."""
    if type(value) is str and len(value) < _ALWAYS_SMALL_CHARACTERS:
        return value
    try:
        value = protocol.encode_value(value)
        size = len(protocol.encode(Emitted(0, [value])))
    except (TypeError, ValueError, RecursionError):
        return str(value)
    if size > protocol.LONGEST_TEXT_BYTES:
        raise TooLarge(f"a message of {size} bytes is too large to be sent in one piece")
    return value
