"""The WebSocket of one viewer. A slow viewer skips lines and does not delay the others.

The frames of a chunk are written to the transport of the connection. While the transport holds more than
`buffer_bytes`, lines are skipped; when it has been emptied, a line tells the viewer how many.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, web

from smartmob.kernel.http import ws_upgrade
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.output import ProcessOutput, frames_for
from smartmob.processes.protocol import NOTE, NOTES, STREAMS, AttachQuery

_HEARTBEAT_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
"""Time for the client to answer a close frame."""
_RECEIVED_BYTES = 64 * 1024
"""The largest message of a client; messages are ignored."""


class ViewerSession:
    """The connection of one viewer to the output of a process, from the handshake to the close."""

    def __init__(self, request: web.Request, output: ProcessOutput, tasks: TaskRegistry, buffer_bytes: int) -> None:
        self.notes = self.partial = self.marked = False
        self.stream: int | None = None
        self._request = request
        self._output = output
        self._tasks = tasks
        self._buffer_bytes = buffer_bytes
        self._socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_SECONDS, timeout=_CLOSE_SECONDS, compress=False, max_msg_size=_RECEIVED_BYTES
        )
        self._transport: asyncio.WriteTransport | None = None
        self._skipped = 0
        self._closing: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None

    async def run(self, query: AttachQuery) -> web.WebSocketResponse:
        """Send the last `query.tail` lines and then new ones, until the client disconnects or the output ends."""
        self.notes, self.partial, self.marked = bool(query.events), bool(query.partial), bool(query.marks)
        self.stream = STREAMS[query.stream]
        await ws_upgrade.accept(self._request, self._socket)
        self._transport = self._request.transport
        self._output.attach(self, query.tail, follow=bool(query.follow))
        if not query.follow:
            self.end(WSCloseCode.OK)
        try:
            async for message in self._socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            await self._leave()
        return self._socket

    async def _leave(self) -> None:
        self._output.detach(self)
        self._transport = None
        if self._catching_up is not None:
            self._catching_up.cancel()
        if self._closing is not None:
            await self._closing

    def deliver(self, frames: bytes, lines: int) -> None:
        """Send whole frames, or count their lines as skipped while the transport is full."""
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        if self._skipped:
            self._skipped += lines
        elif transport.get_write_buffer_size() > self._buffer_bytes:
            self._skipped = lines
            self._catching_up = self._tasks.start("console-viewer", self._catch_up())
        else:
            transport.write(frames)

    def end(self, code: int) -> None:
        """Close the connection with a close code; nothing is sent after it."""
        if self._closing is None:
            self._closing = self._tasks.start("console-close", self._close(code))

    async def _catch_up(self) -> None:
        """Wait until the transport has been emptied, and send the number of skipped lines."""
        await self._request.writer.drain()
        skipped, self._skipped = self._skipped, 0
        self.deliver(*frames_for(self, NOTES, NOTE + b"%d lines skipped" % skipped, b"\n"))

    async def _close(self, code: int) -> None:
        """Send a close frame; abort the connection when the client does not read it."""
        await self._socket.close(code=code, drain=False)
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()
