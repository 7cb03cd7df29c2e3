"""The REST client of the command line: requests to one service.

Plain requests need neither aiohttp nor any module of the server (see `http_connection` for the reason); a WebSocket
imports aiohttp's client when it is opened.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import h11
import orjson

from smartmob import __version__
from smartmob.client import http_answers, refusals, request_targets, reservation, tls_trust
from smartmob.client.http_connection import Body, Closed, HttpConnection, NotHttp, Origin, ResponseHead, answers_tls
from smartmob.client.limits import LIMITS
from smartmob.client.refusals import NotSmartmob
from smartmob.errors import RemoteError

if TYPE_CHECKING:
    import aiohttp

JSON = "application/json"
NDJSON = "application/x-ndjson"
OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_HEARTBEAT_SECONDS = 30.0
_FIRST_FAULT = 500  # the lowest status of an error of the service itself
_LONGEST_DETAIL = 4_000  # characters
_LONGEST_ID = 200  # characters
_MOST_REDIRECTS = 10  # of one request
_REDIRECTS = (301, 302, 303, 307, 308)  # statuses (RFC 9110, section 15.4)
_UNKNOWN_ROUTE = "There is nothing at this address"
"""The beginning of the problem of a path that the service does not have, as opposed to one of an unknown name."""
_UNKNOWN_ARGUMENT = "this address has no such query argument"
UNKNOWN_REQUEST = 501
"""The status of RemoteError for a request that the service does not know, as opposed to an unknown name (404)."""


class ConnectionBroken(RemoteError):
    """The connection to the server broke."""


async def refusal_of(url: str, token: str | None, ca_file: tls_trust.CAFile, path: str) -> str | None:
    """Return why the service at `url` refuses a plain request to `path`; None if it does not, or cannot be reached.

    The answer to a refused WebSocket says less.
    """
    try:
        async with asyncio.timeout(_CONNECT_SECONDS), RestClient(url, token, ca_file) as rest:
            await rest.get(path)
    except (ConnectionBroken, TimeoutError):
        return None
    except RemoteError as error:
        return str(error)
    return None


class RestClient:
    """A client of the service at `url`; use it as an async context manager.

    Every method raises RemoteError, with the detail of the problem that the server sent.
    """

    def __init__(self, url: str, token: str | None = None, ca_file: tls_trust.CAFile = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ca_file = ca_file
        self._origin: Origin | None = None
        self._context: ssl.SSLContext | None = None
        self._headers = {"User-Agent": f"smartmob/{__version__}", "Accept": "*/*"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._headers |= reservation.SHOWN.headers()
        self._asked_version = False
        self._idle: list[HttpConnection] = []
        self._answered = False  # by this server, or asked for its health
        self._session: aiohttp.ClientSession | None = None

    def for_service(self, url: str) -> RestClient:
        """Return a client of another service that accepts the same token."""
        return RestClient(url, self.token, self.ca_file)

    async def __aenter__(self) -> Self:
        if self.ca_file is not None:
            self._context = tls_trust.context(self.ca_file)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            await self._idle.pop().close()
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: object) -> Any:
        """Return the document at `path`, which is quoted, or None for an answer without content (204)."""
        async with self._request("GET", path, query) as response:
            return await self._document(response)

    async def rows(self, path: str, name: str) -> AsyncIterator[Any]:
        """Yield the elements of the list `name` of each page, beginning with the page at `path`.

        Raises RemoteError for a list that exceeds LIMITS.
        """
        size, first = 0, path
        for _ in range(LIMITS.pages):
            async with self._request("GET", path, {}) as response:
                body = b"" if response.status == 204 else await http_answers.whole(response, LIMITS.document_bytes)
                page = http_answers.parsed(response, body, self.url) if body else {name: []}
            size += len(body)
            if size > LIMITS.document_bytes:
                raise RemoteError(http_answers.too_large())
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
        return await self._send("POST", path, document, {})

    async def patch(self, path: str, document: object) -> Any:
        """Send a change of the resource at `path` and return the answer."""
        return await self._send("PATCH", path, document, {})

    async def put(self, path: str, document: object, **query: object) -> Any:
        """Store a document at `path` and return the answer."""
        return await self._send("PUT", path, document, query)

    async def _send(self, method: str, path: str, document: object, query: Mapping[str, object]) -> Any:
        body, headers = orjson.dumps(document), {"Content-Type": JSON}
        async with self._request(method, path, query, body, headers) as response:
            return await self._document(response)

    async def post_bytes(self, path: str, data: bytes, media_type: str, **query: str) -> Any:
        """Send bytes of a media type and return the answer."""
        async with self._request("POST", path, query, data, {"Content-Type": media_type}) as response:
            return await self._document(response)

    async def frames(self, path: str) -> AsyncIterator[Any]:
        """Yield the documents that arrive on the WebSocket at `path` until the service closes it."""
        import aiohttp
        from yarl import URL

        try:
            async with self._sockets().ws_connect(
                URL(self.url + path, encoded=True), max_msg_size=LIMITS.line_bytes
            ) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        raise RemoteError("the server sent bytes where JSON is expected")
                    yield http_answers.json_of(message.data)
                if socket.close_code != aiohttp.WSCloseCode.OK:
                    raise ConnectionBroken(f"the connection to {self.url} was lost")
        except aiohttp.WSServerHandshakeError as error:
            raise RemoteError(f"the server answered {error.status} {error.message}", error.status) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ConnectionBroken(f"the connection to {self.url} was lost: {http_answers.reason_of(error)}") from None

    async def delete(self, path: str, **query: object) -> Any:
        """Delete the resource at `path` and return the answer."""
        async with self._request("DELETE", path, query) as response:
            return await self._document(response)

    async def send_lines(self, path: str, lines: AsyncIterable[bytes], **query: object) -> Any:
        """Send JSON documents, one per line, as `lines` yields them; return the answer."""
        async with self._request("POST", path, query, lines, {"Content-Type": NDJSON}) as response:
            return await self._document(response)

    async def upload(self, path: str, chunks: AsyncIterable[bytes], size: int) -> Any:
        """Send a file of `size` bytes as `chunks` yields it; return the answer."""
        headers = {"Content-Type": OCTETS, "Content-Length": str(size)}
        async with self._request("POST", path, {}, chunks, headers) as response:
            return await self._document(response)

    @asynccontextmanager
    async def socket(self, path: str, **query: object) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open the WebSocket at `path` until the end of the block; heartbeats detect a lost server."""
        import aiohttp
        from yarl import URL

        timeout = aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS)
        address = URL(self.url + request_targets.with_query(path, query), encoded=True)
        try:
            socket = await self._sockets().ws_connect(
                address, timeout=timeout, heartbeat=_HEARTBEAT_SECONDS, autoclose=False
            )
        except aiohttp.WSServerHandshakeError as error:
            # aiohttp drops the body of a refused handshake; a plain request returns the same problem.
            await self.get(path, **query)
            raise RemoteError(f"the server opened no WebSocket: it answered {error.status}", error.status) from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL):
            # The sentence of a plain request says more, and names the reason in the words of the other commands.
            await self.get(path, **query)
            raise ConnectionBroken(f"the connection to {self.url} was lost") from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ConnectionBroken(f"the connection to {self.url} was lost: {http_answers.reason_of(error)}") from None
        try:
            async with socket:
                yield socket
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ConnectionBroken(f"the connection to {self.url} was lost: {http_answers.reason_of(error)}") from None

    def _sockets(self) -> aiohttp.ClientSession:
        """Return the session of WebSockets, which the first call creates."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=LIMITS.silence_seconds),
                connector=tls_trust.connector(self.ca_file),
                trace_configs=[tls_trust.redirect_guard()],
            )
        return self._session

    async def lines(self, path: str, **query: object) -> AsyncIterator[bytes]:
        """Yield the documents of a listing as lines of JSON, as they arrive."""
        size, rest = 0, bytearray()
        async with self._request("GET", path, query, headers={"Accept": NDJSON}) as response:
            http_answers.check_type(response, NDJSON, self.url)
            async for chunk in response.chunks():
                size = http_answers.counted(size, chunk, LIMITS.listing_bytes)
                rest += chunk
                if b"\n" in chunk:
                    *found, tail = rest.split(b"\n")
                    rest = tail
                    for line in found:
                        http_answers.check_line(line)
                        yield bytes(line) + b"\n"
                http_answers.check_line(rest)
        if rest:
            yield bytes(rest)

    async def documents(self, path: str, **query: object) -> AsyncIterator[Any]:
        """Yield the documents of a listing that the caller keeps as a whole, so that LIMITS bounds it."""
        size = 0
        async for line in self.lines(path, **query):
            size += len(line)
            if size > LIMITS.document_bytes:
                raise RemoteError(http_answers.too_large())
            yield http_answers.json_of(line)

    async def chunks(
        self,
        path: str,
        accept: str,
        *,
        max_bytes: int | None = None,
        patient: bool = False,
        query: Mapping[str, object] | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield a body of type `accept` as it arrives, at most `max_bytes` bytes; with `patient` at any pace."""
        size = 0
        async with self._request("GET", path, query or {}, headers={"Accept": accept}, patient=patient) as response:
            http_answers.check_type(response, accept, self.url)
            async for chunk in response.chunks():
                size = http_answers.counted(size, chunk, max_bytes or LIMITS.listing_bytes)
                yield chunk

    # -- one request ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        *,
        patient: bool = False,
    ) -> AsyncIterator[ResponseHead]:
        """Send a request, and yield its answer, which is not a refusal."""
        if not path.startswith("/"):
            # The server sent this link; appended to the host it could name another host.
            raise RemoteError(f"the server names {path[:200]!r}, which is not a path")
        silence = None if patient else LIMITS.silence_seconds
        target = self._its_origin().path + request_targets.with_query(path, query)
        async with self._failures():
            for _ in range(_MOST_REDIRECTS):
                answer = await self._answer(method, target, self._headers | dict(headers or {}), body, silence)
                try:
                    if answer.status in _REDIRECTS and "location" in answer.headers:
                        target = request_targets.redirected(self.url, self._its_origin(), method, target, answer)
                        continue
                    if answer.status >= 400:
                        raise await self._refusal(answer)
                    yield answer
                finally:
                    await self._done_with(answer.connection)
                return
        raise RemoteError(f"{self.url} redirects more than {_MOST_REDIRECTS} times")

    async def _answer(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, silence: float | None
    ) -> ResponseHead:
        while True:
            connection = self._reused() or await self._opened()
            fresh = not connection.used
            try:
                return await self._watched(connection.request(method, target, headers, body, silence))
            except (Closed, ConnectionError) as error:
                await connection.close()
                # The server may have closed an idle connection at the moment of the request.
                if fresh or method != "GET" or (isinstance(error, Closed) and not error.unanswered):
                    raise
            except BaseException:
                await connection.close()
                raise

    async def _watched(self, request: Coroutine[Any, Any, ResponseHead]) -> ResponseHead:
        """Return the answer to a request; raises RemoteError if the server never answered and is not alive.

        A service may calculate for minutes, but it answers `/health` meanwhile. A port of another protocol accepts a
        connection and then sends nothing.
        """
        task = asyncio.get_running_loop().create_task(request)
        try:
            done, _ = await asyncio.wait({task}, timeout=None if self._answered else LIMITS.first_answer_seconds)
            if not done:
                await self._check_alive()
            answer = await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        self._answered = True
        return answer

    async def _check_alive(self) -> None:
        connection = await self._opened()
        try:
            health = self._its_origin().path + "/health"
            await connection.request("GET", health, self._headers, None, LIMITS.health_seconds)
        except TimeoutError:
            raise RemoteError(refusals.says_nothing(self.url)) from None
        except (Closed, NotHttp, ConnectionError):
            return  # the waiting request gives a better reason
        finally:
            await connection.close()

    def _reused(self) -> HttpConnection | None:
        while self._idle:
            if (connection := self._idle.pop()).is_open():
                return connection
        return None

    async def _opened(self) -> HttpConnection:
        origin = self._its_origin()
        if origin.scheme == "https" and self._context is None:
            self._context = tls_trust.context()
        context = self._context if origin.scheme == "https" else None
        try:
            return await HttpConnection.opened(origin, context, _CONNECT_SECONDS)
        except ssl.SSLCertVerificationError as error:
            raise RemoteError(f"cannot connect to {self.url}: {tls_trust.certificate_problem(error)}") from None
        except ssl.SSLError as error:
            if error.reason in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
                raise RemoteError(refusals.speaks(self.url, tls=False)) from None
            raise ConnectionBroken(f"cannot connect to {self.url}: {error.strerror or error}") from None
        except (OSError, UnicodeError) as error:
            raise ConnectionBroken(
                f"cannot connect to {self.url}: {http_answers.os_reason(error)}. Is the service running there?"
            ) from None

    async def _done_with(self, connection: HttpConnection) -> None:
        if connection.reusable():
            self._idle.append(connection)
        else:
            await connection.close()

    def _its_origin(self) -> Origin:
        if self._origin is None:
            origin = Origin.parsed(self.url)
            if origin is None:
                raise RemoteError(f"{self.url!r} is not the address of a service, such as http://127.0.0.1:8080")
            if origin.credentials is not None and self.token is None:
                pair = b64encode(":".join(origin.credentials).encode()).decode()
                self._headers["Authorization"] = f"Basic {pair}"
            self._origin = origin
        return self._origin

    @asynccontextmanager
    async def _failures(self) -> AsyncIterator[None]:
        """Replace errors of the connection by a RemoteError of one line."""
        try:
            yield
        except (Closed, NotHttp) as error:
            if error.tls if isinstance(error, NotHttp) else error.unanswered:
                await self._check_tls()
            await self._check_service()
            raise ConnectionBroken(f"the connection to {self.url} was lost: {error}") from None
        except h11.RemoteProtocolError as error:
            raise ConnectionBroken(f"the connection to {self.url} was lost: {error}") from None
        except (TimeoutError, ConnectionError) as error:
            if isinstance(error, ConnectionError) and not self._answered:
                await self._check_tls()  # it may reset a connection whose body it has not read
            await self._check_service()
            raise ConnectionBroken(f"the connection to {self.url} was lost: {http_answers.reason_of(error)}") from None

    async def _check_tls(self) -> None:
        """Raise RemoteError if a server at an http:// address begins TLS."""
        if self._its_origin().scheme == "http" and await answers_tls(self._its_origin(), _CONNECT_SECONDS):
            raise RemoteError(refusals.speaks(self.url, tls=True)) from None

    async def _check_service(self) -> None:
        """Raise NotSmartmob if another web server answers: it may reset a connection whose body it has not read."""
        if self._answered:
            return
        self._answered = True
        try:
            await self.get("/health")
        except NotSmartmob:
            raise
        except RemoteError:
            return  # the failed request gives a better reason

    async def versions(self) -> str:
        """Return the versions of the service and of this client if they differ, otherwise ""."""
        if self._asked_version:
            return ""
        self._asked_version = True
        try:
            return refusals.other_version(str((await self.get("/health")).get("version", ""))[:_LONGEST_ID])
        except (RemoteError, AttributeError):
            return ""

    # -- answers ----------------------------------------------------------------------------------------------------

    async def _document(self, answer: ResponseHead) -> Any:
        if answer.status == 204:
            return None
        return http_answers.parsed(answer, await http_answers.whole(answer, LIMITS.document_bytes), self.url)

    async def _refusal(self, answer: ResponseHead) -> RemoteError:
        """Return the error for an answer that refuses the request."""
        status = answer.status
        try:
            problem = http_answers.json_of(await http_answers.whole(answer, LIMITS.problem_bytes))
            detail, request = str(problem["detail"]), str(problem["request_id"])[:_LONGEST_ID]
        except (RemoteError, KeyError, TypeError, TimeoutError, ConnectionError, NotHttp):
            if status == 401:
                return RemoteError(refusals.not_authenticated(self.token), status)
            reason = f"{status} {answer.reason[:_LONGEST_ID]}".rstrip()
            if status >= 500 or http_answers.is_service(answer):
                return RemoteError(f"the server answered {reason}", status)
            return NotSmartmob(self.url, f"it answers {reason}")
        if status == 401:
            return RemoteError(refusals.not_authenticated(self.token), status)
        if status == 405 or detail.startswith(_UNKNOWN_ROUTE) or _UNKNOWN_ARGUMENT in detail:
            versions = await self.versions() or f"client {__version__}"
            if self._its_origin().path and detail.startswith(_UNKNOWN_ROUTE):
                return RemoteError(refusals.wrong_path(self.url, versions), UNKNOWN_REQUEST)
            return RemoteError(f"the service is of another version and cannot do this ({versions})", UNKNOWN_REQUEST)
        said = refusals.for_people(detail[:_LONGEST_DETAIL])
        # For faults of the service, its log says more. For a wrong name, the text already says everything.
        return RemoteError(f"{said} (request {request})" if status >= _FIRST_FAULT else said, status)
