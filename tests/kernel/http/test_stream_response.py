"""Streamed answers: complete ones, empty ones, and errors on the way."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import structlog

from tests.kernel.raw import wire
from tests.waiting import until


class TestStream:
    """Answers that are sent in chunks."""

    async def test_all_chunks_arrive_in_order(self, tiny_client: Any) -> None:
        """The chunks arrive in order, with the media type and the request id."""
        response = await tiny_client.get("/stream?chunks=50", headers={"X-Request-Id": "id-1"})

        assert await response.read() == b"".join(b"%d," % number * 1000 for number in range(50))
        assert (response.status, response.content_type) == (200, "text/csv")
        assert response.headers["X-Request-Id"] == "id-1"
        assert "Content-Disposition" not in response.headers

    async def test_no_chunk_is_an_empty_answer(self, tiny_client: Any) -> None:
        """A stream without chunks is an empty answer."""
        response = await tiny_client.get("/stream?chunks=0")

        assert (response.status, await response.read()) == (200, b"")

    async def test_a_name_makes_a_download(self, tiny_client: Any) -> None:
        """With a name, the answer has Content-Disposition with the name of the file."""
        response = await tiny_client.get("/stream?name=all.csv")

        assert response.headers["Content-Disposition"] == 'attachment; filename="all.csv"'

    async def test_head_sends_no_chunk(self, tiny_client: Any) -> None:
        """HEAD gets the headers and no chunk, and the connection stays open."""
        response = await tiny_client.head("/stream?chunks=5")

        assert (response.status, response.content_type, await response.read()) == (200, "text/csv", b"")
        assert (await tiny_client.get("/hello")).status == 200

    async def test_an_error_before_the_first_chunk_is_an_error_answer(self, tiny_client: Any) -> None:
        """An error before the first chunk gives 500."""
        with structlog.testing.capture_logs() as lines:
            response = await tiny_client.get("/stream?fail_at=0")

        assert (response.status, response.content_type) == (500, "application/problem+json")
        assert [line["event"] for line in lines] == ["http.failed"]

    async def test_a_later_error_cuts_the_connection(self, tiny_client: Any) -> None:
        """The connection is cut, so that a part is not mistaken for the whole, and the error is logged."""
        with structlog.testing.capture_logs() as lines:
            response = await tiny_client.get("/stream?chunks=50&fail_at=20")
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()

        (logged,) = lines
        assert (logged["event"], logged["path"]) == ("http.stream_broken", "/stream")
        assert str(logged["exc_info"]) == "password=hunter2"

    async def test_a_client_that_disconnects_is_no_error(self, serving: Any) -> None:
        """A client that disconnects is not logged as an error."""
        client, _, request_stats = await serving()
        with structlog.testing.capture_logs() as lines:
            async with wire(client.port) as line:
                line.get("/stream?chunks=100000")
                await line.reader.readuntil(b"\r\n\r\n")

            await until(lambda: request_stats.requests)

        assert lines == []
        assert request_stats.active == 0
