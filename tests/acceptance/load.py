"""Sends metrics without pause while a fault is injected, each with a name of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.metrics.samples import metric
from tests.waiting import SECONDS


class Load:
    """The metrics that were sent, and their answers."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        self.unanswered = 0
        self._changed = asyncio.Condition()

    async def note(self, name: str, status: int | None) -> None:
        """Record an answer."""
        async with self._changed:
            if status == 201:
                self.acknowledged.append(name)
            elif status is None:
                self.unanswered += 1
            else:
                self.refused.append(status)
            self._changed.notify_all()

    async def further(self, count: int) -> None:
        """Wait until so many more metrics have been acknowledged."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.acknowledged) >= goal)


@asynccontextmanager
async def under_load(url: str, senders: int = 16) -> AsyncIterator[Load]:
    """Send metrics from many senders until the block ends."""
    load, numbers, ending = Load(), itertools.count(), asyncio.Event()

    async def send() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session:
            while not ending.is_set():
                name = f"m{next(numbers)}"
                try:
                    async with session.post(f"{url}/metrics/", json=metric(item_variant=name)) as answer:
                        if answer.status != 201:
                            assert "Retry-After" in answer.headers, await answer.text()
                        await load.note(name, answer.status)
                except aiohttp.ClientError:
                    await load.note(name, None)
                    # A service that is gone refuses at once: let the others run.
                    await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(senders):
            group.create_task(send())
        try:
            yield load
        finally:
            ending.set()


async def stored(url: str) -> list[str]:
    """Return the names of the stored metrics, with repetitions."""
    accept = {"Accept": "text/csv"}
    async with aiohttp.ClientSession(headers=accept) as session, session.get(f"{url}/metrics/") as answer:
        lines = (await answer.text()).splitlines()
    column = lines[0].split(",").index("item_variant")
    return [line.split(",")[column] for line in lines[1:]]
