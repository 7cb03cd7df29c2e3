"""The HTTP client for scripts, against scripted servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.turrets.turret import http_answer
from smartmob.turrets.turret.http_client import TRAFFIC, Http, HttpError
from tests.certificates import Authority
from tests.waiting import until

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _server(talk: Talk) -> AsyncIterator[str]:
    """Serve each connection by a script."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def _saying(*answers: bytes, requests: list[bytes] | None = None) -> AsyncIterator[str]:
    """Serve one answer for each request, in pieces of the given bytes, and close after the last one."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(head)
            for piece in answer.split(b"|"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    async with _server(talk) as url:
        yield url


class TestAnswers:
    """The framing of response bodies."""

    @pytest.mark.parametrize(
        ("answer", "body"),
        [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
            (b"HTTP/1.1 200 OK\r\nContent-Le|ngth: 5\r\n\r|\nhe|llo", b"hello"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r|\nh|el\r\n2\r\nlo\r\n0\r\nT: x\r\n|\r\n",
                b"hello",
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nhel|lo", b"hello"),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        ],
    )
    async def test_a_body_is_read_in_each_framing(self, answer: bytes, body: bytes) -> None:
        """By length, in chunks, or up to the end of the connection, however it is cut into pieces."""
        async with _saying(answer) as url:
            http = Http()
            found = await http.get(url)
            http.close()
        assert (found.status, found.body) == (200, body)

    async def test_head_204_and_304_have_no_body(self) -> None:
        """Whatever their headers say."""
        heads = [b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"]
        async with _saying(*heads, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as url:
            http = Http()
            assert [(await http.get(url)).status, (await http.get(url)).status] == [204, 304]
            assert (await http.request("HEAD", url)).headers == {"content-length": "5"}
            http.close()

    async def test_an_answer_has_headers_text_and_json(self) -> None:
        """And an error for a status that is not expected."""
        async with _saying(b'HTTP/1.1 404 No\r\nX-Name: v\r\nContent-Length: 7\r\n\r\n{"a":1}') as url:
            http = Http()
            found = await http.get(url)
            http.close()
        assert (found.headers["x-name"], found.text, found.json()) == ("v", '{"a":1}', {"a": 1})
        assert found.expect(404) is found
        for expected in ((), (200, 201)):
            with pytest.raises(HttpError, match="HTTP 404"):
                found.expect(*expected)


class TestConnections:
    """One connection serves many requests."""

    async def test_requests_share_one_connection(self) -> None:
        """A body and headers arrive; a second request uses the same connection."""
        seen = []

        async def handle(request: web.Request) -> web.Response:
            assert request.transport is not None
            seen.append((request.transport.get_extra_info("peername"), request.headers["X-User"], await request.text()))
            return web.json_response({"path": request.path_qs})

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        async with TestServer(app) as server:
            http = Http(headers={"X-User": "7"})
            url = str(server.make_url("/a?b=c"))
            assert (await http.post(url, document={"x": 1})).json() == {"path": "/a?b=c"}
            assert (await http.post(url, "text", headers={"X-Other": "1"})).status == 200
            assert (await http.get(url)).status == 200
            http.close()
        assert len({place for place, _, _ in seen}) == 1
        assert [body for _, _, body in seen] == ['{"x": 1}', "text", ""]

    async def test_a_connection_closed_while_idle_is_replaced(self) -> None:
        """A request is repeated on a new connection if it is idempotent."""
        async with _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
            http = Http()
            for _ in range(3):
                assert (await http.get(url)).status == 200
            http.close()

    async def test_connection_close_is_respected(self) -> None:
        """After `Connection: close` the connection is not used again, though the server leaves it open."""
        connections = 0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        async with _server(talk) as url:
            http = Http()
            await http.get(url)
            await http.get(url)
            http.close()
        assert connections == 2

    async def test_a_request_has_a_host_and_no_length_without_body(self) -> None:
        """The Host header has the port, and there is no Content-Length without a body."""
        requests: list[bytes] = []
        async with _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", requests=requests) as url:
            http = Http()
            await http.get(url + "?q=1#part")
            http.close()
        place = url.removeprefix("http://")
        assert requests == [f"GET /?q=1 HTTP/1.1\r\nHost: {place}\r\nUser-Agent: smartmob-turret\r\n\r\n".encode()]


class TestErrors:
    """Every failure is an HttpError with its reason."""

    @pytest.mark.parametrize(
        "answer",
        [
            b"nothing that is HTTP\r\n\r\n",
            b"HTTP/1.1 xxx\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ntoo much",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * http_answer.LONGEST_HEAD,
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            b"",
        ],
    )
    async def test_an_invalid_or_truncated_answer_is_an_error(self, answer: bytes) -> None:
        """Input that is not HTTP, or ends before it is complete."""
        async with _saying(answer) as url:
            http = Http()
            with pytest.raises(HttpError, match="answer"):
                await http.get(url)
            http.close()

    @pytest.mark.parametrize(
        ("head", "piece"),
        [
            (b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
        ids=["head", "chunks", "body", "interim"],
    )
    async def test_an_answer_without_end_is_an_error(
        self, head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The client closes the connection at the limit; the server would send until then."""
        monkeypatch.setattr(http_answer, "LONGEST_BODY", 300_000)
        closed = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            try:
                while True:
                    writer.write(piece)
                    await writer.drain()
            finally:
                closed.set()

        async with _server(talk) as url:
            with pytest.raises(HttpError, match=r"not HTTP/1\.1"):
                await Http(timeout=600).get(url)
            await closed.wait()

    async def test_an_incomplete_answer_times_out(self) -> None:
        """Also when part of it was sent; the next request gets a new connection."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
            await reader.read()

        async with _server(talk) as url:
            http = Http(timeout=0.05)
            for _ in range(2):
                with pytest.raises(HttpError, match="in time"):
                    await http.get(url)
            http.close()

    async def test_a_refused_connection_is_named(self, unused_tcp_port: int) -> None:
        """The error names the address."""
        with pytest.raises(HttpError, match=f"cannot connect to 127.0.0.1:{unused_tcp_port}"):
            await Http().get(f"http://127.0.0.1:{unused_tcp_port}/")

    @pytest.mark.parametrize(
        "url", ["ftp://127.0.0.1/", "http://", "http://a:port/", "no address", "http://h/\r\nX: y"]
    )
    async def test_an_invalid_url_is_refused(self, url: str) -> None:
        """It is refused before anything is sent."""
        with pytest.raises(HttpError):
            await Http().get(url)

    async def test_a_header_value_cannot_contain_a_line_end(self) -> None:
        """A value cannot begin another header."""
        with pytest.raises(HttpError, match="head of a request"):
            await Http().get("http://127.0.0.1:1/", headers={"X": "a\r\nY: b"})

    async def test_a_post_is_not_repeated(self) -> None:
        """The server may have handled it before it closed the connection."""
        async with _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"") as url:
            http = Http()
            await http.get(url)
            with pytest.raises(HttpError, match="closed the connection"):
                await http.post(url)
            http.close()

    async def test_the_connection_of_a_cancelled_request_is_closed(self) -> None:
        """Otherwise its response would be taken for that of the next request."""
        asked = asyncio.Event()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if not asked.is_set():
                asked.set()
                await reader.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        async with _server(talk) as url:
            http = Http()
            task = asyncio.create_task(http.get(url))
            await until(asked.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await http.get(url)).status == 200
            http.close()


class TestStatistics:
    """Bytes and times of requests."""

    async def test_bytes_and_times_of_a_request(self) -> None:
        """The first request opens the connection, and the second one takes it; the run counts the bytes of all."""
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe|llo"
        requests: list[bytes] = []
        before = TRAFFIC.sent, TRAFFIC.received
        async with _saying(raw, raw, requests=requests) as url:
            http = Http()
            first, second = await http.get(url), await http.get(url)
            http.close()
        assert (first.sent, first.received) == (len(requests[0]), len(raw) - 1)
        assert first.connect > 0
        assert 0 < first.first_byte <= first.total
        assert (first.tls, second.tls, second.connect) == (0.0, 0.0, 0.0)
        assert (TRAFFIC.sent - before[0], TRAFFIC.received - before[1]) == (2 * first.sent, 2 * first.received)

    async def test_the_time_of_encryption(self, tmp_path: Path) -> None:
        """It is told apart from that of the connection, and a certificate that is not trusted is refused."""
        authority = Authority(tmp_path)
        files = authority.issue()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.cert, files.key)
        app = web.Application()

        async def hello(_: web.Request) -> web.Response:
            return web.Response(text="hello")

        app.router.add_get("/", hello)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
        trusting = Http(context=ssl.create_default_context(cafile=str(authority.file)))
        try:
            first, second = await trusting.get(url), await trusting.get(url)
            assert (first.body, second.body) == (b"hello", b"hello")
            assert first.total > first.connect + first.tls > first.connect > 0
            assert first.tls > 0
            assert (second.connect, second.tls) == (0.0, 0.0)
            with pytest.raises(HttpError, match="certificate"):
                await Http().get(url)
        finally:
            trusting.close()
            await runner.cleanup()


class TestUrls:
    """URLs and headers that are not ASCII."""

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("/日本", "/%E6%97%A5%E6%9C%AC"),
            ("/x?q=€ é", "/x?q=%E2%82%AC%20%C3%A9"),
            ("/a b/<{|}>", "/a%20b/%3C%7B%7C%7D%3E"),
            ("/a%20b/%zz?x[]=1&y=a+b,c;d:e@f!$'()*~#part", "/a%20b/%zz?x[]=1&y=a+b,c;d:e@f!$'()*~"),
            ("", "/"),
        ],
    )
    async def test_other_characters_are_percent_encoded(self, path: str, target: str) -> None:
        """The server gets the address that a browser asks for, not one with question marks in it."""
        requests: list[bytes] = []
        async with _saying(b"HTTP/1.1 204 x\r\n\r\n", requests=requests) as url:
            await Http().get(url + path)
        assert requests[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())

    async def test_credentials_of_a_url_are_sent(self) -> None:
        """A header of the script replaces them."""
        requests: list[bytes] = []
        async with _saying(*[b"HTTP/1.1 204 x\r\n\r\n"] * 3, requests=requests) as url:
            http, other = Http(), Http(headers={"authorization": "Bearer x"})
            with_user = url.replace("//", "//user:p%40ss@")
            await http.get(with_user)
            await http.get(with_user, headers={"Authorization": "Bearer y"})
            http.close()
        async with _saying(b"HTTP/1.1 204 x\r\n\r\n", requests=requests) as url:
            await other.get(url.replace("//", "//user@"))
        sent = [
            [line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization")] for head in requests
        ]
        assert sent == [
            [b"Authorization: Basic dXNlcjpwQHNz"],
            [b"Authorization: Bearer y"],
            [b"authorization: Bearer x"],
        ]
        assert b"user" not in b"".join(head.partition(b"Authorization")[0] for head in requests).replace(
            b"User-Agent", b""
        )

    async def test_a_header_replaces_the_credentials_of_a_url_for_one_request_only(self) -> None:
        """Later requests to the same URL have those of the URL."""
        requests: list[bytes] = []
        async with _saying(*[b"HTTP/1.1 204 x\r\n\r\n"] * 3, requests=requests) as url:
            http, with_user = Http(), url.replace("//", "//user:pw@")
            for headers in ({"Authorization": "Bearer y"}, None, {"X-Other": "1"}):
                await http.get(with_user, headers=headers)
            http.close()
        assert [head.count(b"Authorization: Basic ") for head in requests] == [0, 1, 1]
        assert b"Authorization: Bearer y\r\n" in requests[0]

    @pytest.mark.parametrize(
        ("url", "headers", "said"),
        [
            ("http://" + "x" * 64 + "é/", {}, "the name of a host"),
            ("http://127.0.0.1/", {"X-Name": "日本"}, "encode them"),
            ("http://127.0.0.1/", {"X\r\nEvil": "1"}, "cannot be part of the head"),
            ("http://127.0.0.1/\ud800", {}, "lone surrogate"),
        ],
    )
    @pytest.mark.parametrize("shared", [False, True])
    async def test_what_cannot_be_sent_is_an_error(
        self, url: str, headers: dict[str, str], said: str, shared: bool
    ) -> None:
        """Nothing is replaced: the script would measure another request."""
        http = Http(headers=headers) if shared else Http()
        with pytest.raises(HttpError, match=said):
            await http.get(url, headers=None if shared else headers)
