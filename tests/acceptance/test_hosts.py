"""Many machines report to the installed service, which is restarted meanwhile."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from smartmob.kernel.runtime import clock
from tests.acceptance.commands import PROGRAMS, SECONDS, environment, launch, postgres_pid, serving
from tests.hosts.samples import client_id, sample
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

MACHINES = 24
SAMPLES = 12


class _Machine:
    """A machine that sends like the existing clients, and repeats a sample after a lost answer."""

    def __init__(self, number: int, start: int) -> None:
        self.name = f"m{number}"
        self.client_id = client_id(self.name)
        self.answered: list[int] = []
        self._times = iter(range(start, start + SAMPLES))
        self._next: int | None = next(self._times)

    async def report(self, session: aiohttp.ClientSession, url: str) -> None:
        """Send until all samples are answered; raises when the connection breaks."""
        async with session.ws_connect(f"{url}/echo") as socket:
            while self._next is not None:
                await socket.send_str('{"type": "HELLO"}')
                if not (await socket.receive_str()).startswith('{"type": "WELCOME"'):
                    return
                message = {"type": "CLIENT_DATA", "data": sample(self._next, id=1), "client_id": self.client_id}
                await socket.send_str(orjson.dumps(message).decode())
                answer = orjson.loads(await socket.receive_str())
                if answer["type"] == "DATA_RETURN":
                    self.answered.append(answer["payload"]["data"]["time"])
                    self._next = next(self._times, None)

    @property
    def done(self) -> bool:
        """Return whether every sample was answered."""
        return self._next is None


async def _report_through(machine: _Machine, session: aiohttp.ClientSession, urls: list[str]) -> None:
    while not machine.done:
        with suppress(aiohttp.ClientError, OSError, TypeError):
            await machine.report(session, urls[-1])
        await asyncio.sleep(0.05)


async def _register(session: aiohttp.ClientSession, url: str, machine: _Machine) -> None:
    document = {"username": machine.name, "password": "123"}
    async with session.post(f"{url}/client", json=document) as response:
        assert response.status == 200


async def _stored(session: aiohttp.ClientSession, url: str, machine: _Machine) -> list[int]:
    headers = {"Authorization": machine.client_id}
    async with session.get(f"{url}/client/{machine.name}/time/report", headers=headers) as response:
        return [row["unix_time"] for row in (await response.json())["payload"]]


async def test_samples_are_stored_once_when_the_service_is_stopped_or_killed(reachable_path: Path) -> None:
    """No acknowledged sample is lost."""
    data, start = reachable_path / "data", int(clock.epoch()) - 1000
    machines = [_Machine(number, start) for number in range(MACHINES)]
    urls: list[str] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for ending in (signal.SIGTERM, signal.SIGKILL, None):
            async with serving(data) as service:
                urls.append(service.url)
                if len(urls) == 1:
                    await asyncio.gather(*(_register(session, service.url, machine) for machine in machines))
                    work = [asyncio.create_task(_report_through(machine, session, urls)) for machine in machines]
                if ending is not None:
                    goal = (MACHINES * SAMPLES) * len(urls) // 4
                    await until(lambda goal=goal: sum(len(m.answered) for m in machines) >= goal, SECONDS)
                    await service.stop(ending)
                    continue
                await asyncio.wait_for(asyncio.gather(*work), SECONDS)
                for machine in machines:
                    stored = await _stored(session, service.url, machine)
                    assert stored == list(range(start, start + SAMPLES)), machine.name
                    assert set(machine.answered) <= set(stored)


async def _agent(url: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "report-host", "--to", url, "--name", "rack7", "--interval", "0.1"),
        *("--state-dir", folder),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )


async def _numbers(data: Path) -> list[int]:
    """Return the numbers that the agent gave its samples."""
    connection = await asyncpg.connect(f"postgresql://smartmob@/smartmob?host={data / 'postgres' / 'socket'}")
    try:
        rows = await connection.fetch("SELECT n FROM host_samples WHERE host = 'rack7' ORDER BY n")
    finally:
        await connection.close()
    return [row["n"] for row in rows]


async def test_an_agent_keeps_its_samples_while_the_service_is_down(reachable_path: Path, tmp_path: Path) -> None:
    """There is no gap, even when the agent is restarted."""
    data = reachable_path / "data"

    async def times(url: str) -> list[float]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/hosts/rack7/samples", headers={"Accept": "application/x-ndjson"}) as response,
        ):
            if response.status == 404:
                return []
            points: list[dict[str, Any]] = [orjson.loads(line) async for line in response.content]
        return [_seconds(point["time"]) for point in points]

    async with serving(data) as first:
        url, port = first.url, first.url.rpartition(":")[2]
        agent = await _agent(url, tmp_path)
        await until(lambda: _more(times(url), 5), SECONDS)
    backlog = tmp_path / "report-host" / "rack7" / "backlog"
    await until(lambda: sum(path.stat().st_size for path in backlog.glob("*")) > 2000, SECONDS)
    agent.send_signal(signal.SIGTERM)
    assert await agent.wait() == 0
    agent = await _agent(url, tmp_path)
    again = await launch("--port", port, "--data-dir", data)
    try:
        await again.event("bind")
        before = len(await times(url))
        await until(lambda: _more(times(url), before + 20), SECONDS)
        await until(lambda: not list(backlog.glob("*")), SECONDS)
        found, numbers = await times(url), await _numbers(data)
    finally:
        agent.send_signal(signal.SIGTERM)
        await agent.wait()
        await again.stop()
        assert postgres_pid(data) is None
    # On a busy machine two samples may be of the same millisecond; that none is stored twice show their numbers.
    assert found == sorted(found)
    # Each run of the agent counts from a number of its own; between those none is missing.
    assert sum(later != earlier + 1 for earlier, later in pairwise(numbers)) == 1


async def _more(found: Any, count: int) -> bool:
    return len(await found) >= count


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
