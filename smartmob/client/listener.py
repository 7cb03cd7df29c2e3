"""The listener of asyncio's client: the output and the messages of one command."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from smartmob.client import messages
from smartmob.client.calls import CallHandler, RemoteCall
from smartmob.client.failures import ClientError, ClientTimeout
from smartmob.client.messages import Backpressure, StreamLines
from smartmob.commands.protocol import QUIET_SECONDS, Done

_END = object()


class Listener:
    """A listener of one command: `async for` yields its lines of output and its messages as they arrive.

    With `binary`, output arrives as bytes, in pieces of any size. With `partial`, a line without its end, such as a
    prompt, arrives within 0.1 seconds, and the rest of it as a further text. A command that is called with `apart=True`
    sends standard error as StandardErrorText, or as StandardErrorBytes. The server holds back unread output. Messages
    that are not read are left out beyond LIMITS; an exception `LeftOut` in their place says how many.
    """

    def __init__(self, name: str, *, max_interval: float | None, binary: bool = False, partial: bool = False) -> None:
        self.name = name
        self.max_interval = max_interval
        self.number: int | None = None
        self.ended: Done | None = None
        self.error: BaseException | None = None
        self.gaps: list[tuple[int, int]] = []
        self.call: RemoteCall | None = None
        self._binary = binary
        self._partial = partial
        self._showing: asyncio.TimerHandle | None = None
        self._owed_bytes = 0  # received, but not yet in a message
        self._lines: StreamLines | None = None
        self._held: deque[tuple[Any, int]] = deque()
        self._waiting = Backpressure()
        self.received_bytes = 0
        self._arrived = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def id(self) -> int:
        """Return the number of the command, which is the job's."""
        if self.number is None:
            raise AttributeError("the server has not accepted the command yet")
        return self.number

    @property
    def done(self) -> bool:
        """Return whether the command has ended and everything was read."""
        return self.ended is not None and not self._held

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of the command; None before its end."""
        return self.ended.exit_code if self.ended is not None else None

    @property
    def signal(self) -> int | None:
        """Return the signal that ended the program of a job; None before the end and if there was none."""
        return self.ended.signal if self.ended is not None else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        message = await self.next()
        if message is _END:
            raise StopAsyncIteration
        return message

    async def next(self) -> Any:
        """Return the next message; raises ClientTimeout when none arrives within `max_interval` seconds."""
        while not self._held:
            if self._failure is not None:
                raise self._failure
            if self.ended is not None:
                return _END
            self._arrived.clear()
            if self.max_interval is None:
                await self._arrived.wait()
                continue
            try:
                async with asyncio.timeout(self.max_interval):
                    await self._arrived.wait()
            except TimeoutError:
                raise ClientTimeout(f"the server was silent for {self.max_interval:g} s") from None
        message, size = self._held.popleft()
        self.received_bytes += ~size if size < 0 else size
        if size < 0:
            self._waiting.read(message, ~size)
        elif size and self.call is not None:
            self.call.taken(size)
        return message

    async def accepted(self) -> None:
        """Wait until the server has accepted the command, or has sent a message of it."""
        while self.number is None and self.ended is None and self._failure is None and not self._held:
            self._arrived.clear()
            await self._arrived.wait()

    async def output(self, *, raise_error: bool = False) -> list[Any]:
        """Return all messages until the end; raises ClientError when they exceed LIMITS."""
        found = await self.gather()
        if raise_error and self.ended is not None:
            messages.raise_for(self.ended, self.error, found)
        return found

    async def gather(self, on_message: Callable[[Any], None] = lambda _: None) -> list[Any]:
        """Return all messages until the end, and call `on_message` with each as it arrives.

        Raises ClientError, and cancels, when they exceed LIMITS.
        """
        found: list[Any] = []
        while (message := await self.next()) is not _END:
            found.append(message)
            on_message(message)
            try:
                messages.check_gathered(self.name, len(found), self.received_bytes)
            except ClientError:
                self.cancel()
                raise
        return found

    async def write(self, data: bytes | memoryview) -> None:
        """Send bytes to the command within its credit."""
        assert self.call is not None
        await self.call.write(data)

    def end_input(self) -> None:
        """Send the end of the input."""
        assert self.call is not None
        self.call.end()

    def cancel(self) -> None:
        """Stop listening; a job continues."""
        if self.call is not None:
            self.call.cancel()

    def handler(self) -> CallHandler:
        """Return the callbacks of the call."""
        return _ListenerHandler(self)

    # -- callbacks of the call ------------------------------------------------------------------------------------

    def started(self, number: int, job: bool) -> None:
        self.number = number
        self._arrived.set()

    def values(self, values: list[Any], size: int) -> None:
        held = self._waiting.add([messages.presented(value) for value in values], size)
        # A negative size is the size of a message; credit is returned only for output.
        self._held += [(value, ~share) for value, share in held]
        self._arrived.set()

    def output_arrived(self, data: bytes) -> None:
        if self._binary:
            self._held.append((data, len(data)))
        else:
            self._lines = self._lines or StreamLines()
            self._owed_bytes += len(data)
            lines = self._lines.add(data)
            self._held += [(line, 0) for line in lines[:-1]]
            if lines:
                self._hold(lines[-1])
            if self._partial and self._lines.has_rest:
                self._show_soon()
            else:
                self._release()
        self._arrived.set()

    def _hold(self, text: str) -> None:
        """Hold a text for the reader, with the credit of all bytes that arrived up to its end."""
        self._held.append((text, self._owed_bytes))
        self._owed_bytes = 0

    def _release(self) -> None:
        """Return the credit of bytes that belong to no text."""
        if self._owed_bytes and self.call is not None:
            self.call.taken(self._owed_bytes)
        self._owed_bytes = 0

    def _show_soon(self) -> None:
        if self._showing is None:
            self._showing = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._show_rest)

    def _show_rest(self) -> None:
        """Hold the text of an incomplete line for the reader."""
        self._showing = None
        while self.ended is None and self._lines is not None and self._lines.has_rest:
            self._hold(self._lines.take_rest())
            self._arrived.set()

    def gap(self, first: int, last: int) -> None:
        messages.add_gap(self.gaps, first, last)

    def finished(self, done: Done) -> None:
        if self._lines is not None:
            self._held += [(line, 0) for line in self._lines.end()]
        self.error = messages.error_of(done)
        if self.error is not None:
            self._held.append((self.error, 0))
        self.ended = done
        self._arrived.set()

    def failed(self, error: Exception) -> None:
        self._failure = error
        self._arrived.set()


class _ListenerHandler:
    """The callbacks of a call, kept apart from the public methods of the listener."""

    def __init__(self, listener: Listener) -> None:
        self.started = listener.started
        self.values = listener.values
        self.gap = listener.gap
        self.done = listener.finished
        self.failed = listener.failed
        self._listener = listener

    def output(self, offset: int, data: bytes) -> None:
        self._listener.output_arrived(data)
