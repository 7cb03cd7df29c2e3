"""The client for asyncio: `async with connect(url) as client: async for line in await client.exec(...)`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from smartmob.client import messages, safe_paths, transfer
from smartmob.client.failures import ClientTimeout
from smartmob.client.listener import Listener
from smartmob.client.messages import ServerMethod
from smartmob.client.tls_trust import CAFile

if TYPE_CHECKING:
    from smartmob.client.channel import Channel  # it imports aiohttp, which other commands do not need

_STREAMS = ("attach", "get", "put")
"""Commands whose bytes are not messages, so that a listener must receive them."""
_LISTENER_OPTIONS = {"binary", "max_interval", "partial"}


class CommandClient:
    """The commands of a service for asyncio: after `connect` each of them is a method.

    A background command returns its Listener as soon as the server has accepted it, any other command the list of its
    messages. `complete=True` or `False` requests the other one.
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
        from smartmob.client.channel import Channel

        self.channel: Channel = Channel(url, token, ca_file=ca_file, **options)
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
            self.__dict__.pop(name, None)  # it is recreated when used: the command may have changed

    async def disconnect(self) -> None:
        """Disconnect. Jobs continue, and their listeners continue after the next `connect`."""
        await self.channel.disconnect()

    async def close(self) -> None:
        """Close the connection."""
        await self.channel.close()

    async def heartbeat(self, timeout: float | None = None) -> bool:
        """Return whether the server answers within `timeout` seconds."""
        return await self.channel.ping(timeout)

    def server_methods(self) -> list[ServerMethod]:
        """Return the names of the server's commands, each with its `signature` and its `text`, and `transfer`."""
        return [ServerMethod(described) for described in (*self.channel.commands.values(), messages.TRANSFER)]

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return self.channel.url

    def takes(self, name: str, parameter: str | None = None) -> bool:
        """Return whether the server has a command, with this parameter if one is given."""
        described = self.channel.commands.get(name)
        if described is None or parameter is None:
            return described is not None
        return any(found.name == parameter for found in described.parameters)

    def partial(self, name: str, kwargs: dict[str, Any]) -> bool:
        """Return the listener's option `partial`, and remove it from the arguments of a command without such a one."""
        return False if self.takes(name, "partial") else bool(kwargs.pop("partial", False))

    async def transfer(
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
        if type(chunk) is not int or chunk < 1:
            raise ValueError("chunk must be a number of bytes above 0")
        try:
            async with asyncio.timeout(timeout):
                return await transfer.upload(self, src, dest, progress)
        except TimeoutError:
            if timeout is None:
                raise
            raise ClientTimeout(f"{dest} was not transferred within {timeout:g} s") from None

    async def fetch(
        self, src: str, dest: str | Path, *, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Get a file from the server, check its SHA-256, and return its size and digest.

        A link at `dest` is followed. A repeated transfer continues where the previous one was cut off.
        """
        try:
            entry = await transfer.describe(self, src)
        except ClientTimeout:
            raise transfer.stalled() from None
        target = safe_paths.chosen(Path(os.path.realpath(dest)))
        return await transfer.download(self, src, target, progress, entry)

    def start(
        self, name: str, *args: Any, max_interval: float | None = None, binary: bool = False, **kwargs: Any
    ) -> Listener:
        """Call a command and return its listener at once."""
        partial = self.partial(name, kwargs)
        positional, named = messages.arguments(self.channel.commands.get(name), args, kwargs)
        listener = Listener(name, max_interval=max_interval, binary=binary, partial=partial)
        listener.call = self.channel.call(name, positional, named, listener.handler(), max_interval=max_interval)
        return listener

    async def _start_now(
        self, name: str, *args: Any, max_interval: float | None = None, binary: bool = False, **kwargs: Any
    ) -> Listener:
        partial = self.partial(name, kwargs)
        positional, named = messages.arguments(self.channel.commands.get(name), args, kwargs)
        listener = Listener(name, max_interval=max_interval, binary=binary, partial=partial)
        handler = listener.handler()
        listener.call = await self.channel.call_now(name, positional, named, handler, max_interval=max_interval)
        return listener

    async def attach(
        self,
        job: int,
        offset: int = 0,
        *,
        max_interval: float | None = None,
        binary: bool = False,
        partial: bool = False,
    ) -> Listener:
        """Return a listener of a job, from the byte `offset` of its output on. Any client may have started the job."""
        options: dict[str, Any] = {"max_interval": max_interval, "binary": binary, "partial": partial}
        listener = self.start("attach", job, offset, hold=False, **options)
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
        """Call a command, and return its messages or its listener; raises ClientTimeout after `timeout` seconds."""
        described = self.channel.commands.get(name)
        background = described is not None and described.background
        if complete is None:
            complete = not background
        plain = (
            timeout is None
            and not echo_response
            and name not in _STREAMS
            and (not options or not options.keys() & _LISTENER_OPTIONS)
        )
        if plain and complete and not background:
            return await self._ask(name, args, options, raise_error=raise_error)
        listener = await self._start_now(name, *args, **options)
        try:
            async with asyncio.timeout(timeout):
                if not complete:
                    await listener.accepted()
                    return listener
                partial = options.get("partial") and not self.takes(name, "partial")
                echo = messages.echo_partial if partial else messages.echo
                found = await (listener.gather(echo) if echo_response else listener.gather())
        except TimeoutError:
            listener.cancel()
            raise ClientTimeout(f"{name} did not end within {timeout:g} s") from None
        if raise_error and listener.ended is not None:
            messages.raise_for(listener.ended, listener.error, found)
        return found

    async def _ask(self, name: str, args: Any, kwargs: dict[str, Any], *, raise_error: bool) -> list[Any]:
        """Return all messages of a command at its end."""
        positional, named = (
            messages.arguments(self.channel.commands.get(name), args, kwargs) if args or kwargs else ([], {})
        )
        call = await self.channel.gather_call(name, positional, named)
        try:
            ended = await call.ended
        except asyncio.CancelledError:
            call.cancel()
            raise
        found = call.found
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
) -> CommandClient:
    """Return a client of the service at `url`, to be used with `async with`."""
    return CommandClient(url, token, ca_file=ca_file, timeout=timeout, **options)


Lab = CommandClient
"""The name of CommandClient for scripts."""
