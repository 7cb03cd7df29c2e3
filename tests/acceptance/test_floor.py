"""A small disk: jobs, uploads, downloads and packages stop at the floor, and measurements are still stored."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from smartmob.kernel.runtime.disk import free_bytes
from tests.acceptance.commands import SECONDS, postgres_pid, serving
from tests.acceptance.load import stored, under_load
from tests.processes.file_server import running_file_server
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

MIB = 1024 * 1024
TOO_LOW = "--least-free keeps"


async def _noise(size: int) -> AsyncIterator[bytes]:
    part = os.urandom(MIB)
    for _ in range(size // MIB):
        yield part


async def _job(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    """Return the last lines that the client of an endless job gets."""
    lines: list[dict[str, Any]] = []
    async with session.post(f"{url}/commands/exec", json={"cmd": "yes; sleep 600"}) as answer:
        assert answer.status == 200
        async for line in answer.content:
            lines = [*lines[-3:], orjson.loads(line)]
    return lines


async def _download(session: aiohttp.ClientSession, url: str, source: str) -> str:
    """Return the reason why a process with an endless source was not prepared."""
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": source}
    async with session.post(f"{url}/create-process", json=wanted) as answer:
        assert answer.status == 201

    async def failed() -> dict[str, Any] | None:
        async with session.get(f"{url}/process-status/app.web.0") as answer:
            status: dict[str, Any] = await answer.json()
            return status if status["state"] == "download failure" else None

    return str(await until(failed, SECONDS))


async def test_peers_cannot_fill_the_disk(small_disk: Path) -> None:
    """Job, upload and download end at the floor; measurements are stored during and after that."""
    data = small_disk / "data"
    async with (
        serving(data, "--least-free", str(100 * MIB)) as service,
        running_file_server() as files,
        aiohttp.ClientSession(read_bufsize=2**20) as session,
    ):
        pid = postgres_pid(data)
        assert free_bytes(small_disk) > 110 * MIB
        async with under_load(service.url, senders=2) as load:
            await load.further(10)
            lines = await _job(session, service.url)
            assert TOO_LOW in str(lines)
            await until(lambda: b"job.disk_low" in service.errors, SECONDS)
            await load.further(10)

            assert TOO_LOW in await _download(session, service.url, files.endless("/app"))
            async with session.post(f"{service.url}/upload-archive", data=_noise(200 * MIB)) as answer:
                assert (answer.status, TOO_LOW in await answer.text()) == (503, True)
            await load.further(10)
        assert list((data / "processes" / "making").iterdir()) == []
        assert load.refused == []
        assert load.unanswered == 0
        assert sorted(await stored(service.url)) == sorted(load.acknowledged)
        # What one look at the disk may miss, and the measures: far from all that is kept.
        assert free_bytes(small_disk) > 60 * MIB
        assert postgres_pid(data) == pid
        async with session.get(f"{service.url}/ready") as answer:
            assert answer.status == 200
