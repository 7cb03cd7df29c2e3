"""A connection to a client: how its input is read, and how malformed requests are answered.

It overrides internals of aiohttp: tests/kernel/http/test_aiohttp_internals.py fails when they change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from smartmob.errors import InvalidInput
from smartmob.kernel.http.gate import RequestGate
from smartmob.kernel.http.json_response import JSONResponse
from smartmob.kernel.http.ws_frames import FramePosition

ITERATION_BYTES = 8 * 1024
WEBSOCKET_ITERATION_BYTES = 4 * 1024
"""Bytes of input that are parsed before other tasks run; asyncio reads up to 256 KiB at once.

The smallest chunk of a body and the smallest frame of a WebSocket have six bytes. A chunk costs about 5 µs, and a ping
with its answer 30 µs, so that an iteration takes up to 20 ms. Several parts are parsed at once if they are parsed
quickly. The payload of one large frame, which is only copied, is one part: with parts of 4 KiB, receiving a file took
1.7 times the processor time.
"""
_SMALLEST_PART_BYTES = min(ITERATION_BYTES, WEBSOCKET_ITERATION_BYTES)
_ITERATION_SECONDS = 0.0002
_ITERATION_PARTS = 8
"""Parts of input after which an iteration ends, even if they took less time than it may take."""
MAX_FRAMING_BYTES = 24 * 1024
"""Bytes of framing that a chunked body may have besides one byte for each eight of its content (RFC 9112, section 7.1).

Chunks of 48 bytes and more are always accepted, whatever their number.
"""
_DISCARDED_BYTES = 16 * 1024 * 1024
_DISCARD_SECONDS = 2.0
"""The rest of an unread body that is read and dropped, so that the connection can be used again."""
_LINGER_SECONDS = 30.0
"""Seconds that a client has to read its answer and disconnect (as `lingering_time` of nginx).

