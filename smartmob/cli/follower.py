"""Follows the output of processes until they are deleted, the service stops, or a person has seen enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from smartmob.cli import output
from smartmob.cli.line_printer import EVENT_PREFIX, LinePrinter
from smartmob.cli.server_options import again
from smartmob.client.http import RestClient
from smartmob.client.process_output import DELETED, GOING_AWAY, console
from smartmob.errors import RemoteError
from smartmob.kernel.runtime import clock

PAUSES = (0.25, 5.0)
"""The first and the longest pause, in seconds, before a lost connection is made again."""
_SHORT_SECONDS = 1.0
_MOST_SHORT = 10
"""So many connections in a row that were closed within _SHORT_SECONDS are the end."""
_NOT_FOUND = 404
_SERVER_ERRORS = 500

OnEvent = Callable[[str], Awaitable[None]]


class OutputFollower:
    """Shows on `screen` what processes write. `on_event` is called with the slug when something happens to one."""

    def __init__(self, rest: RestClient, screen: LinePrinter, *, events: bool, on_event: OnEvent | None = None) -> None:
        self._rest = rest
        self._screen = screen
        self._events = events
        self._on_event = on_event
        self._lost: set[str] = set()
        self._stopping = False

    async def follow(self, slugs: Sequence[str], tail: int) -> bool:
        """Return when nothing more can come: whether that is because the processes were deleted.

        The last `tail` lines of each come first. A connection that is lost is made again; who cancels this detaches.
        Raises RemoteError, BrokenPipeError, and what `on_event` raises.
        """
        try:
            async with asyncio.TaskGroup() as group:
                broken = group.create_task(self._screen.broken())
                await asyncio.wait([group.create_task(self._follow(slug, tail)) for slug in slugs])
                broken.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._screen.flush()
        return not self._stopping

    async def _follow(self, slug: str, tail: int) -> None:
        attached, short, tries = False, 0, 0
        while True:
            began: float | None = None
            try:
                async with console(self._rest, slug, tail=tail, events=self._events) as lines:
                    self._found(slug)
                    attached, began = True, clock.steady()
                    async for line in lines:
                        self._screen.show(slug, line)
                        if self._on_event is not None and line.startswith(EVENT_PREFIX):
                            await self._on_event(slug)
                if self._ended(slug, lines.code):
                    return
            except RemoteError as error:
                if attached and error.status == _NOT_FOUND:
                    self._ended(slug, DELETED)
                    return
                if not attached or (error.status is not None and error.status < _SERVER_ERRORS):
                    raise
            self._lose(slug)
            tries += 1
            if began is not None:
                short = short + 1 if clock.steady() - began < _SHORT_SECONDS else 0
                tries, tail = short, 0
            if short >= _MOST_SHORT:
                raise RemoteError(f"{self._rest.url} closes each connection at once")
            await asyncio.sleep(min(PAUSES[0] * 2 ** min(tries, _MOST_SHORT), PAUSES[1]))

    def _ended(self, slug: str, code: int | None) -> bool:
        """Return whether nothing more comes, and say why."""
        if code == DELETED:
            self._say(f"{slug} was deleted")
        elif code == GOING_AWAY:
            if not self._stopping:
                self._say(f"The service at {self._rest.url} stops")
            self._stopping = True
        return code in (DELETED, GOING_AWAY)

    def _lose(self, slug: str) -> None:
        if not self._lost:
            self._say(f"The connection to {self._rest.url} was lost; trying to get it back, CTRL-C gives up")
        self._lost.add(slug)

    def _found(self, slug: str) -> None:
        if slug in self._lost:
            self._lost.remove(slug)
            lost = again(self._rest, "logs", slug)
            self._say(f"{slug}: connected again; what came in between is missing here, `{lost}` shows what is kept")

    def _say(self, text: str) -> None:
        self._screen.flush()
        output.say(text)
