"""The HTTP client of the commands: what it makes of answers, and of servers that do not behave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from smartmob.client.http import RestClient
from smartmob.errors import RemoteError
from tests.metrics.samples import metric, session


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


async def test_a_problem_is_passed_on_with_its_request_id(lab: RestClient) -> None:
    """It is passed on in its own words, with the status and the id of the request."""
    with pytest.raises(RemoteError, match=r"session_h: this field is required \(request .+\)") as refused:
        await lab.post("/metrics/", {})
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", "the server answered 502 Bad Gateway"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "broke"),
        (b"nonsense\r\n\r\n", "broke"),
        (b"", "broke"),
    ],
)
async def test_a_malformed_answer_is_reported_in_one_line(answer: bytes, said: str) -> None:
    """A proxy's error, an answer that is cut off, what is no HTTP, and silence: one line says what happened."""

    over = asyncio.Event()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        lab = RestClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(RemoteError, match=said):
            async with lab:
                await lab.get("/")
        await over.wait()
