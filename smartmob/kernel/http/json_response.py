"""A JSON answer that is written in one piece.

Most answers of the service are small JSON documents. aiohttp builds the head of a response as a case-insensitive
mapping, fills it in, and serialises it; for a document of 400 bytes that is a quarter of all the time that a request
takes (benchmarks/ingest.py). `JSONResponse` is a response with the few things that such an answer needs, and hands
everything out of the ordinary to aiohttp's own class.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}" for status in HTTPStatus}
_LARGE = 64 * 1024

SERVER = "smartmob"
"""What every answer says of the software: no version, since everybody may read it."""


class JSONResponse(web.StreamResponse):
    """An answer whose body is JSON; `headers` are those besides the ones that every answer has."""

    def __init__(self, body: bytes, status: int = 200, media_type: str = "application/json") -> None:
        # Deliberately without the base class's own set-up, which is what costs.
        self.body = body
        self._answer_status = status
        self._media_type = media_type
        self._answer_headers: dict[str, str] = {}
        self._sent = False
        self._stays_open: bool | None = True
        self._ordinary: web.Response | None = None

    @property
    def status(self) -> int:
        return self._answer_status

    @property
    def prepared(self) -> bool:
        return self._sent

    @property
    def headers(self) -> Any:
        return self._answer_headers

    @property
    def keep_alive(self) -> bool | None:
        return self._stays_open if self._ordinary is None else self._ordinary.keep_alive

    def force_close(self) -> None:
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._sent:
            return None
        self._sent = True
        transport = request.transport
        self._stays_open = bool(self._stays_open and request.keep_alive)
        if (
            transport is None
            or transport.is_closing()
            or len(self.body) > _LARGE
            or transport.get_write_buffer_size()  # the client does not read: aiohttp waits until it does
            or request.version != HttpVersion11
            or request.method == "HEAD"
            or not self._stays_open
        ):
            return await self._prepare_ordinary(request)
        further = "".join([f"{name}: {value}\r\n" for name, value in self._answer_headers.items()])
        head = (
            f"{_STATUS_LINES[self._answer_status]}\r\nContent-Type: {self._media_type}\r\n{further}"
            f"Content-Length: {len(self.body)}\r\nDate: {rfc822_formatted_time()}\r\nServer: {SERVER}\r\n\r\n"
        )
        transport.write(head.encode("latin-1") + self.body)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if self._ordinary is not None:
            await self._ordinary.write_eof()

    async def _prepare_ordinary(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        headers = {**self._answer_headers, "Server": SERVER}
        self._ordinary = web.Response(
            body=self.body, status=self._answer_status, content_type=self._media_type, headers=headers
        )
        if not self._stays_open:
            self._ordinary.force_close()
        return await self._ordinary.prepare(request)
