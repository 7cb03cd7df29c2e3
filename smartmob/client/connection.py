"""The client for Python without asyncio: the API of conplyent's client, over the WebSocket of a service.

One thread with an event loop serves all connections of the process. The methods here pass work to that loop and wait,
so any thread may call them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from smartmob.client import messages
from smartmob.client.calls import RemoteCall
from smartmob.client.command_client import CommandClient
from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
from smartmob.client.messages import Backpressure, ServerMethod, StreamLines
from smartmob.client.tls_trust import CAFile
from smartmob.commands.protocol import QUIET_SECONDS, Done

DEFAULT_PORT = 8080

T = TypeVar("T")


class _Background:
    """The event loop of all connections, in its own thread, which starts with the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = _new_loop()
                threading.Thread(target=self._loop.run_forever, name="smartmob-client", daemon=True).start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the event loop, and return its result."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop where it is installed: round trips take a third less time."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


background = _Background()
_pool: dict[int, ClientConnection] = {}


class ConnectionListener:
    """A listener of one command. The server holds back unread output, so none is lost.

    With `partial`, a line without its end, such as a prompt, is returned within 0.1 seconds, and the rest of it as a
    further text. Messages that are not read are left out beyond LIMITS; an exception `LeftOut` in their place says how
    many.
    """

    def __init__(self, name: str, max_interval: float | None, *, partial: bool = False) -> None:
        self.name = name
        self._partial = partial
        self._max_interval = max_interval
        self._arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._lines = StreamLines()
        self._waiting = Backpressure()
        self._held: deque[Any] = deque()
        self._ended: Done | None = None
        self._done = False
        self._number: int | None = None
        self._error: BaseException | None = None
        self._call: RemoteCall | None = None
        self.received_bytes = 0
        self.gaps: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening; a job continues."""
        if not self._done and self._call is not None:
            background.loop.call_soon_threadsafe(self._call.cancel)

    @property
    def id(self) -> int | None:
        """Return the number of the command, by which every client can refer to a job."""
        return self._number

    @property
    def done(self) -> bool:
        """Return whether the command has ended and everything was read."""
        return self._done

    @property
    def exit_code(self) -> int | None:
        """Return the exit code: 0 good, 1 error, -1 bad parameter, or that of a program; None before the end."""
        return self._ended.exit_code if self._done and self._ended is not None else None

    @property
    def signal(self) -> int | None:
        """Return the signal that ended the program of a job; None before the end and if there was none."""
        return self._ended.signal if self._done and self._ended is not None else None

    @property
    def max_interval(self) -> float | None:
        """Return the seconds for which `next` waits for a message; None means without a limit."""
        return self._max_interval

    @max_interval.setter
    def max_interval(self, value: float | None) -> None:
        if value is not None and not value > 0:
            raise ValueError("max_interval must be None or a number of seconds above 0")
        self._max_interval = value

    @property
    def error(self) -> BaseException | None:
        """Return the exception that the command raised, or None."""
        return self._error

    def next(self) -> Any:
        """Return the next message, or None when the command has ended.

        Raises ClientTimeout when no message arrives within `max_interval` seconds, NotConnected when the connection is
        lost and cannot be restored.
        """
        while not self._held:
            if self._done:
                return None
            if self._partial and self._lines.has_rest:
                self._wait_for_line()
            else:
                self._wait(self._max_interval)
        return self._held.popleft()

    def __iter__(self) -> Any:
        return iter(self.next, None)

    def clear_messages(self) -> None:
        """Discard all messages until the command ends, or is silent for `max_interval` seconds."""
        try:
            while self.next() is not None:
                pass
        except ClientTimeout:
            return

    def ended(self) -> Done | None:
        """Return the message with which the command ended, or None."""
        return self._ended

    def wait_accepted(self, timeout: float | None) -> None:
        """Wait until the server has accepted the command, or has sent a message of it; raises ClientTimeout."""
        while self._number is None and self._ended is None and not self._held:
            self._wait(timeout)

    def bind(self, call: RemoteCall) -> None:
        """Store the call whose messages this listener gets."""
        self._call = call

    def _wait_for_line(self) -> None:
        """Wait for the end of a line for QUIET_SECONDS, and then hold its incomplete text."""
        until = background.loop.time() + QUIET_SECONDS
        try:
            while not self._held and not self._done:
                self._wait(max(until - background.loop.time(), 0))
        except ClientTimeout:
            if text := self._lines.take_rest():
                self._held.append(text)

    def _wait(self, timeout: float | None) -> None:
        try:
            kind, value = self._arrived.get(timeout=timeout)
        except queue.Empty:
            raise ClientTimeout(f"the server was silent for {timeout:g} s") from None
        if kind == "output":
            self._held += self._lines.add(value)
            self.received_bytes += len(value)
            call = self._call
            if call is not None:
                background.loop.call_soon_threadsafe(call.taken, len(value))
        elif kind == "values":
            for found, share in value:
                self._waiting.read(found, share)
                self.received_bytes += share
                self._held.append(messages.presented(found))
        elif kind == "started":
            self._number = value
        elif kind == "done":
            self._held += self._lines.end()
            self._error = messages.error_of(value)
            if self._error is not None:
                self._held.append(self._error)
            self._ended, self._done = value, True
        elif kind == "failed":
            self._done = True
            raise value

    # -- callbacks of the call, in the event loop -----------------------------------------------------------------

    def handler(self) -> _QueueHandler:
        """Return the callbacks of the call."""
        return _QueueHandler(self._arrived, self.gaps, self._waiting)


class _QueueHandler:
    """The callbacks of a call, which put arriving messages into the queue of a listener."""

    def __init__(
        self, arrived: queue.SimpleQueue[tuple[str, Any]], gaps: list[tuple[int, int]], waiting: Backpressure
    ) -> None:
        self._arrived = arrived
        self._gaps = gaps
        self._waiting = waiting

    def started(self, number: int, job: bool) -> None:
        self._arrived.put(("started", number))

    def values(self, values: list[Any], size: int) -> None:
        if held := self._waiting.add(values, size):
            self._arrived.put(("values", held))

    def output(self, offset: int, data: bytes) -> None:
        self._arrived.put(("output", data))

    def gap(self, first: int, last: int) -> None:
        messages.add_gap(self._gaps, first, last)

    def done(self, done: Done) -> None:
        self._arrived.put(("done", done))

    def failed(self, error: Exception) -> None:
        self._arrived.put(("failed", error))


class ClientConnection:
    """A connection to one server; after `connect` the server's commands are methods of it.

    Each of them accepts, besides its own parameters: `complete` (True: wait for the end and return the list of
    messages; False: return the listener at once), `timeout` (seconds until the end of the command), `echo_response`
    (print messages as they arrive), `max_interval` (seconds between messages, else ClientTimeout), `raise_error` (raise
    the exception of the command here) and `partial` (output without a line end, such as a prompt, is also a message).
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        enter_connect_timeout: float | None = None,
        ca_file: CAFile = None,
    ) -> None:
        self.url = url
        self._enter_connect_timeout = enter_connect_timeout
        self._client = CommandClient(url, token, ca_file=ca_file)
        self._closed = False
        self._last_cwd: str | None = None
        _pool[id(self)] = self

    def __enter__(self) -> Self:
        self.connect(timeout=self._enter_connect_timeout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, timeout: float | None = None) -> None:
        """Connect, trying for `timeout` seconds; raises NotConnected, which is a ConnectionError."""
        if self._closed:
            raise NotConnected("this connection was closed; add the server again")
        background.run(self._client.connect(timeout))
        for name, description in self._client.channel.commands.items():
            if not hasattr(type(self), name):
                setattr(self, name, self._method(name, description))

    def disconnect(self) -> None:
        """Disconnect. Jobs continue on the server, and their listeners continue after the next `connect`."""
        background.run(self._client.disconnect())

    def close(self) -> None:
        """Close the connection, and remove it from the pool."""
        if not self._closed:
            self._closed = True
            _pool.pop(id(self), None)
            background.run(self._client.close())

    def server_methods(self) -> list[ServerMethod]:
        """Return the names of the server's commands, each with its `signature` and its `text`, and `transfer`."""
        return self._client.server_methods()

    def heartbeat(self, timeout: float | None = None) -> bool:
        """Return whether the server answers within `timeout` seconds."""
        return background.run(self._client.heartbeat(timeout))

    def transfer(
        self,
        src: str | Path,
        dest: str,
        chunk: int = 1024,
        timeout: float | None = None,
        *,
        raise_error: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Send a file to the server, check its SHA-256, and return its size and digest.

        The folders of `dest` are created. A repeated transfer continues where the previous one was cut off. Raises
        ClientTimeout after `timeout` seconds. `chunk` and `raise_error` are those of conplyent: the size of the pieces
        is chosen by the client, and errors are raised in any case.
        """
        return background.run(
            self._client.transfer(src, dest, chunk, timeout, raise_error=raise_error, progress=progress)
        )

    def fetch(
        self, src: str, dest: str | Path, *, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Get a file from the server, and check its SHA-256."""
        return background.run(self._client.fetch(src, dest, progress=progress))

    def run(
        self,
        name: str,
        *args: Any,
        timeout: float | None = None,
        complete: bool = True,
        echo_response: bool = False,
        max_interval: float | None = None,
        raise_error: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run a command; the class describes the options."""
        partial = self._client.partial(name, kwargs)
        listener = self._start(name, args, kwargs, max_interval, partial=partial)
        if not complete:
            listener.wait_accepted(timeout if timeout is not None else max_interval)
            return listener
        found = []
        loop = background.loop
        deadline = None if timeout is None else loop.time() + timeout
        try:
            while True:
                if deadline is not None:
                    left = max(0.001, deadline - loop.time())
                    listener.max_interval = left if max_interval is None else min(left, max_interval)
                message = listener.next()
                if message is None:
                    break
                found.append(message)
                if echo_response:
                    (messages.echo_partial if partial else messages.echo)(message)
                messages.check_gathered(name, len(found), listener.received_bytes)
        except BaseException:
            with listener:
                raise
        ended = listener.ended()
        if raise_error and ended is not None:
            messages.raise_for(ended, listener.error, found)
        return found

    def _start(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        max_interval: float | None,
        *,
        partial: bool = False,
    ) -> ConnectionListener:
        positional, named = messages.arguments(self._client.channel.commands.get(name), args, kwargs)
        listener = ConnectionListener(name, max_interval, partial=partial)
        handler = listener.handler()

        def begin() -> None:
            try:
                listener.bind(self._client.channel.call(name, positional, named, handler, max_interval=max_interval))
            except ClientError as error:
                handler.failed(error)

        background.loop.call_soon_threadsafe(begin)
        return listener

    def _method(self, name: str, description: Any) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> Any:
            return self.run(name, *args, **kwargs)

        method.__name__ = method.__qualname__ = name
        method.__doc__ = description.text
        vars(method)["__signature__"] = messages.signature(description)
        return method

    def __getattr__(self, name: str) -> Any:
        raise messages.unknown(name, bool(self.__dict__.get("_client") and self._client.channel.commands))


def add(
    hostname: str,
    port: int = DEFAULT_PORT,
    *,
    enter_connect_timeout: float | None = None,
    token: str | None = None,
    ca_file: CAFile = None,
) -> ClientConnection:
    """Return a connection to a server, not connected yet.

    `hostname` is the name of the server or its address (`https://lab.example:8443`).
    """
    url = hostname
    if "://" not in hostname:
        url = f"http://[{hostname}]:{port}" if ":" in hostname else f"http://{hostname}:{port}"
    elif not urlsplit(hostname).hostname:
        raise ValueError(f"{hostname!r} is not the address of a service, such as http://127.0.0.1:8080")
    return ClientConnection(url, token, enter_connect_timeout, ca_file)


def connections() -> list[ClientConnection]:
    """Return the connections that were added and not closed."""
    return list(_pool.values())


def close_all() -> None:
    """Close all connections."""
    for connection in connections():
        connection.close()
