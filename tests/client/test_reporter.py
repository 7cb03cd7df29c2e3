"""The reporting agent against a running service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from smartmob.client.backlog import Backlog
from smartmob.client.reporter import Clocks, HostCredentials, Reporter
from smartmob.errors import NotAuthenticated
from smartmob.kernel.runtime import clock
from tests.hosts.samples import client_id, register, report
from tests.waiting import SECONDS, until

CLOCKS = Clocks(clock.epoch, clock.steady)


@pytest.fixture(name="reporting")
def _reporting(tmp_path: Path) -> Callable[..., Any]:
    """Return the maker of a context in which an agent reports: the agent and what it says."""

    @asynccontextmanager
    async def make(
        url: str, name: str = "rack7", clocks: Clocks = CLOCKS, token: str | None = None
    ) -> AsyncIterator[tuple[Reporter, list[str]]]:
        said: list[str] = []
        reporter = Reporter(
            HostCredentials(url, name, "123", token), Backlog(tmp_path / name, 10**6), clocks, 0.1, said.append
        )
        task = asyncio.get_running_loop().create_task(reporter.run())
        try:
            yield reporter, said
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return make


def _url(client: Any) -> str:
    return f"http://127.0.0.1:{client.server.port}"


async def test_the_reporter_registers_itself_and_sends_samples(client: Any, reporting: Callable[..., Any]) -> None:
    """It registers itself, measures its clock, and sends samples with all figures."""
    async with reporting(_url(client)) as (reporter, said):
        await until(lambda: reporter.delivered >= 5)
    assert said == [f"reporting to {_url(client)} as rack7"]
    rows = await report(client, "rack7", client_id("rack7"))
    assert len(rows) >= 5
    async with client.get("/hosts/rack7") as response:
        host = await response.json()
    assert abs(host["clock"]["offset"]) < 1
    assert host["latest"]["cores"]
    assert all(host["latest"][name] is not None for name in ("cpu", "mem", "storage", "load", "swap", "net_sent"))


async def _are_stored_once(database_url: str) -> bool:
    """Return whether no sample is stored twice, by their numbers: on a busy machine two may have the same time."""
    connection = await asyncpg.connect(database_url)
    try:
        query = "SELECT count(*) = count(DISTINCT n) FROM host_samples WHERE host = 'rack7'"
        return bool(await connection.fetchval(query))
    finally:
        await connection.close()


async def test_while_the_service_is_away(
    client: Any, reporting: Callable[..., Any], database_url: str, tmp_path: Path
) -> None:
    """Samples wait on disk, and the next agent with this folder delivers them."""
    async with reporting("http://127.0.0.1:9", "rack7") as (_, said):
        await until(lambda: Backlog(tmp_path / "rack7", 10**6).size > 1000)
    assert "is away" in said[0]
    assert len(said) == 1
    waiting = len(Backlog(tmp_path / "rack7", 10**6).take(1000, 10**6))
    async with reporting(_url(client)) as (reporter, _):
        await until(lambda: reporter.delivered > waiting)
    rows = await report(client, "rack7", client_id("rack7"))
    assert len(rows) > waiting
    times = [row["unix_time"] for row in rows]
    assert times == sorted(times)
    assert await _are_stored_once(database_url)


async def test_a_clock_that_is_wrong(client: Any, reporting: Callable[..., Any]) -> None:
    """Samples have the times of the service although the machine's clock is a day behind and then steps."""
    wrong = -86_400.0
    clocks = Clocks(lambda: clock.epoch() + wrong, clock.steady)
    before = clock.epoch()

    async def right() -> list[float]:
        """Return the times that are not the machine's own: samples taken before the first exchange have those."""
        rows = await report(client, "rack7", client_id("rack7"))
        return [row["unix_time"] for row in rows if row["unix_time"] > before - 100]

    async def some_since(moment: float) -> bool:
        return sum(time > moment for time in await right()) >= 3

    async with reporting(_url(client), clocks=clocks) as (_, said):
        await until(lambda: any("s off" in line for line in said))
        await until(lambda: some_since(before))
        wrong, stepped = 3600.0, clock.epoch()
        await until(lambda: some_since(stepped))
    assert all(before - 1 <= time <= clock.epoch() + 1 for time in await right())
    async with client.get("/hosts/rack7") as response:
        offset = (await response.json())["clock"]["offset"]
    assert round(offset) in (86_400, -3600)


async def test_another_machine_of_that_name(client: Any, tmp_path: Path) -> None:
    """It gives up and says what to do."""
    await register(client, "rack7", "other")
    reporter = Reporter(
        HostCredentials(_url(client), "rack7", "123"), Backlog(tmp_path, 1000), CLOCKS, 0.1, lambda _: None
    )
    with pytest.raises(NotAuthenticated, match="--name"):
        await asyncio.wait_for(reporter.run(), SECONDS)


async def test_closed_registration_needs_the_token(
    with_settings: Any, reporting: Callable[..., Any], tmp_path: Path
) -> None:
    """Without the token it gives up and says what to do; with it, it registers and reports."""
    client = await with_settings(token="abc")
    account = HostCredentials(_url(client), "rack7", "123")
    with pytest.raises(NotAuthenticated, match="--token-file"):
        await asyncio.wait_for(
            Reporter(account, Backlog(tmp_path / "x", 1000), CLOCKS, 0.1, lambda _: None).run(), SECONDS
        )
    async with reporting(_url(client), token="abc") as (reporter, _):
        await until(lambda: reporter.delivered >= 2)


async def test_samples_that_the_database_refuses_are_sent_again(
    client: Any, reporting: Callable[..., Any], database_url: str
) -> None:
    """Samples that the service cannot store are sent again later, so the stored series has no gap."""
    async with reporting(_url(client)) as (reporter, _):
        await until(lambda: reporter.delivered >= 3)
        breaker = await asyncpg.connect(database_url)
        for _ in range(3):
            await breaker.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )
            there = reporter.delivered
            await until(lambda there=there: reporter.delivered >= there + 3)
        await breaker.close()
    assert len(await report(client, "rack7", client_id("rack7"))) >= reporter.delivered - 1
    assert await _are_stored_once(database_url)


async def test_the_id_of_an_account_is_that_of_seed_001() -> None:
    """Its id is the one of seed 001."""
    account = HostCredentials("http://x", "wood", "123")
    assert account.client_id == client_id("wood", "123")
    assert replace(account, name="a").client_id != account.client_id
