"""A group of servers: a command runs on all of them at once."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from smartmob.client import messages
from smartmob.client.command_client import CommandClient
from smartmob.client.connection import background
from smartmob.client.failures import ClientError
from smartmob.client.listener import Listener
from smartmob.client.tls_trust import CAFile


class Result(msgspec.Struct):
    """The messages, the exit code and the error of a command on one server.

    `error` is an exception of the command, or of the connection.
    """

    host: str
    lines: list[Any] = msgspec.field(default_factory=list)
    exit_code: int | None = None
    error: BaseException | None = None

    @property
    def good(self) -> bool:
        """Return whether the command ended with 0."""
        return self.exit_code == 0 and self.error is None


class Group:
    """Several servers, whose commands are methods of the group.

    A command connects where there is no connection yet, and returns the results by host. `echo_response=True` prints
    each line with its host as it arrives. `stream` yields the lines instead.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        token: str | None = None,
        connect_timeout: float = 10.0,
        ca_file: CAFile = None,
    ) -> None:
        if not urls:
            raise ValueError("a group needs at least one server")
        if len(set(urls)) < len(urls):
            raise ValueError("a group has each server once")
        self._connect_timeout = connect_timeout
        self._clients = {_label(url, urls): CommandClient(url, token, ca_file=ca_file) for url in urls}

    @property
    def hosts(self) -> list[str]:
        """Return the names of the servers, which are the keys of results."""
        return list(self._clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        background.run(self.aclose())

    async def aclose(self) -> None:
        """Close all connections from within their event loop."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    def run(
        self,
        name: str,
        *args: Any,
        echo_response: bool = False,
        raise_error: bool = False,
        timeout: float | None = None,
        max_interval: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Result]:
        """Run a command on all servers; return the results by host.

        A failure on one server does not stop the others. With `raise_error` the first failure is raised after all have
        ended.
        """

        def say(host: str, message: Any) -> None:
            if echo_response:
                messages.echo(f"{host}: {message}")

        options = {"max_interval": max_interval, **kwargs}
        results = background.run(self.gather(name, args, options, say, timeout))
        if raise_error:
            for result in results.values():
                if result.error is not None:
                    raise result.error
        return results

    def stream(self, name: str, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        """Yield each message with its host as it arrives, and at the end of each host its Result, without messages."""
        arrived: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()

        async def run() -> None:
            try:
                await self.gather(
                    name,
                    args,
                    kwargs,
                    lambda host, message: arrived.put((host, message)),
                    ended=arrived.put,
                    keep=False,
                )
            finally:
                arrived.put(None)

        future = asyncio.run_coroutine_threadsafe(run(), background.loop)
        try:
            while (found := arrived.get()) is not None:
                yield found
        finally:
            future.cancel()

    async def gather(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        say: Callable[[str, Any], None],
        timeout: float | None = None,
        ended: Callable[[tuple[str, Any]], None] = lambda _: None,
        *,
        keep: bool = True,
        end_jobs: bool = False,
        apart: bool = False,
    ) -> dict[str, Result]:
        """Run a command on all servers within the running loop, and call `say` with each message as it arrives.

        Without `keep` results have no messages. With it, LIMITS sets the most messages of a server that are kept; a
        server that sends more has an error as its result. With `end_jobs` a job is ended when this call is cancelled.
        With `apart`, servers that can do so mark the text that was written to standard error.
        """

        async def one(host: str, client: CommandClient) -> Result:
            result = Result(host)
            listener: Listener | None = None
            try:
                async with asyncio.timeout(timeout):
                    await client.connect(self._connect_timeout)
                    further = {"apart": True} if apart and client.takes(name, "apart") else {}
                    listener = client.start(name, *args, **kwargs, **further)
                    if name == "exec":
                        listener.end_input()  # a group has no input; a program that waited for one would not end
                    async for message in listener:
                        say(host, message)
                        if keep:
                            result.lines.append(message)
                            messages.check_gathered(name, len(result.lines), listener.received_bytes)
                    result.exit_code, result.error = listener.exit_code, listener.error
            except asyncio.CancelledError:
                if end_jobs and listener is not None and listener.number is not None:
                    with suppress(ClientError):
                        await client.run("kill", listener.number, timeout=self._connect_timeout)
                raise
            except TimeoutError:
                result.error = ClientError(f"{name} did not end within {timeout:g} s")
            except (ClientError, TypeError) as error:
                result.error = error
            finally:
                if listener is not None and listener.ended is None:
                    listener.cancel()
            ended((host, result))
            return result

        results = await asyncio.gather(*(one(host, client) for host, client in self._clients.items()))
        return {result.host: result for result in results}

    def __getattr__(self, name: str) -> Callable[..., dict[str, Result]]:
        if name.startswith("_"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> dict[str, Result]:
            return self.run(name, *args, **kwargs)

        return method


def _label(url: str, urls: tuple[str, ...]) -> str:
    """Return the name of a server: its host, with the port if another server has the same host."""
    host = urlsplit(url).hostname or url
    alone = sum((urlsplit(other).hostname or other) == host for other in urls) == 1
    return host if alone else urlsplit(url).netloc.rpartition("@")[2]


def group(*urls: str, token: str | None = None, connect_timeout: float = 10.0, ca_file: CAFile = None) -> Group:
    """Return the group of the servers at `urls`."""
    return Group(urls, token, connect_timeout, ca_file)
