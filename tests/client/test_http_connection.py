"""Connections of the commands: requests, answers in their pieces, and servers of other kinds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import h11
import pytest

from smartmob.client.http import RestClient
from smartmob.client.http_connection import Closed, HttpConnection, NotHttp, Origin, answers_tls
from smartmob.errors import RemoteError
from tests.certificates import Authority

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _served(answer: Answering, context: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    async with asyncio.TaskGroup() as handlers:

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await answer(reader, writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handlers.create_task(handle(reader, writer))

        async with await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context) as server:
            scheme = "http" if context is None else "https"
            yield Origin(scheme, "127.0.0.1", server.sockets[0].getsockname()[1])


def _always(answer: bytes, *, end: bool = True) -> Answering:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(answer)
            if end:
                return

    return respond


async def _get(origin: Origin, silence: float = 800.0) -> tuple[int, bytes]:
    connection = await HttpConnection.opened(origin, None, 800.0)
    try:
        answer = await connection.request("GET", "/", {}, None, silence)
        return answer.status, b"".join([chunk async for chunk in answer.chunks()])
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("http://lab", ("http", "lab", 80, b"lab")),
        ("https://lab/", ("https", "lab", 443, b"lab")),
        ("http://lab:8080/x", ("http", "lab", 8080, b"lab:8080")),
        ("http://[::1]:9", ("http", "::1", 9, b"[::1]:9")),
        ("http://b\u00fccher", ("http", "b\u00fccher", 80, b"xn--bcher-kva")),
        *((bad, None) for bad in ("ftp://a", "http://", "a:1", "", "http://a:99999", "http://a b", "http://[1/")),
    ],
)
def test_a_url_has_scheme_host_and_port(url: str, parsed: tuple[str, str, int, bytes] | None) -> None:
    """A URL has a scheme, a host, a port and a header Host; other texts are no URL."""
    origin = Origin.parsed(url)
    assert (origin and (origin.scheme, origin.host, origin.port, origin.authority)) == parsed


def test_a_user_in_the_url() -> None:
    """User and password are unquoted, and are not shown."""
    origin = Origin.parsed("http://ci:a%40b@lab")
    assert origin is not None
    assert origin.credentials == ("ci", "a@b")
    assert "a@b" not in repr(origin)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a"),
    ],
)
async def test_a_body_ends_by_length_chunks_or_connection(answer: bytes, body: bytes) -> None:
    """A body ends by its length, by chunks or with the connection; interim answers are skipped."""
    async with _served(_always(answer)) as origin:
        assert await _get(origin) == (200, body)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (b"", Closed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Closed),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NotHttp),
        (b"\x15\x03\x01\x00\x02\x02\x16", NotHttp),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, NotHttp),
    ],
)
async def test_what_is_no_answer(answer: bytes, raised: type[Exception]) -> None:
    """A closed connection, a cut body, other protocols, TLS and endless headers are told apart."""
    async with _served(_always(answer)) as origin:
        with pytest.raises(raised):
            await _get(origin)


async def test_a_silent_server_is_given_up() -> None:
    """A server that says nothing for the given time is given up."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _served(silent) as origin:
        with pytest.raises(TimeoutError):
            await _get(origin, 0.05)


async def test_a_body_that_is_refused_before_its_end() -> None:
    """The answer to a part of a body is read, and the rest of the body is not sent."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    async with _served(refuse) as origin:
        connection = await HttpConnection.opened(origin, None, 800.0)
        answer = await connection.request("POST", "/", {}, endless(), 800.0)
        assert answer.status == 413
        assert not connection.reusable()
        await connection.close()


async def test_an_error_of_the_body_ends_the_request() -> None:
    """An exception of what reads the body is raised, and does not wait for an answer that never comes."""

    async def bodies() -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError("the file is gone")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _served(silent) as origin:
        connection = await HttpConnection.opened(origin, None, 800.0)
        with pytest.raises(OSError, match="the file is gone"):
            await connection.request("POST", "/", {}, bodies(), 800.0)
        await connection.close()


async def test_what_is_sent_is_http() -> None:
    """An independent reader finds the method, the length and the body of a request."""
    events: list[object] = []
    over = asyncio.Event()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = h11.Connection(h11.SERVER)
        while not events or not isinstance(events[-1], h11.EndOfMessage):
            event = server.next_event()
            if event is h11.NEED_DATA:
                server.receive_data(await reader.read(65_536))
            else:
                events.append(event)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await over.wait()

    async with _served(read) as origin:
        connection = await HttpConnection.opened(origin, None, 800.0)
        assert (await connection.request("PUT", "/a?b=c", {"A": "b"}, b"body", 800.0)).status == 204
        over.set()
        await connection.close()
    request, data = events[0], events[1]
    assert isinstance(request, h11.Request)
    assert isinstance(data, h11.Data)
    assert (request.method, request.target, bytes(data.data)) == (b"PUT", b"/a?b=c", b"body")
    assert dict(request.headers)[b"content-length"] == b"4"


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u00e4"])
async def test_what_is_no_path(target: str) -> None:
    """A path of a server that would break out of the request line is refused."""
    async with _served(_always(b"")) as origin:
        connection = await HttpConnection.opened(origin, None, 800.0)
        with pytest.raises(RemoteError, match="is not the path"):
            await connection.request("GET", target, {}, None, 800.0)
        await connection.close()


async def test_a_connection_is_used_again() -> None:
    """Requests one after the other share a connection; one that the server has closed meanwhile is replaced."""
    connections = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7")

    async with _served(respond) as origin, RestClient(f"http://127.0.0.1:{origin.port}") as rest:
        assert [await rest.get("/") for _ in range(5)] == [7] * 5
    assert connections == 3


async def test_the_right_scheme_of_a_server_is_named(tmp_path: Path) -> None:
    """A server of TLS is found by a handshake, and the client says which scheme is the right one for each."""
    authority = Authority(tmp_path)
    certificate = authority.issue("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    plain = _always(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7", end=False)
    async with _served(plain) as clear, _served(plain, context) as secret:
        assert await answers_tls(secret, 800.0)
        assert not await answers_tls(clear, 800.0)
        for scheme, origin, said in (
            ("https", clear, f"give --server http://127.0.0.1:{clear.port}"),
            ("http", secret, f"give --server https://127.0.0.1:{secret.port}"),
        ):
            async with RestClient(f"{scheme}://127.0.0.1:{origin.port}") as rest:
                with pytest.raises(RemoteError, match=said):
                    await rest.get("/")
        async with RestClient(f"https://127.0.0.1:{secret.port}", ca_file=authority.file) as rest:
            assert await rest.get("/") == 7
        async with RestClient(f"https://127.0.0.1:{secret.port}") as rest:
            with pytest.raises(RemoteError, match="its certificate is not trusted"):
                await rest.get("/")
