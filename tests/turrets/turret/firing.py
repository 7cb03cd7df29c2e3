"""User pools for tests: scripts as classes, and the results that they gave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.protocol import Slice, TurretCounts
from smartmob.turrets.slices import TRANSACTION, Distribution
from smartmob.turrets.turret import configuration
from smartmob.turrets.turret.script import Script
from smartmob.turrets.turret.user_pool import FiringPlan, UserPool


class Firing:
    """A user pool that fires, and all results taken from it."""

    def __init__(self, transaction: type, tasks: TaskRegistry, **settings: Any) -> None:
        given = {
            **{"name": "n", "script": "s.py", "cannons": 1, "hq_address": "h", "hq_publisher": 1, "hq_rc": 2},
            **settings,
        }
        self.pool = UserPool(Script(transaction), given, configuration.parse(given), tasks)
        self.slices: list[Slice] = []
        self.frames: list[bytes] = []
        self._tasks = tasks
        self._fire: asyncio.Task[None] | None = None
        self.start = 0.0

    def begin(self, *, ahead: float = 0.0, seconds: float = 1e6, raw: bool = False, rate: float | None = None) -> None:
        """Begin `ahead` seconds from now (negative: the run began before)."""
        self.start = time.monotonic() + ahead
        plan = FiringPlan(start=self.start, end=self.start + seconds, raw=raw, context={"c": 1}, rate=rate)
        self._fire = self._tasks.start("fire", self.pool.fire(plan))

    def look(self) -> TurretCounts:
        """Take the results so far, and return the counts."""
        batch = self.pool.take()
        self.slices += batch.slices
        self.frames += batch.frames
        return batch.counts

    async def end(self, *, at_once: bool = False) -> TurretCounts:
        """Stop, and return the final counts."""
        self.pool.stop(at_once=at_once)
        return await self.ended()

    async def ended(self) -> TurretCounts:
        """Wait until firing has ended, and return the final counts."""
        assert self._fire is not None
        await self._fire
        batch = self.pool.take(everything=True)
        self.slices += batch.slices
        self.frames += batch.frames
        return batch.counts

    def whole(self, timer: str = TRANSACTION) -> Distribution:
        """Return all values of a timer."""
        made = Distribution()
        for part in self.slices:
            if part.timer == timer:
                made.merge(part)
        return made


@asynccontextmanager
async def firing(transaction: type, **settings: Any) -> AsyncIterator[Firing]:
    """Yield a pool, and stop its tasks at the end."""
    tasks = TaskRegistry()
    try:
        yield Firing(transaction, tasks, **settings)
    finally:
        await tasks.close()
