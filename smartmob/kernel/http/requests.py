"""What every request passes: its id, the rules of access, errors made into answers, and the access log."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

import msgspec
import orjson
import structlog
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from smartmob.errors import InvalidInput, NotAllowed, NotAuthenticated, SmartmobError, TooLarge, TooSlow
from smartmob.kernel.auth.authenticator import VISITOR, HostRules, TokenAuthenticator
from smartmob.kernel.auth.model import CONTROL, Principal
from smartmob.kernel.http import json_depth, problems, unpacking
from smartmob.kernel.http.json_response import JSONResponse
from smartmob.kernel.http.problems import LONGEST_PLACE
from smartmob.kernel.http.routing import Route
from smartmob.kernel.observability.log import REQUEST_ID

log = structlog.get_logger()

T = TypeVar("T")

HEADER = "X-Request-Id"
_SMALL_REST = 64 * 1024
_STRICT_TRANSPORT = "max-age=31536000"
_CLIENT_GONE = 499  # what web servers write into their logs; nobody gets to see the answer
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_QUOTED = re.compile(r"[:'\"\n]")
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

FinishedRequest = tuple[str, str, int, float, str]
"""Method, path, status, duration in seconds, request id."""

AccessLog = Callable[[list[FinishedRequest]], None]


class RequestStats:
    """Counts finished requests and hands them to the access log: once for all that finish in one turn of the loop."""

    def __init__(self, access_log: AccessLog) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.durations = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.under_way = 0
        self._access_log = access_log
        self._held: list[FinishedRequest] = []
        self._stopped: asyncio.Event | None = None

    def add(self, finished: FinishedRequest) -> None:
        """Take note of one request."""
        self._held.append(finished)
        if len(self._held) == 1:
            asyncio.get_running_loop().call_soon(self._settle)

    @property
    def stopping(self) -> bool:
        """Return whether the service takes no further requests."""
        return self._stopped is not None

    async def finish(self, seconds: float) -> None:
        """Let each connection end with its present request, and return when there is none or the time is up."""
        self._stopped = asyncio.Event()
        if self.under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()

    def leave(self) -> None:
        """Take note that a request is no longer under way."""
        self.under_way -= 1
        if not self.under_way and self._stopped is not None:
            self._stopped.set()

    def _settle(self) -> None:
        held, self._held = self._held, []
        for method, _, status, duration, _ in held:
            self.requests[method, status] += 1
            self.durations[bisect_left(BUCKETS, duration)] += 1
            self.seconds += duration
        self._access_log(held)


@dataclass(frozen=True, slots=True)
class RequestGate:
    """What decides on a request before its handler sees it."""

    tokens: TokenAuthenticator
    hosts: HostRules
    public: frozenset[str]
    request_stats: RequestStats
    known: Mapping[web.AbstractRoute, Route] = field(default_factory=dict)
    fresh_id: Callable[[], str] = field(default_factory=lambda: _request_ids())

    def admit(self, request: web.Request) -> Principal | None:
        """Return who had to show a token; raises NotAllowed or NotAuthenticated when the request may not pass."""
        headers = request.headers
        upgrade = headers.get(hdrs.UPGRADE)
        # aiohttp strips as well, so nothing is a WebSocket for it that is none here.
        socket = upgrade is not None and upgrade.strip().lower() == "websocket"
        self.hosts.check(request.method, headers, socket, request.secure)
        if not self.tokens.required or self._is_public(request):
            return None
        visitor = self._authenticate(request)
        VISITOR.set(visitor)
        if visitor.role != CONTROL:
            self._check_role(request, visitor, socket)
        return visitor

    def _authenticate(self, request: web.Request) -> Principal:
        cookie = self.tokens.cookie_of(request.cookies, request.secure)
        return self.tokens.admit(request.headers.get(hdrs.AUTHORIZATION), cookie, request.remote, request.path)

    def _check_role(self, request: web.Request, visitor: Principal, socket: bool) -> None:
        route = self.known.get(request.match_info.route)
        if route is None and request.match_info.http_exception is not None:
            return  # there is no such route, which the router says
        if route is None:
            raise NotAllowed(f"a token with the role {visitor.role} may not use this")
        allowed = route.socket_roles if socket and route.socket_roles else route.allowed
        if visitor.role not in allowed:
            raise NotAllowed(
                f"the token {visitor.token} has the role {visitor.role}, and this asks for "
                f"{' or '.join(allowed)}. `smartmob token add` makes tokens"
            )

    def _is_public(self, request: web.Request) -> bool:
        resource = request.match_info.route.resource
        return (request.path if resource is None else resource.canonical) in self.public

    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Return the one middleware of the application."""
        perf_counter, request_stats, fresh_id = time.perf_counter, self.request_stats, self.fresh_id

        @web.middleware
        async def enter(request: web.Request, handler: Any) -> web.StreamResponse:
            started = perf_counter()
            given = request.headers.get(HEADER)
            request_id = given if given is not None and _SANE_ID.fullmatch(given) else fresh_id()
            REQUEST_ID.set(request_id)
            request_stats.under_way += 1
            try:
                visitor = self.admit(request)
                response: web.StreamResponse
                if visitor is None or visitor.token is None:
                    response = await handler(request)
                else:
                    response = await self.tokens.active_requests.accompany(visitor, request, handler)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                response = refuse(request, error, request_id)
            finally:
                request_stats.leave()
            if request_stats.stopping or (not request.content.is_eof() and not _will_end_soon(request)):
                response.force_close()
            if not response.prepared:
                response.headers[HEADER] = request_id
                _protect(response.headers, request.secure)
            request_stats.add((request.method, request.path, response.status, perf_counter() - started, request_id))
            return response

        return enter

    def turn_away(self, request: web.BaseRequest, error: Exception) -> JSONResponse:
        """Return the answer to a request that no handler sees: it is no HTTP, or it failed on its way."""
        request_id = self.fresh_id()
        REQUEST_ID.set(request_id)
        if isinstance(error, HttpProcessingError):
            reason = why_malformed(error)
            response = problems.response(InvalidInput(f"this is no request of HTTP: {reason}"), "", request_id)
        else:
            reason = None
            log.error("http.failed", method=request.method, path=request.path, exc_info=error)
            response = problems.response(error, request.path, request_id)
        response.headers[HEADER] = request_id
        _protect(response.headers, request.secure)
        # What does not even begin like HTTP, such as TLS and port scanners, would only fill the log.
        if not isinstance(error, BadHttpMethod):
            if reason is not None:
                log.info("http.malformed", reason=reason)
            self.request_stats.add((request.method, request.path, response.status, 0.0, request_id))
        return response


