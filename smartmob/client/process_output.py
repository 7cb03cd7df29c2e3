"""The output of a process of the service, line by line as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from smartmob.client.http import RestClient

if TYPE_CHECKING:
    import aiohttp

DELETED = 1000
"""The close code when the process was deleted, or when the output was not to be followed."""
GOING_AWAY = 1001
"""The close code when the service stops."""

ALL_LINES = 1_000_000
"""The value of `tail` for all lines that the service keeps."""


SOURCES = {1: "stdout", 2: "stderr", 3: "smartmob"}
"""The names of `ProcessOutput.source`; the last one is that of lines about the process itself."""


class ProcessOutput:
    """An open connection to a process; iterate over it for the lines, without their line ends."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, marked: bool) -> None:
        self.code: int | None = None
        """The close code: DELETED, GOING_AWAY, or any other value when the connection was lost."""
        self.source = 0
        """The source of the newest line, one of SOURCES; 0 when it was not asked for."""
        self._socket = socket
        self._marked = marked

    async def __aiter__(self) -> AsyncIterator[str]:
        import aiohttp

        receive, text = self._socket.receive, aiohttp.WSMsgType.TEXT
        while (message := await receive()).type is text:
            line = message.data
            if self._marked:
                self.source, line = int(line[:1]), line[1:]
            yield line
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.code = message.data


@asynccontextmanager
async def process_output(
    rest: RestClient,
    slug: str,
    *,
    tail: int = 0,
    events: bool = False,
    follow: bool = True,
    partial: bool = False,
    sources: bool = False,
    stream: str = "all",
) -> AsyncIterator[ProcessOutput]:
    """Attach to a process until the end of the block, beginning with its last `tail` lines.

    With `events` there are also lines about the process itself, which begin with `[smartmob] `. Without `follow` the
    connection ends after the stored lines. With `partial` the texts keep their line ends, and a line that is not
    complete yet comes in several texts, as it is written. With `sources` each line has its `source`. `stream` is
    "stdout", "stderr" or "all". Raises RemoteError.
    """
    path = f"/attach-console/{quote(slug, safe='')}"
    # An older service does not know these parameters.
    query: dict[str, int | str] = {"partial": 1} if partial else {}
    query |= ({"marks": 1} if sources else {}) | ({} if stream == "all" else {"stream": stream})
    async with rest.socket(path, tail=tail, events=int(events), follow=int(follow), **query) as socket:
        yield ProcessOutput(socket, marked=sources)
