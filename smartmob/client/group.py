"""Many servers as one: a command runs on all of them at once."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from smartmob.client import messages
from smartmob.client.command_client import CommandClient
from smartmob.client.connection import background
from smartmob.client.failures import ClientError
from smartmob.client.listener import Listener
from smartmob.client.trust import CAFile


@dataclass(slots=True)
class Result:
    """What a command said on one server, and how it ended there. `error` is what went wrong, there or on the way."""

    host: str
    lines: list[Any] = field(default_factory=list)
    exit_code: int | None = None
    error: BaseException | None = None

    @property
    def good(self) -> bool:
        """Return whether the command ended with 0."""
        return self.exit_code == 0 and self.error is None


class Group:
    """Several servers. A command is a method of it, connects where there is no connection yet, and returns the
    results by host; `echo_response=True` prints each line with its host as it comes. `stream` gives lines instead.
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
        self._labs = {_label(url, urls): CommandClient(url, token, ca_file=ca_file) for url in urls}

    @property
    def hosts(self) -> list[str]:
        """Return the names under which results come."""
        return list(self._labs)

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
        """Close all connections, in the loop that they live in."""
        await asyncio.gather(*(lab.close() for lab in self._labs.values()))

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

        A server that fails does not keep the others from going on. With `raise_error` the first failure is raised
        when all have ended.
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
        """Yield each message as it comes, with its host, and at the end of a host its Result, which has no messages."""
        came: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()

        async def run() -> None:
            try:
                await self.gather(
                    name, args, kwargs, lambda host, message: came.put((host, message)), ended=came.put, keep=False
                )
            finally:
                came.put(None)

        future = asyncio.run_coroutine_threadsafe(run(), background.loop)
        try:
            while (found := came.get()) is not None:
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
    ) -> dict[str, Result]:
        """Run a command on all servers within the running loop, and call `say` with each message as it comes.

        Without `keep` results have no messages. With it LIMITS says how many of a server are kept at most; one that
        sends more has an error as its result.
        """

        async def one(host: str, lab: CommandClient) -> Result:
            result = Result(host)
            listener: Listener | None = None
            try:
                async with asyncio.timeout(timeout):
                    await lab.connect(self._connect_timeout)
                    listener = lab.start(name, *args, **kwargs)
                    async for message in listener:
                        say(host, message)
                        if keep:
                            result.lines.append(message)
                            messages.check_gathered(name, len(result.lines), listener.received_bytes)
                    result.exit_code, result.error = listener.exit_code, listener.error
            except TimeoutError:
                result.error = ClientError(f"{name} did not come to its end within {timeout:g} s")
            except (ClientError, TypeError) as error:
                result.error = error
            finally:
                if listener is not None and listener.ended is None:
                    listener.cancel()
            ended((host, result))
            return result

        results = await asyncio.gather(*(one(host, lab) for host, lab in self._labs.items()))
        return {result.host: result for result in results}

    def __getattr__(self, name: str) -> Callable[..., dict[str, Result]]:
        if name.startswith("_"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> dict[str, Result]:
            return self.run(name, *args, **kwargs)

        return method


def _label(url: str, urls: tuple[str, ...]) -> str:
    """Return the name of a server: its host, with the port where another one has the same host."""
    host = urlsplit(url).hostname or url
    alone = sum((urlsplit(other).hostname or other) == host for other in urls) == 1
    return host if alone else urlsplit(url).netloc.rpartition("@")[2]


def group(*urls: str, token: str | None = None, connect_timeout: float = 10.0, ca_file: CAFile = None) -> Group:
    """Return the group of the servers at `urls`."""
    return Group(urls, token, connect_timeout, ca_file)
