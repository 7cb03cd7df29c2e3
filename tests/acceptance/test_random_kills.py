"""The process runner under random kills: it reaches the accepted state, and no other process runs."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.acceptance.test_processes import RUNNING, Client, agent
from tests.processes.archives import make_archive
from tests.processes.file_server import FileServer, running_file_server
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

TENANTS, NODES, ACTS, LIVES = 8, 5, 25, 2
SEED = 1

KINDS = {
    "plain": ("exec {1}", "1"),
    "daemon": ("(setsid {2} &); {3} & exec {1}", "123"),
    "stranger": ("(env -i setsid {2} & exec {3} &); exec {1}", "123"),
    "stubborn": ("trap '' TERM; (setsid {2}) & {1}; exec {3}", "12"),
}
"""Commands of programs, with `{1}` to `{3}` for their processes, and the processes that run with each."""


def _member(mark: str, number: str, port: object) -> str:
    """Return the argument that identifies a process, a number of seconds."""
    return f"{mark}{number}{port}"


def _procfile(mark: str, command: str) -> str:
    sleeps = [f"sleep {_member(mark, str(number), '$PORT')}" for number in range(4)]
    return f"web: {command.format(*sleeps)}\n"


def _living(mark: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if words[:1] == ["sleep"] and words[1].startswith(mark) and process.status() != psutil.STATUS_ZOMBIE:
                found[words[1]] += 1
    return found


class Tenant:
    """A client with processes of its own, which remembers the answers about them.

    `kinds` are those of all that it has ever created; `wanted` the states that its processes have to come to. What was
    asked of a service that was killed before it answered is not known, and those processes are left alone.
    """

    def __init__(self, number: int, dice: random.Random, sources: dict[str, str]) -> None:
        self.wanted: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self._dice = dice
        self._sources = sources
        self._nodes = [f"web.{number * NODES + each}" for each in range(NODES)]

    async def act(self, client: Client) -> None:
        """Send one request about one process."""
        node = self._dice.choice(self._nodes)
        if node not in self.wanted:
            await self._create(client, node)
            return
        verb, after = self._dice.choice(
            [("restart", RUNNING), ("restart", RUNNING), ("stop", "stopped"), ("delete", ""), ("kill", "")]
        )
        if verb == "kill":
            await self._kill(client, node)
            return
        before = self._forget(node)
        async with client.session.post(f"{client.url}/{verb}-process/app.{node}", json={}) as response:
            assert response.status in (200, 409), await response.text()
            after = after if response.status == 200 else before
        self._nodes.append(node)
        if after:
            self.wanted[node] = after

    async def _create(self, client: Client, node: str) -> None:
        self.kinds[node] = self._dice.choice(list(KINDS))
        self._forget(node)
        await client.create(self._sources[self.kinds[node]], node, grace=0.2)
        self._nodes.append(node)
        self.wanted[node] = RUNNING

    async def _kill(self, client: Client, node: str) -> None:
        async with client.session.get(f"{client.url}/process-status/app.{node}") as response:
            pid = (await response.json())["pid"]
        if pid is not None:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def _forget(self, node: str) -> str:
        """Wait for an answer about a process, and return the wanted state."""
        self._nodes.remove(node)
        return self.wanted.pop(node, "")


def _kill_something(service: psutil.Process, dice: random.Random) -> None:
    """Kill a subreaper, the watchdog, or all of them at the same moment."""
    with suppress(psutil.NoSuchProcess, IndexError):
        watchdog = service.children()[-1]
        subreapers = watchdog.children()
        which = dice.choice([[watchdog], [dice.choice(subreapers)], [dice.choice(subreapers)], [*subreapers, watchdog]])
        for process in which:
            process.suspend()
        for process in which:
            process.kill()


async def _live(client: Client, service: psutil.Process, tenants: list[Tenant], dice: random.Random) -> list[Any]:
    """Let all tenants send requests at the same time, each one after the other, and kill processes at random.

    Return what each was kept from acting on by; None for those who were not.
    """

    async def stay(tenant: Tenant) -> None:
        for _ in range(ACTS):
            if dice.random() < 0.08:
                _kill_something(service, dice)
            await tenant.act(client)

    return await asyncio.gather(*map(stay, tenants), return_exceptions=True)


async def test_accepted_requests_take_effect_under_random_kills(database_url: str, tmp_path: Path) -> None:
    """Any part of the service and the service itself may be killed."""
    dice, mark = random.Random(SEED), f"600.{os.getpid()}"
    async with running_file_server() as files:
        tenants = list(_tenants(files, dice, mark))
        for _ in range(LIVES):
            async with agent(tmp_path / "data", database_url) as (command, client):
                service = psutil.Process(command.pid)
                acting = asyncio.ensure_future(_live(client, service, tenants, dice))
                await until(lambda: sum(len(tenant.wanted) for tenant in tenants) > TENANTS * NODES / 2)
                service.kill()
                assert [error for error in await acting if not isinstance(error, aiohttp.ClientError | None)] == []
                await command.wait()
        async with agent(tmp_path / "data", database_url) as (command, client):
            assert await _live(client, psutil.Process(command.pid), tenants, dice) == [None] * TENANTS
            await until(lambda: _settled(client, tenants, mark), 120)
            await asyncio.gather(*(client.delete(f"app.{node}") for node in await client.states()))
            assert _living(mark) == {}


def _tenants(files: FileServer, dice: random.Random, mark: str) -> Iterator[Tenant]:
    sources = {}
    for kind, (command, _) in KINDS.items():
        sources[kind] = files.file(f"/{kind}", make_archive("zip", {"Procfile": _procfile(mark, command)}))
    for number in range(TENANTS):
        yield Tenant(number, dice, sources)


async def _settled(client: Client, tenants: list[Tenant], mark: str) -> bool:
    """Return whether all processes have their wanted state, and no other process runs."""
    async with client.session.get(f"{client.url}/api/v1/processes") as response:
        processes: dict[str, dict[str, Any]] = {each["node"]: each for each in (await response.json())["processes"]}
    wanted = {node: state for tenant in tenants for node, state in tenant.wanted.items()}
    if any(node not in processes or processes[node]["state"] != state for node, state in wanted.items()):
        return False
    kinds = {node: kind for tenant in tenants for node, kind in tenant.kinds.items()}
    running = [
        (process["port"], KINDS[kinds[node]][1]) for node, process in processes.items() if process["state"] == RUNNING
    ]
    return _living(mark) == Counter(_member(mark, number, port) for port, members in running for number in members)
