"""Reasons of failed requests to other servers, from real connections."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from smartmob.kernel.http.address_filter import create_socket
from smartmob.kernel.http.connection_faults import connection_fault


async def _fault(url: str, **options: Any) -> str | None:
    """Return the reason why a request to `url` fails."""
    connector = aiohttp.TCPConnector(socket_factory=create_socket)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientError) as failed:
            async with session.get(url) as response:
                await response.read()
    return connection_fault(failed.value, **options)


async def test_no_connection_is_explained_without_the_address() -> None:
    """The words of the system are the reason, or the name that is unknown, or the rule against the address."""
    assert await _fault("http://127.0.0.1:1/secret") == "no connection: Connection refused"
    assert await _fault("http://no-such-host.invalid/secret") == "the host 'no-such-host.invalid' is unknown"
    refused = "link-local addresses and metadata services of clouds are not allowed"
    assert await _fault("http://169.254.169.254/secret") == refused


async def test_a_connection_that_ends_too_early_is_told_by_how_much_was_received() -> None:
    """The words for the server and for what it sends are those of the caller."""
    # A GET that was not answered is repeated once by aiohttp.
    answers = [b"", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await _fault(url, server="receiver") == "the receiver closed the connection without an answer"
        assert await _fault(url, message="body") == "the connection ended before the body was complete"


def test_other_errors_have_no_such_reason() -> None:
    """Their text is up to the caller."""
    assert connection_fault(ValueError("x")) is None
