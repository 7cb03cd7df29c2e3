"""A WebSocket that handles each message as it arrives, without waking a task.

It overrides internals of aiohttp: tests/kernel/http/test_aiohttp_internals.py fails when they change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader

_QUEUE_BYTES = 2**18
"""Bytes of messages that may wait for `receive` before the transport is paused, as in aiohttp."""
_HEARTBEAT_STEP_SECONDS = 1.0
"""A ping may be sent this much too early: the time of the last message is kept to this precision."""

Handle = Callable[[str | bytes], bool]
"""Handles a text or binary message; returns whether it did. Otherwise `receive` returns the message."""


class _DirectQueue(WebSocketDataQueue):
    """The queue of received messages, which holds only those that `handle` does not handle, and what follows them."""

    handle: Handle | None = None

    def feed_data(self, data: Any, size: int) -> None:
        """Handle a message, or queue it."""
        kind, handle = data.type, self.handle
        is_message = kind is WSMsgType.TEXT or kind is WSMsgType.BINARY
        if handle is None or self._buffer or not is_message or not handle(data.data):
            super().feed_data(data, size)


class DirectWebSocket(web.WebSocketResponse):
    """A WebSocket that offers its messages to a function first, unless others wait for `receive`. No compression."""

    def __init__(self, *, heartbeat: float | None, timeout: float, max_msg_size: int) -> None:
        super().__init__(
            heartbeat=heartbeat, timeout=timeout, max_msg_size=max_msg_size, compress=False, decode_text=True
        )
        self._time = asyncio.get_running_loop().time
        self._heartbeat_due = 0.0
        """The time of the event loop from which a message postpones the next ping again."""

    def handle_by(self, handle: Handle) -> None:
        """Offer each message to `handle` from now on. Call it after `prepare`."""
        assert isinstance(self._reader, _DirectQueue)
        self._reader.handle = handle

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        """Start reading, as aiohttp does, with another queue."""
        self._ws_protocol = protocol
        self._writer = writer
        self._reset_heartbeat()
        self._reader = _DirectQueue(request.protocol, _QUEUE_BYTES, loop=asyncio.get_running_loop())
        self._parser = WebSocketReader(self._reader, self._max_msg_size, compress=False, decode_text=True)
        callback = None if self._heartbeat is None else self._on_data_received
        request.protocol.set_parser(self._parser, data_received_cb=callback)
        request.protocol.keep_alive(False)

    def _on_data_received(self) -> None:
        """Postpone the next ping. aiohttp starts a callback for that with each message, which takes far longer."""
        now = self._time()
        if now >= self._heartbeat_due or self._pong_response_cb is not None:
            self._heartbeat_due = now + _HEARTBEAT_STEP_SECONDS
            if not self._closed:
                self._reset_heartbeat()
