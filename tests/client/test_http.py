"""The HTTP client of the commands: what it makes of answers, and of servers that do not behave."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme

from smartmob.client.http import RestClient
from smartmob.client.limits import LIMITS
from smartmob.errors import RemoteError
from tests.metrics.samples import metric, session

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _peer(respond: Respond) -> AsyncIterator[str]:
    """Yield the URL of a server that responds to each connection so, and wait until all of them are closed."""
    async with asyncio.TaskGroup() as group:

        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await respond(reader, writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.create_task(close(reader, writer))

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture(name="lab")
async def _lab(client: Any) -> AsyncIterator[RestClient]:
    async with RestClient(f"http://127.0.0.1:{client.server.port}/") as lab:
        yield lab


async def test_documents_are_sent_found_and_deleted(lab: RestClient) -> None:
    """They are sent, found and removed; nothing is None."""
    assert await lab.get("/sessions/") is None
    assert (await lab.post("/sessions/", session("a/b")))["session_h"] == "a/b"
    assert (await lab.get("/sessions/a%2Fb", page=1))["sessions"][0]["session_h"] == "a/b"
    assert await lab.delete("/sessions/a%2Fb") == {"session_h": "a/b", "metrics": 0}


async def test_listings_are_sent_and_read_as_lines(lab: RestClient) -> None:
    """Many documents go and come as lines."""

    async def lines() -> AsyncIterator[bytes]:
        import orjson

        for n in range(3):
            yield orjson.dumps(metric(item=f"test_{n}")) + b"\n"

    assert await lab.send_lines("/metrics/", lines()) == {"count": 3}
    assert len([line async for line in lab.lines("/metrics/")]) == 3
    assert b"".join([chunk async for chunk in lab.chunks("/metrics/", "text/csv")]).count(b"\r\n") == 4


async def test_a_problem_is_passed_on(lab: RestClient) -> None:
    """It is passed on in its own words, with the status; the log tells no more, so there is no id of the request."""
    with pytest.raises(RemoteError, match=r"session_h: this field is required$") as refused:
        await lab.post("/metrics/", {})
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", "the server answered 502 Bad Gateway"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "was lost"),
        (b"nonsense\r\n\r\n", "was lost"),
        (b"", "was lost"),
    ],
)
async def test_a_malformed_answer_is_reported_in_one_line(answer: bytes, said: str) -> None:
    """A proxy's error, an answer that is cut off, what is no HTTP, and silence: one line says what happened."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)

    async with _peer(respond) as url, RestClient(url) as lab:
        with pytest.raises(RemoteError, match=said):
            await lab.get("/")


async def test_a_port_that_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port of another protocol takes the connection and is silent; the service is asked for its health once."""
    monkeypatch.setattr(LIMITS, "first_answer_seconds", 0.05)
    monkeypatch.setattr(LIMITS, "health_seconds", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _peer(silent) as url, RestClient(url) as lab:
        with pytest.raises(RemoteError, match="accepts connections but does not answer"):
            await lab.get("/runs/")


async def test_a_slow_answer_of_a_live_service_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that calculates for long and answers `/health` meanwhile is not given up."""
    monkeypatch.setattr(LIMITS, "first_answer_seconds", 0.05)
    healthy = asyncio.Event()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" /health " in head:
            healthy.set()
        else:
            await healthy.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    async with _peer(respond) as url, RestClient(url) as lab:
        assert await lab.get("/compare") == {}


async def test_an_address_with_a_path_too_many(lab: RestClient) -> None:
    """A path below which the service has nothing is named, rather than the version of the service."""
    async with RestClient(f"{lab.url}/foo") as wrong:
        with pytest.raises(RemoteError, match="leave out its path"):
            await wrong.get("/runs/")


async def test_a_server_of_tls_that_resets_plain_requests_is_recognised() -> None:
    """It may close the connection before it has read the body, and the system then drops its answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                        with context.wrap_socket(connection, server_side=True):
                            pass
                    else:  # closed with unread bytes, so the peer gets a reset
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        answering = asyncio.create_task(asyncio.to_thread(answer))
        async with RestClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as lab:
            with pytest.raises(RemoteError, match="give --server https://"):
                await lab.post("/metrics/", {})
        await answering
