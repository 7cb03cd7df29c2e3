"""One connection to an HTTP server, for the commands: one request after the other, each with its answer.

It uses h11 over asyncio's streams, because importing aiohttp's client takes 0.15 s of processor time, most of it for
TLS settings that a command for http:// never uses, and importing h11 takes 0.01 s. A command should start in 0.2 s.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

import h11
import msgspec

from smartmob.errors import RemoteError

_READ_BYTES = 256 * 1024
_HEAD_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_FIRST_TLS_BYTES = (b"\x15\x03", b"\x16\x03")
"""Content type and version of a TLS alert and of a handshake (RFC 8446, section 5.1)."""

Body = bytes | AsyncIterable[bytes] | None


class NotHttp(Exception):
    """The server's bytes are not HTTP; `tls` says whether they are TLS."""

    def __init__(self, message: str, *, tls: bool = False) -> None:
        super().__init__(message)
        self.tls = tls


class Closed(ConnectionError):
    """The server closed the connection; `unanswered` says whether it did so without a byte of an answer."""

    def __init__(self, *, unanswered: bool) -> None:
        super().__init__("the server closed it without an answer" if unanswered else "the answer is cut off")
        self.unanswered = unanswered


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a server, and the user and password that its URL contains."""

    scheme: str
    host: str
    port: int
    path: str = ""
    credentials: tuple[str, str] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parsed(cls, url: str) -> Origin | None:
        """Return the origin of a URL, or None for text that is not an http or https URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return None
        if parts.scheme not in _PORTS or not parts.hostname or not url.isprintable() or " " in url:
            return None
        credentials = None
        if parts.username is not None or parts.password is not None:
            credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
        default = _PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname, default if port is None else port, parts.path.rstrip("/"), credentials)

    @property
    def authority(self) -> bytes:
        """Return the header Host: the name, in brackets if it is an address of IPv6, and an unusual port."""
        if ":" in self.host:
            name = f"[{self.host}]".encode()
        else:
            name = self.host.encode() if self.host.isascii() else self.host.encode("idna")
        return name if self.port == _PORTS[self.scheme] else name + b":%d" % self.port

    @property
    def root(self) -> str:
        """Return the URL without a path."""
        return f"{self.scheme}://{self.authority.decode()}"


class ResponseHead(msgspec.Struct):
    """The head of an answer; header names are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    connection: HttpConnection

    @property
    def content_type(self) -> str:
        """Return the media type without parameters."""
        return self.headers.get("content-type", "application/octet-stream").split(";")[0].strip().lower()

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        return self.connection.body()


class HttpConnection:
    """A connection on which one request at a time is answered.

    Its methods raise Closed, NotHttp, TimeoutError, or another OSError.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: Origin) -> None:
        self.used = False
        self._reader = reader
        self._writer = writer
        self._origin = origin
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        self._silence: float | None = None
        self._sending: asyncio.Task[None] | None = None
        self._received = self._ended = False

    @classmethod
    async def opened(cls, origin: Origin, context: ssl.SSLContext | None, seconds: float) -> Self:
        """Return a connection to the first address of the server that accepts one within `seconds`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            failure: OSError | None = None
            for family, kind, protocol, _, address in found:
                one = socket.socket(family, kind, protocol)
                try:
                    one.setblocking(False)
                    await loop.sock_connect(one, address)
                    name = origin.host if context is not None else None
                    reader, writer = await asyncio.open_connection(
                        sock=one, ssl=context, server_hostname=name, limit=_READ_BYTES
                    )
                except BaseException as error:
                    one.close()
                    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError):
                        raise
                    failure = failure or error
                else:
                    return cls(reader, writer, origin)
        raise failure or OSError(f"{origin.host} has no address")

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, silence: float | None
    ) -> ResponseHead:
        """Send a request and return the head of its answer; the server may be silent for `silence` seconds.

        Raises RemoteError for an invalid target.
        """
        self.used, self._silence, self._received = True, silence, False
        try:
            request = h11.Request(
                method=method,
                target=target.encode("ascii"),
                headers=[(b"Host", self._origin.authority), *_framed(headers, body)],
            )
        except (UnicodeEncodeError, h11.LocalProtocolError):
            raise RemoteError(f"{target[:200]!r} is not the path of a request") from None
        self._writer.write(self._http.send(request) or b"")
        if body is None or isinstance(body, bytes):
            self._write(body)
            await self._drained()
        else:
            # A server may refuse a body before its end, so the answer is awaited meanwhile.
            self._sending = asyncio.get_running_loop().create_task(self._stream(body), name="smartmob-body")
        return await self._head()

    def _write(self, body: bytes | None) -> None:
        if body:
            self._writer.write(self._http.send(h11.Data(data=body)) or b"")
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(self._silence):
                await self._writer.drain()
        except ConnectionError:
            pass  # an answer may have arrived before; reading shows it

    async def _stream(self, body: AsyncIterable[bytes]) -> None:
        async for chunk in body:
            if chunk:
                self._writer.write(self._http.send(h11.Data(data=chunk)) or b"")
                await self._drained()
            if self._writer.is_closing():
                return
        self._write(None)
        await self._drained()

    async def _head(self) -> ResponseHead:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                return ResponseHead(event.status_code, event.reason.decode("latin-1"), headers, self)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body of the answer as it arrives."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return

    async def _event(self) -> h11.Event:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise self._failure(error) from None
            if event is h11.NEED_DATA:
                await self._receive()
            elif isinstance(event, h11.Event) and not isinstance(event, h11.ConnectionClosed):
                return event
            else:
                raise Closed(unanswered=not self._received)

    async def _receive(self) -> None:
        if self._sending is None or self._sending.done():
            async with asyncio.timeout(self._silence):
                data = await self._reader.read(_READ_BYTES)
        else:
            data = await self._read_while_sending(self._sending)
        first = not self._received
        self._received = self._received or bool(data)
        self._ended = not data
        if first and data[:2] in _FIRST_TLS_BYTES:
            raise NotHttp("the server answers with TLS", tls=True)
        self._http.receive_data(data)

    async def _read_while_sending(self, sending: asyncio.Task[None]) -> bytes:
        reading = asyncio.get_running_loop().create_task(self._reader.read(_READ_BYTES), name="smartmob-answer")
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()  # reading the body may have failed
            async with asyncio.timeout(self._silence):
                return await reading
        finally:
            reading.cancel()

    def _failure(self, error: h11.RemoteProtocolError) -> Exception:
        if self._ended:
            return Closed(unanswered=not self._received)
        return NotHttp(f"the server's answer is not HTTP: {error}")

    def reusable(self) -> bool:
        """Return whether the answer has been read and another request can be sent."""
        if self._sending is not None:
            if not self._sending.done():
                return False
            self._sending = None
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self._reader.at_eof()

    def is_open(self) -> bool:
        """Return whether the connection is open, as far as is known."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def close(self) -> None:
        """Close the connection at once."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        self._writer.transport.abort()


def _framed(headers: Mapping[str, str], body: Body) -> list[tuple[bytes, bytes]]:
    """Return headers with the length of the body, or with the announcement of chunks."""
    found = list(headers.items())
    if isinstance(body, bytes):
        found.append(("Content-Length", str(len(body))))
    elif body is not None and "Content-Length" not in headers:
        found.append(("Transfer-Encoding", "chunked"))
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found]


async def answers_tls(origin: Origin, seconds: float) -> bool:
    """Return whether a server begins TLS at this address, whatever its certificate is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        connection = await HttpConnection.opened(origin, context, seconds)
    except (OSError, TimeoutError):
        return False
    await connection.close()
    return True
