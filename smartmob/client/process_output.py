"""The output of a process of the service, line by line as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp

from smartmob.client.http import RestClient

DELETED = 1000
"""How a connection ends when the process is deleted, or when nothing was to be followed."""
GOING_AWAY = 1001
"""How a connection ends when the service stops."""

ALL_LINES = 1_000_000
"""As `tail`: every line that the service has kept."""


class Console:
    """An open connection to a process; iterate over it for the lines, which have no end."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.code: int | None = None
        """How the connection ended: DELETED, GOING_AWAY, or anything else when it was lost."""
        self._socket = socket

    async def __aiter__(self) -> AsyncIterator[str]:
        receive, text = self._socket.receive, aiohttp.WSMsgType.TEXT
        while (message := await receive()).type is text:
            yield message.data
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.code = message.data


@asynccontextmanager
async def console(
    lab: RestClient, slug: str, *, tail: int = 0, events: bool = False, follow: bool = True
) -> AsyncIterator[Console]:
    """Attach to a process until the end of the block; its last `tail` lines come first.

    With `events` there are also lines about the process itself, which begin with `[smartmob] `. Without `follow` the
    connection ends behind the lines that are kept. Raises RemoteError.
    """
    path = f"/attach-console/{quote(slug, safe='')}"
    async with lab.socket(path, tail=tail, events=int(events), follow=int(follow)) as socket:
        yield Console(socket)
