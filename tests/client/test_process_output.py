"""The client of an attached console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from smartmob.client.http import RestClient
from smartmob.client.process_output import ALL_LINES, DELETED, process_output
from smartmob.client.source_archive import source_archive
from smartmob.errors import RemoteError


@pytest.fixture(name="lab")
async def _lab(client: Any) -> AsyncIterator[RestClient]:
    async with RestClient(f"http://127.0.0.1:{client.server.port}") as lab:
        yield lab


async def _create(lab: RestClient, folder: Any, procfile: str) -> None:
    (folder / "Procfile").write_text(procfile)

    async def chunks() -> AsyncIterator[bytes]:
        yield archive.path.read_bytes()

    with source_archive(folder) as archive:
        stored = await lab.upload("/upload-archive", chunks(), archive.size)
        assert (stored["digest"], stored["size"]) == (archive.digest, archive.size)
    await lab.post(
        "/create-process",
        {"app": "app", "node": "web 1", "process_type": "web", "source_url": stored["source_url"]},
    )


async def test_lines_and_events_come_in_order_until_deletion(lab: RestClient, tmp_path: Any) -> None:
    """Lines and events come in order until the process is deleted, and the code tells that."""
    await _create(lab, tmp_path, "web: echo one; echo two; exec sleep 1000\n")
    found = []
    async with process_output(lab, "app.web 1", tail=ALL_LINES, events=True) as lines:
        async for line in lines:
            found.append(line)
            if line == "two":
                await lab.post("/delete-process/app.web%201", {})
    assert found[0].startswith("[smartmob] started")
    assert found[1:] == ["one", "two", "[smartmob] stopping", "[smartmob] ended by signal 15", "[smartmob] stopped"]
    assert lines.code == DELETED


async def test_without_follow_the_output_ends_with_the_last_line(lab: RestClient, tmp_path: Any) -> None:
    """Without `follow` it ends behind the last line."""
    await _create(lab, tmp_path, "web: echo one; echo two; exec sleep 1000\n")
    async with process_output(lab, "app.web 1", tail=ALL_LINES) as lines:
        assert [line async for line in _first(lines, 2)] == ["one", "two"]
    async with process_output(lab, "app.web 1", tail=1, follow=False) as lines:
        assert [line async for line in lines] == ["two"]


async def _first(lines: Any, count: int) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        count -= 1
        if count == 0:
            return


async def test_a_handshake_that_is_refused(lab: RestClient) -> None:
    """The server's own words are told, as for every other request."""
    with pytest.raises(RemoteError, match="there is no program nothing") as refused:
        async with process_output(lab, "nothing"):
            raise AssertionError("it was opened")
    assert refused.value.status == 404
    with pytest.raises(RemoteError, match="no WebSocket"):
        async with lab.socket("/health"):
            raise AssertionError("it was opened")
