"""Input of a request: its body, its form, and the arguments in its query and its path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError

from smartmob.errors import InvalidInput, TooLarge, TooSlow
from smartmob.kernel.http import json_depth, problems, unpacking
from smartmob.kernel.http.problems import MAX_PATH_CHARACTERS
from smartmob.kernel.http.routing import Route

T = TypeVar("T")


class BodyReader:
    """Reads and unpacks request bodies within limits of size and time.

    `limit` is in bytes of the unpacked body; `routes` tells which routes have a lower limit of their own. Waiting for a
    body may take `timeout` seconds, and one second more for each `least_rate` bytes received. `seconds` is the clock.
    """

    def __init__(
        self,
        limit: int,
        timeout: float,
        least_rate: float = 0.0,
        routes: Mapping[web.AbstractRoute, Route] | None = None,
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.timeout = timeout
        self._least_rate = least_rate
        self._routes = {} if routes is None else routes
        self._seconds = seconds

    async def read(self, request: web.Request) -> bytes:
        """Return the whole body, unpacked; raises TooLarge, TooSlow, InvalidInput, or the answer 415."""
        limit = self._limit(request)
        content = request.content
        if content.is_eof() and hdrs.CONTENT_ENCODING not in request.headers:
            data = content.read_nowait()  # it arrived together with the headers
            if len(data) > limit:
                raise self._too_large(limit)
            return data
        length = request.content_length
        if length is not None and length > limit:
            raise self._too_large(limit)
        return await self._joined(request, limit)

    async def _joined(self, request: web.Request, limit: int) -> bytes:
        """Return a body that arrives in several chunks; raises TooLarge above `limit` bytes."""
        parts, size = [], 0
        async for chunk in self._unpacked(request, limit):
            size += len(chunk)
            if size > limit:
                raise self._too_large(limit)
            parts.append(chunk)
        return b"".join(parts)

    def chunks(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the unpacked body as it arrives, of any size; raises the errors of `read` except TooLarge."""
        return self._unpacked(request, None)

    def _limit(self, request: web.Request) -> int:
        route = self._routes.get(request.match_info.route)
        own = None if route is None or route.body is None else route.body.limit
        return self.limit if own is None else min(own, self.limit)

    async def _unpacked(self, request: web.Request, max_packed: int | None) -> AsyncIterator[bytes]:
        """Yield the unpacked body; raises TooLarge if the packed body has more than `max_packed` bytes."""
        unpacker = unpacking.unpacker(request.headers.get(hdrs.CONTENT_ENCODING, ""))
        size = 0
        async for chunk in self._raw(request):
            size += len(chunk)
            if max_packed is not None and size > max_packed:
                raise self._too_large(max_packed)
            if unpacker is None:
                yield chunk
                continue
            for piece in unpacker.feed(chunk):
                yield piece
                await asyncio.sleep(0)
        if unpacker is not None:
            unpacker.end()

    async def _raw(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the body as the client sent it."""
        content, seconds, waited, size = request.content, self._seconds, 0.0, 0
        if not content.is_eof():
            await send_continue(request)
        while True:
            left = self.timeout
            if self._least_rate:
                left = min(left, self.timeout + size / self._least_rate - waited)
            began = seconds()
            try:
                async with asyncio.timeout(left):
                    chunk = await content.readany()
            except TimeoutError:
                raise self._too_slow(left) from None
            except (HttpProcessingError, web.RequestPayloadError) as error:
                raise InvalidInput(f"the framing of the body is not valid HTTP: {error}") from None
            if not chunk:
                return
            waited += seconds() - began
            size += len(chunk)
            if self._least_rate and waited > self.timeout + size / self._least_rate:
                raise self._too_slow(0.0)
            yield chunk

    def _too_slow(self, waited: float) -> TooSlow:
        if waited == self.timeout:
            return TooSlow(f"no byte of the body arrived for {self.timeout:g} s")
        return TooSlow(
            f"the body took more than {self.timeout:g} s and arrived at less than {self._least_rate:g} bytes a second"
        )

    def _too_large(self, limit: int) -> TooLarge:
        if limit < self.limit:
            return TooLarge(f"the body has more than {limit} bytes, which is the limit of this address")
        return TooLarge(f"the body has more than {limit} bytes; send less at once, or raise --max-body")


async def send_continue(request: web.Request) -> None:
    """Send 100 Continue to a client that waits for it (RFC 9110, section 10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def form(data: bytes, max_fields: int = 100) -> dict[str, str]:
    """Return the fields of a URL-encoded form; raises InvalidInput, also for more than `max_fields`."""
    try:
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=max_fields))
    except ValueError:
        raise InvalidInput(f"the form is not URL-encoded text of at most {max_fields} fields") from None


def decode(decoder: msgspec.json.Decoder[T], data: bytes, where: str = "$") -> T:
    """Return `data` as the decoder's type; raises InvalidInput that names the field.

    The document must fit the type, must not be nested too deeply, and must not contain NUL characters.
    """
    json_depth.check(data, where)
    try:
        document = decoder.decode(data)
        if b"\\" in data and b"\\u0000" in data:  # a single byte is found faster, and most documents have no escapes
            _refuse_nul(msgspec.json.decode(data), where)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise problems.invalid(error, where, kind=decoder.type, data=data) from None
    return document


def _refuse_nul(value: object, where: str) -> None:
    """Raise InvalidInput for a text with a NUL character, which JSON allows and PostgreSQL cannot store."""
    found = _nul(value)
    if found is not None:
        raise InvalidInput.at(f"{where}{found}"[:MAX_PATH_CHARACTERS], "a text cannot contain the NUL character")


def _nul(value: object) -> str | None:
    """Return the JSON path below `value` of the first text with a NUL, or None.

    The path is put together only when a NUL was found.
    """
    if isinstance(value, str):
        return "" if "\0" in value else None
    if isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                return ""
            found = _nul(item)
            if found is not None:
                return f".{key[:MAX_PATH_CHARACTERS]}{found}"[:MAX_PATH_CHARACTERS]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found = _nul(item)
            if found is not None:
                return f"[{index}]{found}"[:MAX_PATH_CHARACTERS]
    return None


def query(request: web.Request, kind: type[T]) -> T:
    """Return the query arguments as the Struct `kind`; raises InvalidInput that names the argument."""
    given = dict(request.query)
    for name, value in given.items():
        _refuse_nul(value, name)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        found = problems.invalid(error, "").faults[0]
        raise InvalidInput.at(found.where.lstrip("."), found.message) from None


def parameter(request: web.Request, name: str) -> str:
    """Return the path parameter called `name`; raises InvalidInput if it contains a NUL character."""
    value = request.match_info[name]
    _refuse_nul(value, name)
    return value


def wants_html(request: web.Request) -> bool:
    """Return whether the client accepts HTML, as a browser that shows a page does."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")
