"""Background tasks: each has a name, its failure is logged, and it ends with the service.

Work that must run as long as the service is supervised: when it raises an exception, it is started again after a pause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()


class Backoff(msgspec.Struct, frozen=True):
    """The pauses before supervised work is started again, in seconds.

    The pause is `first`, doubled after each failure in a row, and at most `longest`. Work that has run for `proven`
    seconds counts as alive again.
    """

    first: float = 0.1
    longest: float = 30.0
    proven: float = 2.0


class TaskRegistry:
    """The tasks of one service. Call `close` after the last `start`."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._supervised: set[asyncio.Task[Any]] = set()
        self._dead: dict[str, str] = {}

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start `work` as the task `name` and return it. An exception is logged as `task.failed`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def supervise(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start `work` as the task `name`, and start it again after a pause whenever it raises an exception.

        The task ends when `work` returns or the task is cancelled.
        """
        task = self.start(name, self._keep_alive(name, work))
        self._supervised.add(task)
        return task

    def names(self) -> list[str]:
        """Return the sorted names of the running tasks."""
        return sorted(task.get_name() for task in self._tasks)

    def supervised(self) -> list[str]:
        """Return the sorted names of the supervised tasks, including those that wait for their next start."""
        return sorted(task.get_name() for task in self._supervised)

    def dead(self) -> dict[str, str]:
        """Return the class names of the exceptions of supervised tasks that do not count as alive, by task."""
        return dict(self._dead)

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_alive(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        pause = self._backoff.first
        while True:
            proof = loop.call_later(self._backoff.proven, self._mark_restarted, name)
            began = loop.time()
            try:
                await work()
                self._mark_restarted(name)
                return
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    self._dead.pop(name, None)
                    raise
                # The task itself was not cancelled, but something for which the work waited was: start the work again.
                died: BaseException = error
            except Exception as error:
                died = error
            finally:
                proof.cancel()
            if loop.time() - began >= self._backoff.proven:
                pause = self._backoff.first
            self._dead[name] = type(died).__name__
            log.error("task.died", task=name, again_in=pause, exc_info=died)
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._backoff.longest)

    def _mark_restarted(self, name: str) -> None:
        if self._dead.pop(name, None) is not None:
            log.info("task.restarted", task=name)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._supervised.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", task=task.get_name(), exc_info=error)


class LoopLag:
    """Measures the delay of the timers of the event loop, which grows when a step of the loop takes long.

    A measurement is made every `every` seconds, and counts for `kept` seconds.
    """

    def __init__(self, every: float = 0.5, kept: float = 60) -> None:
        self._every = every
        self._late: deque[float] = deque(maxlen=round(kept / every))

    @property
    def worst(self) -> float:
        """Return the longest delay of the measurements that count, in seconds."""
        return max(self._late, default=0.0)

    async def watch(self) -> None:
        """Measure until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every
            await asyncio.sleep(self._every)
            self._late.append(max(0.0, loop.time() - due))
