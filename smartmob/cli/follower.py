"""Follows the output of processes until they are deleted, the service stops, or the user interrupts it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from smartmob.cli import printing
from smartmob.cli.line_printer import EVENT_PREFIX, LinePrinter
from smartmob.cli.server_options import command_line
from smartmob.client.http import RestClient
from smartmob.client.process_output import DELETED, GOING_AWAY, process_output
from smartmob.errors import RemoteError
from smartmob.kernel.runtime import clock

PAUSES = (0.25, 5.0)
"""The first and the longest pause, in seconds, before a reconnection."""
_SHORT_SECONDS = 1.0
_MAX_SHORT_CONNECTIONS = 10
"""The command gives up after this number of consecutive connections that were closed within _SHORT_SECONDS."""
_NOT_FOUND_STATUS = 404
_FIRST_SERVER_ERROR_STATUS = 500

OnEvent = Callable[[str, str], Awaitable[None]]


class OutputFollower:
    """Prints the output of processes with `printer`. `on_event` is called at each event with the slug and the line.

    `stream` is "stdout", "stderr" or "all".
    """

    def __init__(
        self,
        rest: RestClient,
        printer: LinePrinter,
        *,
        events: bool,
        on_event: OnEvent | None = None,
        stream: str = "all",
    ) -> None:
        self._rest = rest
        self._printer = printer
        self._events = events
        self._on_event = on_event
        self._stream = stream
        self._lost: set[str] = set()
        self._stopping = False

    async def follow(self, slugs: Sequence[str], tail: int) -> bool:
        """Follow until no more output can arrive; return whether all processes were deleted.

        The last `tail` lines of each process come first. Lost connections are restored. Cancelling this detaches.
        Raises RemoteError, BrokenPipeError, and what `on_event` raises.
        """
        try:
            async with asyncio.TaskGroup() as group:
                broken = group.create_task(self._printer.broken())
                await asyncio.wait([group.create_task(self._follow(slug, tail)) for slug in slugs])
                broken.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._printer.flush()
        return not self._stopping

    async def _follow(self, slug: str, tail: int) -> None:
        attached, short, tries = False, 0, 0
        printer = self._printer
        show = printer.show_piece if printer.takes_pieces else printer.show
        while True:
            began: float | None = None
            try:
                async with process_output(
                    self._rest,
                    slug,
                    tail=tail,
                    events=self._events,
                    partial=printer.takes_pieces,
                    sources=printer.takes_sources,
                    stream=self._stream,
                ) as lines:
                    self._report_reconnection(slug)
                    attached, began = True, clock.steady()
                    async for line in lines:
                        show(slug, line, lines.source)
                        if self._on_event is not None and line.startswith(EVENT_PREFIX):
                            await self._on_event(slug, line)
                if self._report_end(slug, lines.code):
                    return
            except RemoteError as error:
                if attached and error.status == _NOT_FOUND_STATUS:
                    self._report_end(slug, DELETED)
                    return
                if not attached or (error.status is not None and error.status < _FIRST_SERVER_ERROR_STATUS):
                    raise
            self._report_loss(slug)
            tries += 1
            if began is not None:
                short = short + 1 if clock.steady() - began < _SHORT_SECONDS else 0
                tries, tail = short, 0
            if short >= _MAX_SHORT_CONNECTIONS:
                raise RemoteError(f"{self._rest.url} closes each connection at once")
            await asyncio.sleep(min(PAUSES[0] * 2 ** min(tries, _MAX_SHORT_CONNECTIONS), PAUSES[1]))

    def _report_end(self, slug: str, code: int | None) -> bool:
        """Return whether the output has ended, and report why."""
        if code == DELETED:
            self._report(f"{slug} was deleted")
        elif code == GOING_AWAY:
            if not self._stopping:
                self._report(f"The service at {self._rest.url} is stopping")
            self._stopping = True
        return code in (DELETED, GOING_AWAY)

    def _report_loss(self, slug: str) -> None:
        if not self._lost:
            self._report(f"The connection to {self._rest.url} was lost; reconnecting, CTRL-C gives up")
        self._lost.add(slug)

    def _report_reconnection(self, slug: str) -> None:
        if slug in self._lost:
            self._lost.remove(slug)
            lost = command_line(self._rest, "logs", slug)
            self._report(
                f"{slug}: connected again; lines in between are missing here, `{lost}` shows those that are kept"
            )

    def _report(self, text: str) -> None:
        self._printer.flush()
        printing.say(text)
