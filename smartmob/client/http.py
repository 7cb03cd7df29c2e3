"""The REST client of the command line: one HTTP session with one service.

It needs aiohttp's client and no module of the server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from smartmob import __version__
from smartmob.client import tls_trust
from smartmob.client.limits import LIMITS
from smartmob.errors import RemoteError

NDJSON = "application/x-ndjson"
OCTETS = "application/octet-stream"
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_HEARTBEAT_SECONDS = 30.0
_LONGEST_DETAIL = 4_000  # characters
_LONGEST_ID = 200  # characters


class ConnectionBroken(RemoteError):
    """The connection to the server broke."""


class RestClient:
    """A connection to the service at `url`; use it as an async context manager.

    Every method raises RemoteError, with the detail of the problem that the server sent.
    """

    def __init__(self, url: str, token: str | None = None, ca_file: tls_trust.CAFile = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ca_file = ca_file
        self._headers = {"User-Agent": f"smartmob/{__version__}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None

    def for_service(self, url: str) -> RestClient:
        """Return a client of another service that accepts the same token."""
        return RestClient(url, self.token, self.ca_file)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=LIMITS.silence_seconds)
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=timeout,
            read_bufsize=LIMITS.line_bytes,
            json_serialize=_dumps,
            connector=tls_trust.connector(self.ca_file),
            trace_configs=[tls_trust.redirect_guard()],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: object) -> Any:
        """Return the document at `path`, which is quoted, or None for an answer without content (204)."""
        async with self._request("GET", path, query) as response:
            return await _document(response)

    async def rows(self, path: str, name: str) -> AsyncIterator[Any]:
        """Yield the elements of the list `name` of each page, beginning with the page at `path`.

        Raises RemoteError for a list that exceeds LIMITS.
        """
        size, first = 0, path
        for _ in range(LIMITS.pages):
            async with self._request("GET", path, {}) as response:
                body = b"" if response.status == 204 else await _whole(response, LIMITS.document_bytes)
            size += len(body)
            if size > LIMITS.document_bytes:
                raise RemoteError(_too_large())
            page = _parsed(body) if body else {name: []}
            for row in page[name]:
                yield row
            if (cursor := page.get("next")) is not None:
                path = f"{first}&after={quote(str(cursor), safe='')}"
            elif page.get("next_url") is not None:
                path = page["next_url"]
            else:
                return
        raise RemoteError(f"the server's list has more than {LIMITS.pages} pages")

    async def post(self, path: str, document: object) -> Any:
        """Send a document and return the answer."""
        async with self._request("POST", path, {}, json=document) as response:
            return await _document(response)

    async def patch(self, path: str, document: object) -> Any:
        """Send a change of the resource at `path` and return the answer."""
        async with self._request("PATCH", path, {}, json=document) as response:
            return await _document(response)

    async def put(self, path: str, document: object, **query: object) -> Any:
        """Store a document at `path` and return the answer."""
        async with self._request("PUT", path, query, json=document) as response:
            return await _document(response)

    async def post_bytes(self, path: str, data: bytes, media_type: str, **query: str) -> Any:
        """Send bytes of a media type and return the answer."""
        async with self._request("POST", path, query, data=data, headers={"Content-Type": media_type}) as response:
            return await _document(response)

    async def frames(self, path: str) -> AsyncIterator[Any]:
        """Yield the documents that arrive on the WebSocket at `path` until the service closes it."""
        assert self._session is not None
        try:
            async with self._session.ws_connect(
                URL(self.url + path, encoded=True), max_msg_size=LIMITS.line_bytes
            ) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        raise RemoteError("the server sent bytes where JSON is expected")
                    yield _parsed(message.data)
                if socket.close_code != aiohttp.WSCloseCode.OK:
                    raise ConnectionBroken(f"the connection to {self.url} broke")
        except aiohttp.WSServerHandshakeError as error:
            raise RemoteError(f"the server answered {error.status} {error.message}", error.status) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ConnectionBroken(f"the connection to {self.url} broke: {_reason_of(error)}") from None

    async def delete(self, path: str) -> Any:
        """Delete the resource at `path` and return the answer."""
        async with self._request("DELETE", path, {}) as response:
            return await _document(response)

    async def send_lines(self, path: str, lines: AsyncIterable[bytes], **query: object) -> Any:
        """Send JSON documents, one per line, as `lines` yields them; return the answer."""
        async with self._request("POST", path, query, data=lines, headers={"Content-Type": NDJSON}) as response:
            return await _document(response)

    async def upload(self, path: str, chunks: AsyncIterable[bytes], size: int) -> Any:
        """Send a file of `size` bytes as `chunks` yields it; return the answer."""
        headers = {"Content-Type": OCTETS, "Content-Length": str(size)}
        async with self._request("POST", path, {}, data=chunks, headers=headers) as response:
            return await _document(response)

    @asynccontextmanager
    async def socket(self, path: str, **query: object) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open the WebSocket at `path` until the end of the block; heartbeats detect a lost server."""
        assert self._session is not None
        timeout = aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS)
        with self._failures():
            try:
                socket = await self._session.ws_connect(
                    self._address(path, query), timeout=timeout, heartbeat=_HEARTBEAT_SECONDS, autoclose=False
                )
            except aiohttp.WSServerHandshakeError as error:
                # aiohttp drops the body of a refused handshake; a plain request returns the same problem.
                await self.get(path, **query)
                raise RemoteError(f"the server opened no WebSocket: it answered {error.status}", error.status) from None
        async with socket:
            yield socket

    async def lines(self, path: str, **query: object) -> AsyncIterator[bytes]:
        """Yield the documents of a listing as lines of JSON, as they arrive."""
        size = 0
        async with self._request("GET", path, query, headers={"Accept": NDJSON}) as response:
            _check_type(response, NDJSON)
            try:
                async for line in response.content:
                    size = _counted(size, line, LIMITS.listing_bytes)
                    yield line
            except (ValueError, HttpProcessingError):
                raise RemoteError(f"the server sent a line of more than {LIMITS.line_bytes} bytes") from None

    async def documents(self, path: str, **query: object) -> AsyncIterator[Any]:
        """Yield the documents of a listing that the caller keeps as a whole, and which LIMITS therefore bounds."""
        size = 0
        async for line in self.lines(path, **query):
            size += len(line)
            if size > LIMITS.document_bytes:
                raise RemoteError(_too_large())
            yield _parsed(line)

    async def chunks(
        self,
        path: str,
        accept: str,
        *,
        max_bytes: int | None = None,
        patient: bool = False,
        query: Mapping[str, object] | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield a body of the media type `accept` as it arrives, at most `max_bytes` bytes.

        With `patient` the server may be silent for any time.
        """
        options = {"timeout": aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)} if patient else {}
        size = 0
        async with self._request("GET", path, query or {}, headers={"Accept": accept}, **options) as response:
            _check_type(response, accept)
            async for chunk in response.content.iter_any():
                size = _counted(size, chunk, max_bytes or LIMITS.listing_bytes)
                yield chunk

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, object], **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        with self._failures():
            async with self._session.request(method, self._address(path, query), **options) as response:
                if response.status >= 400:
                    raise RemoteError(await _problem(response), response.status)
                yield response

    def _address(self, path: str, query: Mapping[str, object]) -> URL:
        if not path.startswith("/"):
            # The server sent this link; appended to the host it could name another host.
            raise RemoteError(f"the server names {path[:200]!r}, which is not a path")
        # A list repeats its key.
        given = {
            key: [str(one) for one in value] if isinstance(value, list) else str(value) for key, value in query.items()
        }
        return URL(self.url + path, encoded=True).update_query(given)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Replace errors of the connection by a RemoteError of one line."""
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            raise RemoteError(f"cannot connect to {self.url}: {tls_trust.certificate_problem(error)}") from None
        except aiohttp.ClientConnectorError as error:
            raise ConnectionBroken(
                f"cannot connect to {self.url}: {_reason(error)}. Is the service running there?"
            ) from None
        except (aiohttp.InvalidURL, aiohttp.InvalidUrlClientError, aiohttp.NonHttpUrlClientError):
            raise RemoteError(f"{self.url!r} is not the address of a service, such as http://127.0.0.1:8080") from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ConnectionBroken(f"the connection to {self.url} broke: {_reason_of(error)}") from None


def _reason(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    # The messages of asyncio contain addresses; errors of name resolution and TLS have no errno of the system.
    if cause.errno is None or cause.errno <= 0 or isinstance(error, aiohttp.ClientSSLError):
        return cause.strerror or str(cause)
    return os.strerror(cause.errno)


async def _document(response: aiohttp.ClientResponse) -> Any:
    return None if response.status == 204 else _parsed(await _whole(response, LIMITS.document_bytes))


async def _whole(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return a body; raises RemoteError for more than `max_bytes` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise RemoteError(_too_large(max_bytes))
    return bytes(body)


def _too_large(max_bytes: int | None = None) -> str:
    return f"the server's answer has more than {max_bytes or LIMITS.document_bytes} bytes"


def _counted(size: int, chunk: bytes, max_bytes: int) -> int:
    """Return the number of bytes received including `chunk`; raises RemoteError for more than `max_bytes`."""
    size += len(chunk)
    if size > max_bytes:
        raise RemoteError(_too_large(max_bytes))
    return size


def _check_type(response: aiohttp.ClientResponse, wanted: str) -> None:
    """Check that a body has the media type that was requested; raises RemoteError."""
    if response.content_type != wanted:
        raise RemoteError(f"the server answered {response.content_type[:_LONGEST_ID]} where {wanted} was asked for")


def _parsed(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RemoteError("the server answered something that is not JSON; is it a smartmob service?") from None


async def _problem(response: aiohttp.ClientResponse) -> str:
    """Return the detail of the problem that the server sent, in one line."""
    try:
        problem = _parsed(await _whole(response, LIMITS.problem_bytes))
        return f"{str(problem['detail'])[:_LONGEST_DETAIL]} (request {str(problem['request_id'])[:_LONGEST_ID]})"
    except (RemoteError, KeyError, TypeError, aiohttp.ClientError, TimeoutError):
        return f"the server answered {response.status} {(response.reason or '')[:_LONGEST_ID]}"


def _dumps(document: object) -> str:
    return orjson.dumps(document).decode()


def _reason_of(error: BaseException) -> str:
    if isinstance(error, aiohttp.SocketTimeoutError):
        return "the server said nothing for too long"
    return str(error) or type(error).__name__
