"""JSON answers, written to the transport in one piece.

Most answers of the service are small JSON documents. aiohttp builds the head of a response as a case-insensitive
mapping, fills it in, and serialises it; for a document of 400 bytes that is a quarter of the time that a request
takes (benchmarks/ingest.py). `JSONResponse` does only what such an answer needs, and leaves every other case to
aiohttp's own class. It overrides internals of aiohttp: tests/kernel/http/test_aiohttp_internals.py fails when they
change.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11

from smartmob.kernel.http.response_headers import SERVER

_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}" for status in HTTPStatus}
_MAX_DIRECT_BYTES = 64 * 1024  # aiohttp writes larger bodies, and waits for clients that read slowly


class JSONResponse(web.StreamResponse):
    """An answer with a JSON body. `headers` holds only the headers that are not in every JSON answer."""

    def __init__(self, body: bytes, status: int = 200, media_type: str = "application/json") -> None:
        # The set-up of the base class is left out on purpose: it takes most of the time.
        self.body = body
        self._json_status = status
        self._media_type = media_type
        self._json_headers: dict[str, str] = {}
        self._sent = False
        self._json_keep_alive: bool | None = True
        self._fallback: web.Response | None = None

    @property
    def status(self) -> int:
        return self._json_status

    @property
    def prepared(self) -> bool:
        return self._sent

    @property
    def headers(self) -> Any:
        return self._json_headers

    @property
    def keep_alive(self) -> bool | None:
        return self._json_keep_alive if self._fallback is None else self._fallback.keep_alive

    def force_close(self) -> None:
        self._json_keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._sent or self.write_at_once(request):
            return None
        self._sent = True
        self._json_keep_alive = bool(self._json_keep_alive and request.keep_alive)
        return await self._prepare_fallback(request)

    def write_at_once(self, request: web.BaseRequest) -> bool:
        """Write the whole answer and return True; return False if aiohttp has to write it, or it was written before."""
        transport = request.transport
        if (
            self._sent
            or transport is None
            or transport.is_closing()
            or len(self.body) > _MAX_DIRECT_BYTES
            or transport.get_write_buffer_size()  # the client reads too slowly: aiohttp waits for it
            or request.version != HttpVersion11
            or request.method == "HEAD"
            or not (self._json_keep_alive and request.keep_alive)
        ):
            return False
        self._sent = True
        extra = "".join([f"{name}: {value}\r\n" for name, value in self._json_headers.items()])
        head = (
            f"{_STATUS_LINES[self._json_status]}\r\nContent-Type: {self._media_type}\r\n{extra}"
            f"Content-Length: {len(self.body)}\r\nDate: {rfc822_formatted_time()}\r\nServer: {SERVER}\r\n\r\n"
        )
        transport.write(head.encode("latin-1") + self.body)
        return True

    async def write_eof(self, data: bytes = b"") -> None:
        if self._fallback is not None:
            await self._fallback.write_eof()

    async def _prepare_fallback(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        headers = {**self._json_headers, "Server": SERVER}
        self._fallback = web.Response(
            body=self.body, status=self._json_status, content_type=self._media_type, headers=headers
        )
        if not self._json_keep_alive:
            self._fallback.force_close()
        return await self._fallback.prepare(request)


def json_response(document: Any, status: int = 200) -> JSONResponse:
    """Return an answer whose body is `document` as JSON; a document is a Struct or plain objects."""
    return JSONResponse(msgspec.json.encode(document), status)


def dumps(document: Any) -> bytes:
    """Return plain objects (no Structs) as JSON by orjson, which encodes them faster than msgspec."""
    return orjson.dumps(document, option=orjson.OPT_UTC_Z)
