"""The HTTP client of smartmob's own commands and of scripts: one session with one service.

It runs alone on any machine: it needs aiohttp's client and nothing of the server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from smartmob import __version__
from smartmob.client import trust
from smartmob.errors import RemoteError

NDJSON = "application/x-ndjson"
OCTETS = "application/octet-stream"
_CONNECT_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_HEARTBEAT_SECONDS = 30.0
_LONGEST_LINE = 4 * 1024 * 1024
_LARGEST_DOCUMENT = 64 * 1024 * 1024
_LARGEST_COMPLAINT = 1024 * 1024
_LONGEST_DETAIL = 4_000
_LONGEST_ID = 200
_TOO_LARGE = f"the server's answer has more than {_LARGEST_DOCUMENT} bytes"


class Lab:
    """A connection to the service at `url`; use it as an async context manager.

    Every method raises RemoteError, with the server's own words where it gave some.
    """

    def __init__(self, url: str, token: str | None = None, ca_file: trust.CAFile = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._ca_file = ca_file
        self._headers = {"User-Agent": f"smartmob/{__version__}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None

    def beside(self, url: str) -> Lab:
        """Return a connection to another service that takes the same token."""
        return Lab(url, self._token, self._ca_file)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=timeout,
            read_bufsize=_LONGEST_LINE,
            json_serialize=_dumps,
            connector=trust.connector(self._ca_file),
            trace_configs=[trust.redirects()],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: object) -> Any:
        """Return the document at `path` (already quoted), or None where there is none (204)."""
        async with self._request("GET", path, query) as response:
            return await _document(response)

    async def post(self, path: str, document: object) -> Any:
        """Send a document and return the answer."""
        async with self._request("POST", path, {}, json=document) as response:
            return await _document(response)

    async def post_bytes(self, path: str, data: bytes, media_type: str) -> Any:
        """Send bytes of a media type and return the answer."""
        async with self._request("POST", path, {}, data=data, headers={"Content-Type": media_type}) as response:
            return await _document(response)

    async def frames(self, path: str) -> AsyncIterator[Any]:
        """Yield the documents that come over the WebSocket at `path` until the service closes it."""
        assert self._session is not None
        try:
            async with self._session.ws_connect(
                URL(self.url + path, encoded=True), max_msg_size=_LONGEST_LINE
            ) as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield _parsed(message.data)
                if socket.close_code != aiohttp.WSCloseCode.OK:
                    raise RemoteError(f"the connection to {self.url} broke")
        except aiohttp.WSServerHandshakeError as error:
            raise RemoteError(f"the server answered {error.status} {error.message}", error.status) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RemoteError(f"the connection to {self.url} broke: {str(error) or type(error).__name__}") from None

    async def delete(self, path: str) -> Any:
        """Remove what is at `path` and return the answer."""
        async with self._request("DELETE", path, {}) as response:
            return await _document(response)

    async def send_lines(self, path: str, lines: AsyncIterable[bytes], **query: object) -> Any:
        """Send JSON documents, one a line, as they come; return the answer."""
        async with self._request("POST", path, query, data=lines, headers={"Content-Type": NDJSON}) as response:
            return await _document(response)

    async def upload(self, path: str, chunks: AsyncIterable[bytes], size: int) -> Any:
        """Send a file of `size` bytes as it comes; return the answer."""
        headers = {"Content-Type": OCTETS, "Content-Length": str(size)}
        async with self._request("POST", path, {}, data=chunks, headers=headers) as response:
            return await _document(response)

    @asynccontextmanager
    async def socket(self, path: str, **query: object) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Give the WebSocket at `path` until the end of the block; a server that is gone is noticed by a heartbeat."""
        assert self._session is not None
        timeout = aiohttp.ClientWSTimeout(ws_close=_GOODBYE_SECONDS)
        with self._failures():
            try:
                socket = await self._session.ws_connect(
                    self._address(path, query), timeout=timeout, heartbeat=_HEARTBEAT_SECONDS, autoclose=False
                )
            except aiohttp.WSServerHandshakeError as error:
                # What a refused handshake says is lost; the same request without one is told.
                await self.get(path, **query)
                raise RemoteError(f"the server opened no WebSocket: it answered {error.status}", error.status) from None
        async with socket:
            yield socket

    async def lines(self, path: str, **query: object) -> AsyncIterator[bytes]:
        """Yield the documents of a listing as lines of JSON, as they come."""
        async with self._request("GET", path, query, headers={"Accept": NDJSON}) as response:
            try:
                async for line in response.content:
                    yield line
            except ValueError:
                raise RemoteError(f"the server sent a line of more than {_LONGEST_LINE} bytes") from None

    async def documents(self, path: str, **query: object) -> AsyncIterator[Any]:
        """Yield the documents of a listing that is kept as a whole, and so has a largest size."""
        size = 0
        async for line in self.lines(path, **query):
            size += len(line)
            if size > _LARGEST_DOCUMENT:
                raise RemoteError(_TOO_LARGE)
            yield _parsed(line)

    async def chunks(self, path: str, accept: str, **query: object) -> AsyncIterator[bytes]:
        """Yield the body of a listing in another format, as it comes."""
        async with self._request("GET", path, query, headers={"Accept": accept}) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, object], **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        with self._failures():
            async with self._session.request(method, self._address(path, query), **options) as response:
                if response.status >= 400:
                    raise RemoteError(await _complaint(response), response.status)
                yield response

    def _address(self, path: str, query: Mapping[str, object]) -> URL:
        if not path.startswith("/"):
            # A link of the server's: behind a host it could be the name of another one.
            raise RemoteError(f"the server names {path[:200]!r}, which is no path")
        return URL(self.url + path, encoded=True).update_query({key: str(value) for key, value in query.items()})

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Say in one line what goes wrong on the way to the server."""
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            raise RemoteError(f"cannot connect to {self.url}: {trust.distrust(error)}") from None
        except aiohttp.ClientConnectorError as error:
            raise RemoteError(
                f"cannot connect to {self.url}: {_reason(error)}. Is the service running there?"
            ) from None
        except (aiohttp.InvalidURL, aiohttp.InvalidUrlClientError, aiohttp.NonHttpUrlClientError):
            raise RemoteError(f"{self.url!r} is not the address of a service, such as http://127.0.0.1:8080") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RemoteError(f"the connection to {self.url} broke: {str(error) or type(error).__name__}") from None


def _reason(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    # asyncio puts addresses into its messages; what is wrong with names and TLS has numbers of its own.
    if cause.errno is None or cause.errno <= 0 or isinstance(error, aiohttp.ClientSSLError):
        return cause.strerror or str(cause)
    return os.strerror(cause.errno)


async def _document(response: aiohttp.ClientResponse) -> Any:
    return None if response.status == 204 else _parsed(await _whole(response, _LARGEST_DOCUMENT))


async def _whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return a body; raises RemoteError for one of more than `most` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise RemoteError(_TOO_LARGE)
    return bytes(body)


def _parsed(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RemoteError("the server answered something that is no JSON; is it a smartmob service?") from None


async def _complaint(response: aiohttp.ClientResponse) -> str:
    """Return what the server says is wrong."""
    try:
        problem = _parsed(await _whole(response, _LARGEST_COMPLAINT))
        return f"{str(problem['detail'])[:_LONGEST_DETAIL]} (request {str(problem['request_id'])[:_LONGEST_ID]})"
    except (RemoteError, KeyError, TypeError):
        return f"the server answered {response.status} {(response.reason or '')[:_LONGEST_ID]}"


def _dumps(document: object) -> str:
    return orjson.dumps(document).decode()