def _will_end_soon(request: web.Request) -> bool:
    """Return whether what was not read of a body is so little that the connection can go on behind it."""
    announced = request.content_length
    return announced is not None and announced <= _SMALL_REST and hdrs.EXPECT not in request.headers


def _protect(headers: MutableMapping[str, str], secure: bool) -> None:
    """Add what tells a browser to take an answer for what it says it is, and to come by TLS where there is TLS."""
    headers["X-Content-Type-Options"] = "nosniff"
    if secure:
        headers["Strict-Transport-Security"] = _STRICT_TRANSPORT


def why_malformed(error: HttpProcessingError) -> str:
    """Return what is wrong with a request, without what it contained: that may be a secret."""
    return _QUOTED.split(error.message, maxsplit=1)[0].strip() or "it is malformed"


def _request_ids() -> Callable[[], str]:
    # Unique across services and restarts by the random part, and a hundred times cheaper than a UUID for each.
    prefix, numbers = secrets.token_hex(6), itertools.count(1)
    return lambda: f"{prefix}-{next(numbers):x}"


def refuse(request: web.Request, error: Exception, request_id: str) -> web.StreamResponse:
    """Return the answer to a request that failed with `error`; a bug is logged with its traceback."""
    if isinstance(error, NotAuthenticated) and request.method == "GET" and wants_html(request):
        return web.Response(status=303, headers={"Location": f"/login?next={quote(str(request.rel_url), safe='/')}"})
    if isinstance(error, web.HTTPException) and error.status < 400:
        return web.Response(status=error.status, headers=error.headers)
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return web.Response(status=_CLIENT_GONE)
    if not isinstance(error, SmartmobError | web.HTTPException):
        log.error("http.failed", method=request.method, path=request.path, exc_info=error)
    return problems.response(error, request.path, request_id)


def wants_html(request: web.Request) -> bool:
    """Return whether the client is a browser that shows a page."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")


def json_response(document: Any, status: int = 200) -> JSONResponse:
    """Return an answer whose body is `document` as JSON: a Struct, or plain objects."""
    return JSONResponse(msgspec.json.encode(document), status)


def dumps(document: Any) -> bytes:
    """Return plain objects as JSON, by the fastest encoder for those."""
    return orjson.dumps(document, option=orjson.OPT_UTC_Z)


async def stream(
    request: web.Request,
    chunks: AsyncIterator[bytes],
    media_type: str,
    name: str | None = None,
    further: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send `chunks` as they come, with `further` headers; with `name` a browser offers to save them.

    What fails before the first chunk becomes an ordinary error. Later the connection is cut, so that the client does
    not take a part for the whole.
    """
    headers = {"Content-Type": media_type, HEADER: REQUEST_ID.get() or "", **(further or {})}
    _protect(headers, request.secure)
    if name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    iterator = aiter(chunks)
    first = await anext(iterator, b"")
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await response.write(first)
        async for chunk in iterator:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has left
    except Exception as error:
        log.error("http.stream_broken", path=request.path, exc_info=error)
        if request.transport is not None:
            request.transport.abort()
    return response


