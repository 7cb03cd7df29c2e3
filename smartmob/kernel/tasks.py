"""Long-lived work: every task has a name, its failure is logged, and it ends with the service."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class TaskRegistry:
    """Starts, names and ends the tasks of one service.

    After the last `start` you must `close`, which cancels what still runs and waits for it.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start `work` as the task `name`. An exception that it raises is logged as `task.failed`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def names(self) -> list[str]:
        """Return the names of the tasks that run now."""
        return sorted(task.get_name() for task in self._tasks)

    async def close(self) -> None:
        """Cancel every task and wait until each has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", task=task.get_name(), exc_info=error)


class LoopLag:
    """How late the event loop comes to its timers: what all who wait feel when one of its steps is long.

    `every` is the time between two looks and `kept` for how long one counts, both in seconds.
    """

    def __init__(self, every: float = 0.5, kept: float = 60) -> None:
        self._every = every
        self._late: deque[float] = deque(maxlen=round(kept / every))

    @property
    def worst(self) -> float:
        """Return the longest delay among the looks that count, in seconds."""
        return max(self._late, default=0.0)

    async def watch(self) -> None:
        """Look again and again."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every
            await asyncio.sleep(self._every)
            self._late.append(max(0.0, loop.time() - due))