A connection that is closed while its client still sends is reset, and the client may lose the answer.
"""


class ServerConnection(web.RequestHandler):
    """A connection that parses a bounded part of its input at once, and answers all errors with problem documents.

    A body that is cut into very many small chunks is refused.
    """

    __slots__ = (
        *(
            "_body",
            "_body_start",
            "_frames",
            "_gate",
            "_input",
            "_input_offset",
            "_is_refused",
            "_linger_end",
            "_received",
        ),
        "_next_parse",
    )

    def __init__(self, server: web.Server, gate: RequestGate, **options: Any) -> None:
        super().__init__(server, **options)
        self._gate = gate
        self._input = b""
        """Received bytes that are not fully parsed; the transport does not read while there are any."""
        self._input_offset = 0
        """The number of these bytes that were parsed."""
        self._frames = FramePosition()
        self._next_parse: asyncio.Handle | None = None
        self._body: StreamReader | None = None
        """The chunked body that is being measured."""
        self._body_start = 0
        """Bytes of the body's content that had been parsed when the measurement began."""
        self._received = 0
        """Bytes received since the measurement began, with the framing."""
        self._is_refused = False
        self._linger_end = asyncio.Event()
        """Set when the client has disconnected, or the service stops."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the input that was not parsed."""
        self._linger_end.set()
        self._drop_input()
        self._cancel_next_parse()
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Stop; do not wait for a client that has its answer to disconnect."""
        self._linger_end.set()
        await super().shutdown(timeout)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; if there are many, parse only the first ones now."""
        if self._is_refused:
            return
        if self._current_request is None and not (self._input or self._upgraded) and len(data) <= ITERATION_BYTES:
            super().data_received(data)  # most requests arrive so, and none of this is measured
        elif not data:  # aiohttp continues with what its parser has kept
            super().data_received(data)
        elif (
            self._input
            or self._is_between_protocols
            or (len(data) > _SMALLEST_PART_BYTES and self._is_too_much(len(data)))
        ):
            self._input = self._input[self._input_offset :] + data
            self._input_offset = 0
            self._pause_transport_reading()
            if self._next_parse is None:
                self._parse_input()
        else:
            self._parse(data)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading after a pause. A body that arrived together with its head, as most do, was never paused."""
        if self._reading_paused or self._buffer_paused or self._input:
            super().resume_reading(resume_parser)

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """Parse the frames of a WebSocket from now on, the waiting input first."""
        self._frames.advance(self._message_tail)
        super().set_parser(parser, data_received_cb)
        if self._input:
            self._resume_transport_reading()

    @property
    def _is_between_protocols(self) -> bool:
        """Return whether a handler is about to make a WebSocket of this connection; its frames wait until then."""
        return bool(self._upgraded and self._payload_parser is None)

    @property
    def _part_bytes(self) -> int:
        """Return how many bytes may be parsed before other tasks run."""
        return max(WEBSOCKET_ITERATION_BYTES, self._frames.payload_left) if self._upgraded else ITERATION_BYTES

    def _drop_input(self) -> None:
        self._input, self._input_offset = b"", 0

    def _parse_input(self) -> None:
        """Parse some of the waiting input, and the rest in later turns, unless its reader is behind."""
        self._next_parse = None
        deadline = self._loop.time() + _ITERATION_SECONDS
        parts = 0
        while self._input and not (self._reading_paused or self._buffer_paused or self._is_between_protocols):
            end = self._input_offset + self._part_bytes
            part = self._input[self._input_offset : end]
            self._input_offset = end
            if end >= len(self._input):
                self._drop_input()
            self._parse(part)
            parts += 1
            if parts >= _ITERATION_PARTS or self._loop.time() >= deadline:
                break
        else:
            if self._input:
                return  # `_resume_transport_reading` is called later
        self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if not self._input:
            if not (self._reading_paused or self._buffer_paused):
                super()._resume_transport_reading()
        elif self._next_parse is None:
            self._next_parse = self._loop.call_soon(self._parse_input)

    def _cancel_next_parse(self) -> None:
        if self._next_parse is not None:
            self._next_parse.cancel()
            self._next_parse = None

    def _is_too_much(self, size: int) -> bool:
        """Return whether `size` received bytes are parsed in several parts."""
        return size > self._part_bytes and not self._is_within_plain_body(size)

    def _is_within_plain_body(self, size: int) -> bool:
        """Return whether the next `size` bytes belong to a body of known length, which is only copied."""
        content = None if self._current_request is None else self._current_request.content
        if content is None or content.is_eof() or self._current_request is None:
            return False
        length = self._current_request.content_length
        return length is not None and size <= length - content.total_bytes

    def _parse(self, data: bytes) -> None:
        if self._upgraded:
            self._frames.advance(data)
        super().data_received(data)
        request = self._current_request
        if self._upgraded or request is None or request.content.is_eof():
            return
        content = request.content
        if content is not self._body:
            self._body, self._body_start, self._received = content, content.total_bytes, 0
            return
        self._received += len(data)
        delivered = content.total_bytes - self._body_start
        if self._received - delivered > MAX_FRAMING_BYTES + delivered // 8:
            self._refuse(content)

    def _refuse(self, content: StreamReader) -> None:
        """Make reading the body fail, and drop all further input; the connection is closed after the answer."""
        self._is_refused = True
        self._drop_input()
        self._cancel_next_parse()
        super()._resume_transport_reading()
        content.set_exception(
            InvalidInput("the body is cut into too many small chunks: send fewer and larger ones, or its length")
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that could not be read, or that failed outside the application."""
        if not isinstance(exc, Exception) or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        response = self._gate.reject(request, exc)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, then discard a bounded rest of the unread body, or end the connection in order."""
        if (
            resp.__class__ is JSONResponse
            and request.content.is_eof()
            and not (self._upgraded or self._is_refused or self._input)
            and request._post is None
            and resp.write_at_once(request)
        ):
            return resp, False
        if _has_faulty_framing(request):
            resp.force_close()
            self.close()
        sent = await super().finish_response(request, resp, start_time)
        if self._input and not self._upgraded:
            self._resume_transport_reading()  # a handshake was declined, so the waiting input is HTTP
        content = request.content
        if self._is_refused or not (content.is_eof() or self._force_close or await _discard(content)):
            await self._end_after_answer()
        return sent

    async def _end_after_answer(self) -> None:
        """Wait until the client has seen the answer and disconnects, within the time for lingering.

        The answer is followed by the end of the stream (RFC 9112, section 9.6). Of a body that was not refused, nothing
        more is read: the buffers fill up, and the client waits.
        """
        self.close()
        transport = self.transport
        if transport is None:
            return
        # TLS has no half-closed connections, and the client may have disconnected already.
        with suppress(OSError, NotImplementedError):
            transport.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._linger_end.wait()


def _has_faulty_framing(request: web.BaseRequest) -> bool:
    """Return whether the end of a request is ambiguous: HTTP/1.0 has no chunks, so proxies may find another end.

    The connection is closed after the answer (RFC 9112, section 6.1), and what follows is never read as a request.
    """
    return request.version < HttpVersion11 and hdrs.TRANSFER_ENCODING in request.headers


async def _discard(content: StreamReader) -> bool:
    """Read and drop the rest of a body within limits of size and time; return whether the body has ended.

    A client that is disconnected while it sends may never see the answer (RFC 9112, section 9.6).
    """
    size = 0
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while not content.is_eof() and size < _DISCARDED_BYTES:
                size += len(await content.readany())
    except (TimeoutError, HttpProcessingError, web.RequestPayloadError, ConnectionError, InvalidInput):
        return False
    return content.is_eof()
