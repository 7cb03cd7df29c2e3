"""Connections: input is parsed in bounded turns of the loop, nothing of it is lost, and tiny chunks are refused."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from smartmob.kernel.http import connection
from smartmob.kernel.http.connection import ITERATION_BYTES, MAX_FRAMING_BYTES, WEBSOCKET_ITERATION_BYTES
from tests.kernel import tiny
from tests.kernel.raw import Reply, Wire, wire
from tests.serving import ServiceServer
from tests.waiting import SECONDS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CHUNKED = "Transfer-Encoding: chunked"
WEBSOCKET = (
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@asynccontextmanager
async def _served(handler: Handler | None = None) -> AsyncIterator[int]:
    """Serve the tiny application, with `handler` at /own; give the port."""
    app, _, gate = tiny.build(limit=10_000_000)
    if handler is not None:
        app.router.add_route("*", "/own", handler)
    server = ServiceServer(app, gate)
    await server.start_server()
    try:
        yield server.port or 0
    finally:
        await server.close()


def _chunks(data: bytes, size: int) -> bytes:
    parts = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _frame(payload: bytes, opcode: int = WSMsgType.BINARY, *, last: bool = True) -> bytes:
    """Return a frame of a client with a short payload, masked with zeros."""
    return bytes([(0x80 if last else 0) | opcode, 0x80 | len(payload)]) + bytes(4) + payload


async def _send(port: int, path: str, *headers: str, body: bytes, method: str = "POST", status: int = 400) -> Reply:
    """Return the answer to a request, of that status, after which the service must end the connection."""
    async with wire(port) as line:
        line.get(path, *headers, method=method)
        line.send(body)
        reply = await line.reply()
        assert reply.status == status
        assert await line.ended() == b""
        return reply


class _Progress:
    """The most that a handler got in one turn of the loop."""

    def __init__(self) -> None:
        self.got = 0
        self.most = 0

    async def watch(self) -> None:
        """Compare what was got in consecutive turns, until cancelled."""
        before = 0
        while True:
            self.most, before = max(self.most, self.got - before), self.got
            await asyncio.sleep(0)


async def _watched(handler: Callable[[web.Request, _Progress], Awaitable[web.StreamResponse]], data: bytes) -> int:
    """Send `data` to a handler; return the most that it got in one turn."""
    progress, done = _Progress(), asyncio.Event()

    async def own(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request, progress)
        finally:
            done.set()

    async with _served(own) as port, wire(port) as line:
        watching = asyncio.create_task(progress.watch())
        line.send(data)
        await done.wait()
        watching.cancel()
    assert progress.got
    return progress.most


async def _count_messages(request: web.Request, progress: _Progress) -> web.StreamResponse:
    for _ in range(50):  # the frames must not pile up while a handler has not yet answered the handshake
        await asyncio.sleep(0)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        progress.got += 1
        if message.data == b"end":
            break
    return socket


async def test_a_flood_of_small_frames_leaves_turns_to_others() -> None:
    """However many frames arrive at once, a handler gets no more of them in one turn than fit into the bound."""
    head = "\r\n".join(["GET /own HTTP/1.1", "Host: localhost", *WEBSOCKET, "", ""]).encode()
    flood = _frame(b"x") * 100_000 + _frame(b"end")
    # The first frames came in one turn with the handshake, and two turns may pass before the handler continues.
    bound = ITERATION_BYTES + 2 * WEBSOCKET_ITERATION_BYTES
    assert await _watched(_count_messages, head + flood) <= bound // len(_frame(b"x"))


async def _count_bytes(request: web.Request, progress: _Progress) -> web.StreamResponse:
    async for part in request.content.iter_any():
        progress.got += len(part)
    return web.Response()


async def test_a_chunked_body_leaves_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many chunks arrive at once, only a bounded part of them is parsed in one turn, on a fast machine too."""
    monkeypatch.setattr(connection, "_ITERATION_SECONDS", 3600.0)
    head = f"POST /own HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}\r\n\r\n".encode()
    # The handler may continue after two turns of eight parts each.
    assert await _watched(_count_bytes, head + _chunks(bytes(1_000_000), 50)) <= 16 * ITERATION_BYTES


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/length", 400), ("POST", "/few", 413), ("GET", "/hello", 200), ("POST", "/nothing", 404)],
)
async def test_a_body_of_very_many_small_chunks_is_refused(method: str, path: str, status: int) -> None:
    """A route that reads it answers 400 and says what to do; the connection ends after any answer."""
    async with _served() as port:
        reply = await _send(port, path, CHUNKED, body=_chunks(bytes(300_000), 1), method=method, status=status)
    if status == 400:
        assert "too many small chunks" in reply.json()["detail"]