class BodyReader:
    """Reads, unpacks and decodes request bodies within their limits of size and time.

    `known` tells the limits of routes that have their own. A body may take `timeout` seconds of waiting, and one second
    more for each `least_rate` bytes of it that have come; `seconds` is the clock that counts them.
    """

    def __init__(
        self,
        limit: int,
        timeout: float,
        least_rate: float = 0.0,
        known: Mapping[web.AbstractRoute, Route] | None = None,
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.timeout = timeout
        self._least_rate = least_rate
        self._known = {} if known is None else known
        self._seconds = seconds

    async def read(self, request: web.Request) -> bytes:
        """Return the whole body, unpacked; raises TooLarge, TooSlow, InvalidInput, or the answer 415."""
        limit = self._limit(request)
        announced = request.content_length
        if announced is not None and announced > limit:
            raise self._too_large(limit)
        content = request.content
        if content.is_eof() and hdrs.CONTENT_ENCODING not in request.headers:
            data = content.read_nowait()  # it has come with the headers
            if len(data) > limit:
                raise self._too_large(limit)
            return data
        parts, size = [], 0
        async for chunk in self._unpacked(request, limit):
            size += len(chunk)
            if size > limit:
                raise self._too_large(limit)
            parts.append(chunk)
        return b"".join(parts)

    def chunks(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the body as it comes, unpacked, of whatever size; raises as `read`, without TooLarge."""
        return self._unpacked(request, None)

    def _limit(self, request: web.Request) -> int:
        route = self._known.get(request.match_info.route)
        own = None if route is None or route.body is None else route.body.limit
        return self.limit if own is None else min(own, self.limit)

    async def _unpacked(self, request: web.Request, most: int | None) -> AsyncIterator[bytes]:
        """Yield the body unpacked; what is packed may itself have `most` bytes."""
        packed = unpacking.unpacker(request.headers.get(hdrs.CONTENT_ENCODING, ""))
        size = 0
        async for chunk in self._raw(request):
            size += len(chunk)
            if most is not None and size > most:
                raise self._too_large(most)
            if packed is None:
                yield chunk
                continue
            for piece in packed.feed(chunk):
                yield piece
                await asyncio.sleep(0)
        if packed is not None:
            packed.end()

    async def _raw(self, request: web.Request) -> AsyncIterator[bytes]:
        """Yield the body as it was sent."""
        content, seconds, waited, size = request.content, self._seconds, 0.0, 0
        if not content.is_eof():
            await _go_on(request)
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
                raise InvalidInput(f"the body is not framed as HTTP demands: {error}") from None
            if not chunk:
                return
            waited += seconds() - began
            size += len(chunk)
            if self._least_rate and waited > self.timeout + size / self._least_rate:
                raise self._too_slow(0.0)
            yield chunk

    def _too_slow(self, waited: float) -> TooSlow:
        if waited == self.timeout:
            return TooSlow(f"no byte of the body came for {self.timeout:g} s")
        return TooSlow(
            f"the body took more than {self.timeout:g} s and came with less than {self._least_rate:g} bytes a second"
        )

    def _too_large(self, limit: int) -> TooLarge:
        if limit < self.limit:
            return TooLarge(f"the body has more than {limit} bytes, which is all that this address takes")
        return TooLarge(f"the body has more than {limit} bytes; send less at a time, or raise --max-body")


async def _go_on(request: web.Request) -> None:
    """Tell a client that asks for it to send its body."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def form(data: bytes, most: int = 100) -> dict[str, str]:
    """Return the fields of a form of at most `most` of them; raises InvalidInput."""
    try:
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=most))
    except ValueError:
        raise InvalidInput(f"the form is not URL-encoded text of at most {most} fields") from None


def decode(decoder: msgspec.json.Decoder[T], data: bytes, where: str = "$") -> T:
    """Return `data` as the decoder's type; raises InvalidInput that names the field.

    It does so for what does not fit the type, for more levels than are walked, and for NUL characters.
    """
    json_depth.check(data, where)
    try:
        document = decoder.decode(data)
        if b"\\u0000" in data:
            _refuse_nul(msgspec.json.decode(data), where)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise problems.invalid(error, where) from None
    return document


def _refuse_nul(value: object, where: str) -> None:
    """Raise InvalidInput for a text with a NUL character, which JSON allows and PostgreSQL cannot store."""
    found = _nul(value)
    if found is not None:
        raise InvalidInput.at(f"{where}{found}"[:LONGEST_PLACE], "a text cannot contain the NUL character")


def _nul(value: object) -> str | None:
    """Return where below `value` a text with a NUL is, or None; a place is only put together when there is one."""
    if isinstance(value, str):
        return "" if "\0" in value else None
    if isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                return ""
            found = _nul(item)
            if found is not None:
                return f".{key[:LONGEST_PLACE]}{found}"[:LONGEST_PLACE]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found = _nul(item)
            if found is not None:
                return f"[{index}]{found}"[:LONGEST_PLACE]
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
    """Return a part of the path; raises InvalidInput for what no stored text can contain."""
    value = request.match_info[name]
    _refuse_nul(value, name)
    return value
