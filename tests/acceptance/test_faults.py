"""Acknowledged data is stored once, when the database, the service or the disk fails."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.commands import SECONDS, RunningCommand, connected, postgres_pid, serving
from tests.acceptance.load import Load, stored, under_load
from tests.metrics.samples import metric
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

MIB = 1024 * 1024


def _check(load: Load, found: list[str]) -> None:
    """Assert that everything that was acknowledged is stored once."""
    assert set(load.acknowledged) <= set(found)
    assert len(found) == len(set(found))


async def _ready(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ready") as answer:
        return answer.status, await answer.json(content_type=None)


async def test_acknowledged_metrics_survive_a_killed_database(reachable_path: Path) -> None:
    """It is started again, senders wait for it, and the service goes on."""
    data = reachable_path / "data"
    async with serving(data) as service:
        async with under_load(service.url) as load:
            for _ in range(3):
                await load.further(200)
                seen = len(service.events)
                pid = postgres_pid(data)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                restarted = await service.event("database.started", after=seen)
                assert restarted["pid"] != pid
            await load.further(200)
        await until(lambda: _is_ready(service.url), SECONDS)
        _check(load, await stored(service.url))
        assert b"database.died" in service.errors


async def test_acknowledged_metrics_are_stored_once_when_connections_end(database_url: str, tmp_path: Path) -> None:
    """The server closes connections at any moment."""
    import asyncpg

    async with serving(tmp_path / "data", "--database-url", database_url) as service:
        async with under_load(service.url) as load:
            breaker = await asyncpg.connect(database_url)
            for _ in range(15):
                await load.further(40)
                await breaker.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
                )
            await breaker.close()
        assert load.refused == []
        _check(load, await stored(service.url))


async def test_metrics_are_refused_while_an_external_database_is_down(reachable_path: Path) -> None:
    """They get 503 after their patience, /ready says why, and the service recovers by itself."""
    async with serving(reachable_path / "first") as first:
        host = reachable_path / "first" / "postgres" / "socket"
        url = f"postgresql://smartmob@/smartmob?host={host}"
        data = reachable_path / "second"
        async with serving(data, "--database-url", url, "--database-patience", "0.3") as service:
            load = await _load_without_database(first, service, reachable_path / "first")
        assert set(load.refused) == {503}


async def _load_without_database(first: RunningCommand, service: RunningCommand, data_dir: Path) -> Load:
    """Stop the service of the database, start another one instead, and check the stored rows."""
    async with AsyncExitStack() as stack:
        async with under_load(service.url) as load:
            await load.further(100)
            await first.stop()
            await until(lambda: len(load.refused) > 20, SECONDS)
            status, problem = await _ready(service.url)
            assert status == 503
            assert problem["checks"]["database"].startswith("the database is not available")
            await stack.enter_async_context(serving(data_dir))
            await load.further(200)
            await until(lambda: _is_ready(service.url), SECONDS)
        _check(load, await stored(service.url))
    return load


async def test_acknowledged_metrics_survive_a_killed_service(reachable_path: Path) -> None:
    """All that were answered with 201 are there after the restart."""
    data = reachable_path / "data"
    async with serving(data) as service:
        async with under_load(service.url) as load:
            await load.further(500)
            await service.stop(signal.SIGKILL)
        assert load.unanswered > 0
        async with serving(data) as successor:
            _check(load, await stored(successor.url))


async def test_a_stopping_service_answers_what_it_has_accepted(reachable_path: Path) -> None:
    """No metric is stored without an answer."""
    data = reachable_path / "data"
    async with serving(data) as service:
        async with under_load(service.url) as load:
            await load.further(500)
            assert await service.stop() == 0
        async with serving(data) as successor:
            assert sorted(await stored(successor.url)) == sorted(load.acknowledged)


async def test_metrics_are_refused_while_the_disk_is_full(small_disk: Path) -> None:
    """They get 503, reading works or gets 503, and the service recovers by itself."""
    large = "x" * 200_000
    async with (
        serving(small_disk / "data", "--database-patience", "0.3") as service,
        aiohttp.ClientSession() as session,
    ):

        async def post(name: str) -> int:
            async with session.post(
                f"{service.url}/metrics/", json=metric(item=name, item_path=_noise(large))
            ) as answer:
                return answer.status

        assert await post("before") == 201
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"")
        free = os.statvfs(small_disk)
        os.truncate(ballast, 0)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - 2 * MIB)
        statuses = [await post(f"full{number}") for number in range(25)]
        assert set(statuses) <= {201, 503}
        assert 503 in statuses
        status, problem = await _ready(service.url)
        assert (status, problem["checks"]["disk"] != "ok") == (503, True)

        ballast.unlink()
        await until(lambda: _is(post("after"), 201), SECONDS)
        await until(lambda: _is_ready(service.url), SECONDS)
        async with session.get(f"{service.url}/components/core/metrics/count") as answer:
            assert answer.status == 404 or (await answer.json())["count"] >= 0
        async with session.get(f"{service.url}/metrics/", headers={"Accept": "application/x-ndjson"}) as answer:
            names = [line.split(b'"item":"')[1].split(b'"')[0].decode() for line in (await answer.read()).splitlines()]
    acknowledged = {f"full{number}" for number, status in enumerate(statuses) if status == 201}
    assert acknowledged | {"before", "after"} <= set(names)
    assert len([name for name in names if name in acknowledged]) == len(acknowledged)


def _noise(text: str) -> str:
    """Return a text of the same length that does not compress."""
    return os.urandom(len(text) // 2).hex()


async def _is(status: Any, wanted: int) -> bool:
    return (await status) == wanted


async def _is_ready(url: str) -> bool:
    return (await _ready(url))[0] == 200


async def test_interrupted_requests_store_nothing_in_part(reachable_path: Path) -> None:
    """Other clients are not affected."""
    async with serving(reachable_path / "data") as service:
        whole = b'{"session_h": "' + b"s" * 32
        for length in (0, 5, 20, 60, 90, 120, 150):
            head = b"POST /metrics/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400\r\n\r\n" + whole
            async with connected(service.url) as (_, writer):
                writer.write(head[:length])
                await writer.drain()
                writer.transport.abort()
        async with under_load(service.url, senders=2) as load:
            await load.further(20)
        assert sorted(await stored(service.url)) == sorted(load.acknowledged)
        assert service.errors.decode() == ""