@pytest.mark.parametrize("extension", [b";x", b';name="' + b"v" * 200 + b'"'])
async def test_chunk_extensions_count_as_framing(extension: bytes) -> None:
    """A body of chunks with extensions is refused like one of small chunks."""
    async with _served() as port:
        chunk = b"1" + extension + b"\r\nx\r\n"
        await _send(port, "/length", CHUNKED, body=chunk * 50_000 + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("size", "total"), [(1, MAX_FRAMING_BYTES // 6), (48, 2_000_000), (1_000, 5_000_000), (100_000, 5_000_000)]
)
async def test_ordinary_chunks_are_accepted(size: int, total: int) -> None:
    """A short body in any chunks, and a long one in chunks of 48 bytes and more, arrive whole."""
    async with _served() as port, wire(port) as line:
        line.get("/length", CHUNKED, method="POST")
        line.send(_chunks(bytes(total), size))
        assert (await line.reply()).json() == {"length": total}
        line.get("/hello")
        assert (await line.reply()).status == 200


async def test_a_request_of_http_1_0_with_chunks_ends_the_connection() -> None:
    """HTTP/1.0 has no chunks: a proxy may see the end of such a request elsewhere, so none is read behind it."""
    async with _served() as port, wire(port) as line:
        head = f"POST /length HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n{CHUNKED}\r\n\r\n"
        line.send(head.encode() + _chunks(b"ab", 1) + b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = await line.reply()
        assert (reply.json(), reply.headers.get("Connection", "close")) == ({"length": 2}, "close")
        assert await line.ended() == b""


async def _digest(request: web.Request) -> web.StreamResponse:
    """Read slowly, a little at a time, so that the connection is paused and resumed many times."""
    digest = hashlib.sha256()
    while part := await request.content.read(70_000):
        digest.update(part)
        for _ in range(3):
            await asyncio.sleep(0)
    return web.Response(text=digest.hexdigest())


@pytest.mark.parametrize("size", [None, 64, 5_000, 200_000])
async def test_a_slow_reader_gets_every_byte(size: int | None) -> None:
    """A body of known length or of chunks arrives unchanged, and so does the request that is sent behind it."""
    data = random.Random(size).randbytes(3_000_000)
    async with _served(_digest) as port, wire(port) as line:
        if size is None:
            line.get("/own", f"Content-Length: {len(data)}", method="POST")
            line.send(data)
        else:
            line.get("/own", CHUNKED, method="POST")
            line.send(_chunks(data, size))
        line.get("/hello")
        assert (await line.reply()).body.decode() == hashlib.sha256(data).hexdigest()
        assert (await line.reply()).json() == {"hello": "wörld"}


async def test_requests_that_are_sent_at_once_are_all_answered() -> None:
    """Hundreds of requests in one piece are answered in order, more than are parsed in a turn."""
    async with _served() as port, wire(port) as line:
        for number in range(1_000):
            line.get(f"/part/{number}")
        for number in range(1_000):
            assert (await line.reply()).json() == {"name": str(number)}


async def test_requests_behind_a_declined_handshake_are_answered() -> None:
    """If the connection stays HTTP, many requests that were sent at once behind the handshake are answered."""
    async with _served() as port, wire(port) as line:
        line.get("/plain", *WEBSOCKET)
        for number in range(2_000):
            line.get(f"/part/{number}")
        assert (await line.reply()).body == b"plain"
        for number in range(2_000):
            assert (await line.reply()).json() == {"name": str(number)}


async def test_large_messages_of_a_websocket_arrive_whole() -> None:
    """Messages of all sizes come back in order, larger ones than a turn among them."""

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=2**20)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    source = random.Random(1)
    messages = [source.randbytes(size) for size in (0, 1, 4_095, 4_096, 4_097, 70_000, 900_000) for _ in range(3)]
    async with (
        _served(echo) as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/own") as socket,
    ):
        sending = asyncio.create_task(_send_all(socket, messages))
        got = [await socket.receive_bytes() for _ in messages]
        await sending
    assert got == messages


async def test_the_payload_of_a_large_frame_is_not_cut_into_turns() -> None:
    """Whatever was received of one frame is parsed at once, since it is only copied: small parts cost much more."""
    sizes: list[int] = []

    async def own(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=2**23)
        await socket.prepare(request)
        protocol: Any = request.protocol
        parser = protocol._payload_parser
        protocol._payload_parser = _Recorder(parser, sizes)
        async for message in socket:
            await socket.send_str(str(len(message.data)))
        return socket

    async with (
        _served(own) as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/own") as socket,
    ):
        await socket.send_bytes(bytes(4_000_000))
        assert await socket.receive_str() == "4000000"
    assert max(sizes) > 4 * WEBSOCKET_ITERATION_BYTES


class _Recorder:
    """A parser that notes the sizes of the parts that it is given."""

    def __init__(self, parser: Any, sizes: list[int]) -> None:
        self._parser = parser
        self._sizes = sizes

    def feed_data(self, data: bytes) -> Any:
        self._sizes.append(len(data))
        return self._parser.feed_data(data)

    def feed_eof(self) -> None:
        self._parser.feed_eof()


async def _send_all(socket: Any, messages: list[bytes]) -> None:
    for message in messages:
        await socket.send_bytes(message)


async def test_a_client_that_disconnects_amid_its_input_is_forgotten() -> None:
    """The rest of the input is dropped, and the handler ends."""
    ended = asyncio.Event()

    async def own(request: web.Request) -> web.StreamResponse:
        try:
            return await _digest(request)
        finally:
            ended.set()

    async with _served(own) as port:
        async with wire(port) as line:
            line.get("/own", CHUNKED, method="POST")
            line.send(_chunks(bytes(1_000_000), 100)[:-5])
            await line.writer.drain()
        await ended.wait()


async def test_the_answer_to_a_refused_body_reaches_a_client_that_still_sends() -> None:
    """The connection is not reset while the client sends the rest, so that it can read the answer."""
    async with _served() as port, wire(port) as line:
        line.get("/length", CHUNKED, method="POST")
        for _ in range(40):
            line.send(_chunks(bytes(20_000), 1)[:-5])
            await line.writer.drain()
        reply = await line.reply()
        assert (reply.status, await line.ended()) == (400, b"")


def _send_unread(line: Wire) -> None:
    """Send a request with a body that is far too long and not read, and a part of that body."""
    line.get("/unknown", "Content-Length: 100000000000", method="POST")
    line.send(bytes(2**20))


async def test_a_client_that_still_sends_gets_the_end_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is not reset behind the answer, so that the client cannot lose it."""
    monkeypatch.setattr(connection, "_DISCARDED_BYTES", 0)
    async with _served() as port, wire(port) as line:
        _send_unread(line)
        assert (await line.reply()).status == 404

        async with asyncio.timeout(SECONDS):
            assert await line.reader.read() == b""


async def test_a_client_that_does_not_disconnect_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that it has to read the answer is limited."""
    monkeypatch.setattr(connection, "_DISCARDED_BYTES", 0)
    monkeypatch.setattr(connection, "_LINGER_SECONDS", 0.0)
    async with _served() as port, wire(port) as line:
        _send_unread(line)
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(SECONDS):
                while True:
                    line.send(bytes(2**16))
                    await line.writer.drain()


async def test_a_service_that_stops_does_not_wait_for_a_client_with_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of a client that has its answer and still sends ends with the service."""
    monkeypatch.setattr(connection, "_DISCARDED_BYTES", 0)
    monkeypatch.setattr(connection, "_LINGER_SECONDS", 2 * SECONDS)
    async with AsyncExitStack() as stack, asyncio.timeout(SECONDS / 2), _served() as port:
        line = await stack.enter_async_context(wire(port))
        _send_unread(line)
        assert (await line.reply()).status == 404
        assert await line.ended() == b""
