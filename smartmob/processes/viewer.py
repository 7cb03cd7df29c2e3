"""One viewer's WebSocket: frames go out as they come, and a viewer that cannot follow loses lines, not the others.

The frames of a chunk are written to the connection's transport as they are. A viewer whose transport holds more than
its share gets nothing until that is sent, and is then told how many lines it missed.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, web

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.output import ProcessOutput
from smartmob.processes.protocol import NOTE, AttachQuery, encode_lines

_HEARTBEAT_SECONDS = 30.0
_GOODBYE_SECONDS = 5.0


class ViewerSession:
    """A viewer of a channel, from its handshake to its end."""

    def __init__(self, request: web.Request, channel: ProcessOutput, tasks: TaskRegistry, buffer_bytes: int) -> None:
        self.notes = False
        self._request = request
        self._channel = channel
        self._tasks = tasks
        self._buffer_bytes = buffer_bytes
        self._socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_SECONDS, timeout=_GOODBYE_SECONDS, compress=False, max_msg_size=64 * 1024
        )
        self._transport: asyncio.WriteTransport | None = None
        self._skipped = 0
        self._closing: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None

    async def run(self, wanted: AttachQuery) -> web.WebSocketResponse:
        """Serve the viewer until it leaves or the channel ends; the kept lines that it wants come first."""
        self.notes = bool(wanted.events)
        await self._socket.prepare(self._request)
        self._transport = self._request.transport
        self._channel.attach(self, wanted.tail)
        if not wanted.follow:
            self._channel.detach(self)
            self.end(WSCloseCode.OK)
        try:
            async for message in self._socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            self._channel.detach(self)
            self._transport = None
            if self._catching_up is not None:
                self._catching_up.cancel()
            if self._closing is not None:
                await self._closing
        return self._socket

    def deliver(self, frames: bytes, lines: int) -> None:
        """Send whole frames, or count their lines as skipped while the viewer is too slow."""
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
        """Close the connection; nothing follows."""
        if self._closing is None:
            self._closing = self._tasks.start("console-close", self._close(code))

    async def _catch_up(self) -> None:
        """Wait until the viewer has got what was sent, and tell it what it missed."""
        await self._request.writer.drain()
        skipped, self._skipped = self._skipped, 0
        self.deliver(*encode_lines(NOTE + b"%d lines skipped" % skipped))

    async def _close(self, code: int) -> None:
        """Say goodbye, and cut off a viewer that does not take even that."""
        await self._socket.close(code=code, drain=False)
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()
