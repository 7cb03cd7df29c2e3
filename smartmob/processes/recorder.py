"""Keeps what happens to processes: nobody waits for it, and it is written as soon as the database takes it."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from smartmob.errors import Unavailable
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import ids
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.model import ProcessEvent
from smartmob.processes.store import Change, StoredEvent, UpdateProcess

log = structlog.get_logger()

_MOST_WAITING = 100_000
_AT_ONCE = 1_000
_PAUSE_SECONDS = 0.5


class Recorder:
    """Writes changes behind the back of those who cause them. `start` it, and `close` it to write what waits."""

    def __init__(self, writer: GroupCommitWriter[Change], tasks: TaskRegistry) -> None:
        self._writer = writer
        self._tasks = tasks
        self._waiting: deque[Change] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._one_by_one = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = self._tasks.supervise("process-recorder", self._write_until_closed)

    async def close(self) -> None:
        """Write what waits, if the database is there, and end."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def add(self, change: UpdateProcess | ProcessEvent) -> None:
        """Keep a change; the oldest is dropped when the database is away for very long."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            log.error("process.event_dropped", waiting=_MOST_WAITING)
        self._waiting.append(kept(change) if isinstance(change, ProcessEvent) else change)
        self._work.set()

    async def _write_until_closed(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._work.clear()
                await self._work.wait()
                continue
            at_once = 1 if self._one_by_one else _AT_ONCE
            batch = [self._waiting.popleft() for _ in range(min(at_once, len(self._waiting)))]
            self._one_by_one = max(0, self._one_by_one - 1)
            try:
                await self._writer.put(batch)
            except Unavailable:
                if self._closing:
                    log.error("process.events_lost", count=len(batch) + len(self._waiting))
                    return
                self._waiting.extendleft(reversed(batch))
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception as error:
                if len(batch) == 1:
                    log.error("process.event_refused", exc_info=error)
                    continue
                # One of them is what the database refuses; the others are not lost for it.
                self._waiting.extendleft(reversed(batch))
                self._one_by_one = len(batch)


def kept(happening: ProcessEvent) -> StoredEvent:
    """Return the happening with a key of its own."""
    return StoredEvent(ids.uuid7(), happening)
