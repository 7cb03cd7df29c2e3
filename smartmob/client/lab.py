"""The client for asyncio: `async with connect(url) as lab: async for line in await lab.exec(...)`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from smartmob.client import messages, safe_paths, transfer
from smartmob.client.calls import RemoteCall, Taker
from smartmob.client.channel import Channel
from smartmob.client.failures import ClientError, ClientTimeout
from smartmob.client.messages import Backpressure, Lines, ServerMethod
from smartmob.client.trust import CAFile
from smartmob.commands.protocol import Done

_END = object()
_STREAMS = ("attach", "get", "put")
"""Commands whose bytes are not messages, so that a listener must take them."""


class Listener:
    """Listens to one command: `async for` gives its lines of output and its messages as they come.

    With `binary` output comes as bytes, in pieces of any size. Output that is not read is held back at the server; of
    very many messages that are not read some are left out, and an exception `LeftOut` in their place says how many.
    """

    def __init__(self, name: str, *, max_interval: float | None, binary: bool = False) -> None:
        self.name = name
        self.max_interval = max_interval
        self.number: int | None = None
        self.ended: Done | None = None
        self.error: BaseException | None = None
        self.gaps: list[tuple[int, int]] = []
        self.call: RemoteCall | None = None
        self._binary = binary
        self._lines: Lines | None = None
        self._held: deque[tuple[Any, int]] = deque()
        self._waiting = Backpressure()
        self.received_bytes = 0
        self._news = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def id(self) -> int:
        """Return the number of the command, which is the job's."""
        if self.number is None:
            raise AttributeError("the server has not taken the command yet")
        return self.number

    @property
    def done(self) -> bool:
        """Return whether the command has ended and everything was read."""
        return self.ended is not None and not self._held

    @property
    def exit_code(self) -> int | None:
        """Return how the command ended; None before."""
        return self.ended.exit_code if self.ended is not None else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        message = await self.next()
        if message is _END:
            raise StopAsyncIteration
        return message

    async def next(self) -> Any:
        """Return the next message; raises ClientTimeout when none comes within `max_interval`."""
        while not self._held:
            if self._failure is not None:
                raise self._failure
            if self.ended is not None:
                return _END
            self._news.clear()
            if self.max_interval is None:
                await self._news.wait()
                continue
            try:
                async with asyncio.timeout(self.max_interval):
                    await self._news.wait()
            except TimeoutError:
                raise ClientTimeout(f"the server said nothing for {self.max_interval:g} s") from None
        message, size = self._held.popleft()
        self.received_bytes += ~size if size < 0 else size
        if size < 0:
            self._waiting.read(message, ~size)
        elif size and self.call is not None:
            self.call.taken(size)
        return message

    async def taken_by_server(self) -> None:
        """Wait until the server has taken the command, or has sent a message of it."""
        while self.number is None and self.ended is None and self._failure is None and not self._held:
            self._news.clear()
            await self._news.wait()

    async def output(self, *, raise_error: bool = False) -> list[Any]:
        """Return all messages until the end; raises ClientError for more than LIMITS lets be gathered."""
        found = await self.gather()
        if raise_error and self.ended is not None:
            messages.raise_for(self.ended, self.error, found)
        return found

    async def gather(self, on_message: Callable[[Any], None] = lambda _: None) -> list[Any]:
        """Return all messages until the end, and call `on_message` with each as it comes.

        Raises ClientError, and listens no more, for more than LIMITS lets be gathered.
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
        """Send bytes to the command, as it takes them."""
        assert self.call is not None
        await self.call.write(data)

    def end_input(self) -> None:
        """Tell the command that no more bytes come."""
        assert self.call is not None
        self.call.end()

    def cancel(self) -> None:
        """Listen no more; a job goes on."""
        if self.call is not None:
            self.call.cancel()

    def taker(self) -> Taker:
        """Return who gets what the call tells."""
        return _Taker(self)

    # -- what the call tells ------------------------------------------------------------------------------------

    def started(self, number: int, job: bool) -> None:
        self.number = number
        self._news.set()

    def values(self, values: list[Any], size: int) -> None:
        held = self._waiting.add([messages.presented(value) for value in values], size)
        # Below zero is what a message has of a frame; credit is for output only.
        self._held += [(value, ~share) for value, share in held]
        self._news.set()

    def output_came(self, data: bytes) -> None:
        if self._binary:
            self._held.append((data, len(data)))
        else:
            self._lines = self._lines or Lines()
            lines = self._lines.add(data)
            self._held += [(line, 0) for line in lines[:-1]]
            if lines:
                self._held.append((lines[-1], len(data)))
            elif self.call is not None:
                self.call.taken(len(data))
        self._news.set()

    def gap(self, first: int, last: int) -> None:
        messages.add_gap(self.gaps, first, last)

    def finished(self, done: Done) -> None:
        if self._lines is not None:
            self._held += [(line, 0) for line in self._lines.end()]
        self.error = messages.error_of(done)
        if self.error is not None:
            self._held.append((self.error, 0))
        self.ended = done
        self._news.set()

    def failed(self, error: Exception) -> None:
        self._failure = error
        self._news.set()


class _Taker:
    """Passes what a call tells to a listener, whose own names are for those who use it."""

    def __init__(self, listener: Listener) -> None:
        self.started = listener.started
        self.values = listener.values
        self.gap = listener.gap
        self.done = listener.finished
        self.failed = listener.failed
        self._listener = listener

    def output(self, offset: int, data: bytes) -> None:
        self._listener.output_came(data)


class Lab:
    """A service's commands for asyncio: after `connect` each of them is a method.

    A background command returns its Listener as soon as the server has taken it, any other one the list of what it
    says; `complete=True` or `False` asks for the other.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca_file: CAFile = None,
        timeout: float | None = None,
        **options: float,
    ) -> None:
        self.channel = Channel(url, token, ca_file=ca_file, **options)
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        await self.connect(self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self, timeout: float | None = None) -> None:
        """Connect; raises NotConnected."""
        await self.channel.open(timeout)
        for name in self.channel.commands:
            self.__dict__.pop(name, None)  # made again when it is wanted; it may be another one now

    async def disconnect(self) -> None:
        """Leave the server for a while; jobs go on, and so do their listeners after the next `connect`."""
        await self.channel.disconnect()

    async def close(self) -> None:
        """Leave the server for good."""
        await self.channel.close()

    async def heartbeat(self, timeout: float | None = None) -> bool:
        """Return whether the server answers within `timeout` seconds."""
        return await self.channel.ping(timeout)

    def server_methods(self) -> list[ServerMethod]:
        """Return the names of the server's commands, with signatures and documentation."""
        return [ServerMethod(description) for description in self.channel.commands.values()]

    async def transfer(
        self, src: str | Path, dest: str, *, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Send a file to the server, checked by its SHA-256; return its size and digest.

        The folders of `dest` are made. A transfer that was cut off goes on where it ended when it is repeated.
        """
        return await transfer.upload(self, Path(src), dest, progress)

    async def fetch(
        self, src: str, dest: str | Path, *, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Get a file from the server, checked by its SHA-256; return its size and digest."""
        return await transfer.download(self, src, safe_paths.own(Path(dest)), progress)

    def start(
        self, name: str, *args: Any, max_interval: float | None = None, binary: bool = False, **kwargs: Any
    ) -> Listener:
        """Call a command and return its listener at once."""
        positional, named = messages.arguments(self.channel.commands.get(name), args, kwargs)
        listener = Listener(name, max_interval=max_interval, binary=binary)
        listener.call = self.channel.call(name, positional, named, listener.taker(), max_interval=max_interval)
        return listener

    async def _start_now(
        self, name: str, *args: Any, max_interval: float | None = None, binary: bool = False, **kwargs: Any
    ) -> Listener:
        positional, named = messages.arguments(self.channel.commands.get(name), args, kwargs)
        listener = Listener(name, max_interval=max_interval, binary=binary)
        taker = listener.taker()
        listener.call = await self.channel.call_now(name, positional, named, taker, max_interval=max_interval)
        return listener

    async def attach(
        self, job: int, offset: int = 0, *, max_interval: float | None = None, binary: bool = False
    ) -> Listener:
        """Listen to a job, wherever and whenever it was started, from a byte of its output on."""
        listener = self.start("attach", job, offset, hold=False, max_interval=max_interval, binary=binary)
        listener.number = job
        return listener

    async def run(
        self,
        name: str,
        *args: Any,
        timeout: float | None = None,
        complete: bool | None = None,
        echo_response: bool = False,
        raise_error: bool = False,
        **options: Any,
    ) -> Any:
        """Call a command; raises ClientTimeout when it takes longer than `timeout` seconds."""
        described = self.channel.commands.get(name)
        background = described is not None and described.background
        if complete is None:
            complete = not background
        plain = (
            timeout is None
            and not echo_response
            and name not in _STREAMS
            and (not options or not options.keys() & {"binary", "max_interval"})
        )
        if plain and complete and not background:
            return await self._ask(name, args, options, raise_error=raise_error)
        listener = await self._start_now(name, *args, **options)
        try:
            async with asyncio.timeout(timeout):
                if not complete:
                    await listener.taken_by_server()
                    return listener
                found = await (listener.gather(messages.echo) if echo_response else listener.gather())
        except TimeoutError:
            listener.cancel()
            raise ClientTimeout(f"{name} did not come to its end within {timeout:g} s") from None
        if raise_error and listener.ended is not None:
            messages.raise_for(listener.ended, listener.error, found)
        return found

    async def _ask(self, name: str, args: Any, kwargs: dict[str, Any], *, raise_error: bool) -> list[Any]:
        """Return all that a command says, where nobody wants any of it before the end."""
        positional, named = (
            messages.arguments(self.channel.commands.get(name), args, kwargs) if args or kwargs else ([], {})
        )
        question = await self.channel.ask(name, positional, named)
        try:
            ended = await question.ended
        except asyncio.CancelledError:
            question.cancel()
            raise
        found = question.found
        if ended.error is None and ended.exit_code == 0:
            return found
        error = messages.error_of(ended)
        if error is not None:
            found.append(error)
        if raise_error:
            messages.raise_for(ended, error, found)
        return found

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        channel = self.__dict__.get("channel")
        if name.startswith("_") or channel is None or name not in channel.commands:
            raise messages.unknown(name, bool(channel is not None and channel.commands))

        async def method(*args: Any, **kwargs: Any) -> Any:
            return await self.run(name, *args, **kwargs)

        description = channel.commands[name]
        method.__name__ = method.__qualname__ = name
        method.__doc__ = description.text
        vars(method)["__signature__"] = messages.signature(description)
        self.__dict__[name] = method
        return method


def connect(
    url: str, token: str | None = None, *, ca_file: CAFile = None, timeout: float | None = None, **options: float
) -> Lab:
    """Return the Lab of the service at `url`, to be used by `async with`."""
    return Lab(url, token, ca_file=ca_file, timeout=timeout, **options)
