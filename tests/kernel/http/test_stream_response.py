"""Streams of answers: all of it, nothing, and what breaks on the way."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import structlog

from tests.kernel.raw import wire
from tests.waiting import until


class TestStream:
    """Answers that are sent as they come."""

    async def test_all_of_it(self, tiny_client: Any) -> None:
        """The chunks arrive in order, with the type and the request id."""
        response = await tiny_client.get("/stream?chunks=50", headers={"X-Request-Id": "id-1"})

        assert await response.read() == b"".join(b"%d," % number * 1000 for number in range(50))
        assert (response.status, response.content_type) == (200, "text/csv")
        assert response.headers["X-Request-Id"] == "id-1"
        assert "Content-Disposition" not in response.headers

    async def test_nothing(self, tiny_client: Any) -> None:
        """No chunk is an empty answer."""
        response = await tiny_client.get("/stream?chunks=0")

        assert (response.status, await response.read()) == (200, b"")

    async def test_to_be_saved(self, tiny_client: Any) -> None:
        """A browser is told the name of the file."""
        response = await tiny_client.get("/stream?name=all.csv")

        assert response.headers["Content-Disposition"] == 'attachment; filename="all.csv"'

    async def test_only_its_head(self, tiny_client: Any) -> None:
        """HEAD gets the headers and no chunk, and the connection goes on."""
        response = await tiny_client.head("/stream?chunks=5")

        assert (response.status, response.content_type, await response.read()) == (200, "text/csv", b"")
        assert (await tiny_client.get("/hello")).status == 200

    async def test_broken_before_it_began(self, tiny_client: Any) -> None:
        """It is an ordinary error then."""
        with structlog.testing.capture_logs() as lines:
            response = await tiny_client.get("/stream?fail_at=0")

        assert (response.status, response.content_type) == (500, "application/problem+json")
        assert [line["event"] for line in lines] == ["http.failed"]

    async def test_broken_in_the_middle(self, tiny_client: Any) -> None:
        """The connection is cut, so that a part is not taken for the whole, and the log tells why."""
        with structlog.testing.capture_logs() as lines:
            response = await tiny_client.get("/stream?chunks=50&fail_at=20")
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()

        (logged,) = lines
        assert (logged["event"], logged["path"]) == ("http.stream_broken", "/stream")
        assert str(logged["exc_info"]) == "password=hunter2"

    async def test_a_client_that_leaves(self, serving: Any) -> None:
        """It is no failure of ours."""
        client, _, request_stats = await serving()
        with structlog.testing.capture_logs() as lines:
            async with wire(client.port) as line:
                line.get("/stream?chunks=100000")
                await line.reader.readuntil(b"\r\n\r\n")

            await until(lambda: request_stats.requests)

        assert lines == []
        assert request_stats.active == 0
