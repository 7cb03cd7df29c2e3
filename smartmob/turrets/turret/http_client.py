"""A small HTTP/1.1 client for load test scripts, several times faster than a general one.

One user keeps one connection to each host and has one request under way at a time. Cookies, redirects, compression and
proxies are not supported; a script that needs them uses aiohttp.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from smartmob.turrets.turret.http_answer import AnswerParser

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""The idempotent methods (RFC 9110, section 9.2.2)."""
_MOST_CACHED_HEADS = 1000
"""Beginnings of requests, one for each method and URL, that are kept so that they are built once."""
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]"
"""Characters of a path and query that are sent as they are, with letters, digits and `-._~` (RFC 3986, section 2).

The others are percent-encoded as UTF-8, as browsers do it. A `%` that is there already is kept.
"""


class HttpError(Exception):
    """The request got no usable answer; `code` is the HTTP status, `timeout`, the name of an errno, or ""."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class HttpTraffic:
    """The bytes of HTTP that all users of this process have sent and received."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0


TRAFFIC = HttpTraffic()


class Answer:
    """A response: its status, its headers as they were received, and its body.

    `sent` and `received` are the bytes of the request and of the response with their heads. The times are in seconds:
    `total` for the whole request, `first_byte` from sending to the first byte of the response; `connect` and `tls` are
    what opening the connection took, and 0 on one that was open.
    """

    __slots__ = ("_head", "_on_refused", "body", "connect", "first_byte", "received", "sent", "status", "tls", "total")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self._head = head
        self.body = body
        self.sent = self.received = 0
        self.connect = self.tls = self.first_byte = self.total = 0.0
        self._on_refused: Callable[[HttpError], None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers by their names in lower case. If several have the same name, the last one counts."""
        lines = self._head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the JSON document of the body."""
        return json.loads(self.body)

    def subscribe(self, on_refused: Callable[[HttpError], None]) -> None:
        """Call `on_refused` with the error that `expect` raises; a timed client sets its timer after the request."""
        self._on_refused = on_refused

    def expect(self, *statuses: int) -> Answer:
        """Return this response if its status is one of `statuses` (without any: below 400). Raises HttpError."""
        if self.status not in statuses if statuses else self.status >= 400:
            error = HttpError(f"HTTP {self.status}", str(self.status))
            if self._on_refused is not None:
                self._on_refused(error)
            raise error
        return self


class Http:
    """The connections of one user. `timeout`: seconds within which a response must be complete.

    `headers` are sent with every request. A user name and password in a URL are sent as basic authentication
    (RFC 7617), unless one of `headers` is `Authorization`. `context` is used for https; the default verifies
    certificates. Every method raises HttpError.
    """

    def __init__(
        self,
        timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._context = context
        self._connections: dict[tuple[str, str, int], _Connection] = {}
        self._heads: dict[tuple[str, str], tuple[tuple[str, str, int], bytes]] = {}

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET request and return the response."""
        return await self.request("GET", url, headers=headers)

    async def post(
        self, url: str, body: bytes | str = b"", document: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a POST request with a body, or with `document` as JSON, and return the response."""
        body, headers = self.encoded(body, document, headers)
        return await self.request("POST", url, body, headers)

    @staticmethod
    def encoded(
        body: bytes | str, document: Any, headers: Mapping[str, str] | None
    ) -> tuple[bytes | str, Mapping[str, str] | None]:
        """Return body and headers of a request, with `document`, unless it is None, as JSON in place of `body`."""
        if document is None:
            return body, headers
        return json.dumps(document), {"Content-Type": "application/json"} | dict(headers or {})

    async def request(
        self, method: str, url: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and return the response."""
        if headers and "@" in url and _has_authorization(headers):
            origin, head = self._head(method, url, credentials=False)
        else:
            origin, head = self._heads.get((method, url)) or self._cached_head(method, url)
        data = body.encode() if isinstance(body, str) else body
        if headers or data:
            lines = [line + "\r\n" for line in _header_lines(headers or {})]
            if data or method in ("POST", "PUT", "PATCH"):
                lines.append(f"Content-Length: {len(data)}\r\n")
            head = head + "".join(lines).encode("latin-1")
        request = head + b"\r\n" + data
        begun = time.perf_counter()
        connection = self._connections.get(origin)
        if connection is not None and connection.open:
            try:
                answer = await connection.ask(request, method, self._timeout)
            except _ClosedWhileIdle:
                # The server closed the connection before it read the request (RFC 9112, section 9.3.1).
                if method not in _SAFE_TO_REPEAT:
                    raise HttpError("the server closed the connection") from None
            else:
                answer.total = time.perf_counter() - begun
                return answer
        self._connections[origin] = made = await self._connect(origin)
        try:
            answer = await made.ask(request, method, self._timeout)
        except _ClosedWhileIdle:
            raise HttpError("the server closed the connection without an answer") from None
        answer.total = time.perf_counter() - begun
        answer.connect, answer.tls = made.connect_seconds, made.tls_seconds
        return answer

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _cached_head(self, method: str, url: str) -> tuple[tuple[str, str, int], bytes]:
        """Return what `_head` returns, and keep it for further requests."""
        if len(self._heads) >= _MOST_CACHED_HEADS:
            self._heads.clear()
        made = self._heads[method, url] = self._head(method, url)
        return made

    def _head(self, method: str, url: str, *, credentials: bool = True) -> tuple[tuple[str, str, int], bytes]:
        """Return the origin of a URL (scheme, host, port) and the first lines of its request.

        Without `credentials` the user name and password of the URL are left out.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (KeyError, ValueError):
            raise HttpError(f"{url!r} is not an http or https URL") from None
        if not parts.hostname:
            raise HttpError(f"{url!r} has no host")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = _ascii_host(parts.hostname)
        host = parts.netloc.rpartition("@")[2] if parts.netloc.isascii() else name + f":{parts.port}" * bool(parts.port)
        try:
            target = quote(path, _URL_CHARACTERS)
        except UnicodeEncodeError:
            raise HttpError(f"{url!r} has a lone surrogate, which is not a character") from None
        lines = [_checked(f"{method} {target} HTTP/1.1"), _checked(f"Host: {host}")]
        with_user = credentials and not _has_authorization(self._headers)
        own = _credentials(parts) if with_user else {}
        lines += ["User-Agent: smartmob-turret", *_header_lines(own | self._headers)]
        return (parts.scheme, name, port), "".join(line + "\r\n" for line in lines).encode("latin-1")

    async def _connect(self, origin: tuple[str, str, int]) -> _Connection:
        scheme, host, port = origin
        secure = (self._context or ssl.create_default_context()) if scheme == "https" else None
        loop, begun = asyncio.get_running_loop(), time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                if secure is None:
                    _, connection = await loop.create_connection(_Connection, host, port)
                    reached = time.perf_counter()
                else:
                    transport, opened = await loop.create_connection(_Connection, host, port)
                    reached = time.perf_counter()
                    # The protocol of the plain connection gives its transport to that of the encrypted one.
                    connection = await _encrypted(transport, opened, secure, host)
                connection.connect_seconds = reached - begun
                connection.tls_seconds = time.perf_counter() - reached if secure is not None else 0.0
        except TimeoutError:
            raise HttpError(f"cannot connect to {host}:{port} within {self._timeout:g} s", "timeout") from None
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "")
            raise HttpError(f"cannot connect to {host}:{port}: {error.strerror or error}", code) from None
        return connection


async def _encrypted(
    transport: asyncio.Transport, connection: _Connection, context: ssl.SSLContext, host: str
) -> _Connection:
    """Return the connection after the TLS handshake; the transport is closed when that fails."""
    try:
        made = await asyncio.get_running_loop().start_tls(transport, connection, context, server_hostname=host)
    except BaseException:
        transport.abort()
        raise
    assert made is not None
    connection.use(made)
    return connection


class _ClosedWhileIdle(Exception):
    """The connection was closed before the first byte of a response."""


class _Connection(asyncio.Protocol):
    """One connection, and the response that is awaited on it."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser = AnswerParser()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._received = 0
        self._asked_at = self._first_byte = 0.0
        self.connect_seconds = self.tls_seconds = 0.0

    def use(self, transport: asyncio.Transport) -> None:
        """Send and receive by this transport."""
        self._transport = transport

    async def ask(self, request: bytes, method: str, timeout: float) -> Answer:
        """Send a request and return the response. After an error the connection cannot be used again."""
        assert self._transport is not None
        self._answer = self._loop.create_future()
        self._parser = AnswerParser(bodiless=method == "HEAD")
        self._deadline = self._loop.time() + timeout
        if self._timer is None:
            # One timer serves many requests: when it fires and the deadline has moved, it is set again.
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        self._received, self._asked_at = 0, time.perf_counter()
        self._transport.write(request)
        TRAFFIC.sent += len(request)
        try:
            answer = await self._answer
            answer.sent, answer.received, answer.first_byte = len(request), self._received, self._first_byte
            return answer
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Close the connection without waiting for unsent data."""
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._parser.started and error is None and self._parser.end():
            self._finish()
        elif self._parser.started:
            self._fail(HttpError("the connection was lost in the middle of an answer"))
        else:
            self._fail(_ClosedWhileIdle())

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # No request is active that these bytes could answer.
            self.close()
            return
        if not self._received:
            self._first_byte = time.perf_counter() - self._asked_at
        self._received += len(data)
        TRAFFIC.received += len(data)
        try:
            if self._parser.feed(data):
                self._finish()
        except ValueError as error:
            self._fail(HttpError(f"the answer is not HTTP/1.1: {error}"))
            self.close()

    def _finish(self) -> None:
        parser = self._parser
        if parser.last:
            self.open = False
            if self._transport is not None:
                self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(parser.status, parser.head, parser.body))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._answer is None:
            return
        if self._loop.time() >= self._deadline:
            self._fail(HttpError("no complete answer in time", "timeout"))
            self.close()
        else:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)


def _header_lines(headers: Mapping[str, str]) -> list[str]:
    """Return headers as lines without their ends; raises HttpError for one that cannot be sent."""
    return [_checked(f"{name}: {value}") for name, value in headers.items()]


def _has_authorization(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "authorization" for name in headers)


def _credentials(parts: SplitResult) -> dict[str, str]:
    """Return the header for the user name and password of a URL, if it has them."""
    if parts.username is None:
        return {}
    given = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(given.encode()).decode()}"}


def _ascii_host(name: str) -> str:
    """Return the name of a host in the form of the DNS (RFC 3490); raises HttpError if it has none."""
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError as error:
        raise HttpError(f"{name!r} cannot be the name of a host: {error}") from None


def _checked(text: str) -> str:
    """Return the text if it can be in a request line or header.

    Raises HttpError for one with a line end, a NUL, or characters beyond Latin-1, which a header cannot have.
    """
    if any(character in text for character in "\r\n\0"):
        raise HttpError(f"{text!r} cannot be part of the head of a request")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise HttpError(
            f"{text!r} has characters that a header cannot have: encode them, or send them in the body"
        ) from None
    return text
