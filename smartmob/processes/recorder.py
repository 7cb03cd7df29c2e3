"""Recording process events and digests in the background: the caller does not wait for the database."""

from __future__ import annotations

import asyncio
from collections import deque

from smartmob.errors import Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import ids
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.model import ProcessEvent
from smartmob.processes.process_changes import Change, StoredEvent, UpdateProcess

log = get_logger()

_QUEUED_ITEMS = 100_000
"""The maximum length of the queue while the database is unavailable."""
_BATCH_ITEMS = 1_000
_RETRY_SECONDS = 0.5


class Recorder:
    """Writes changes in a background task. `close` writes what is queued."""

    def __init__(self, writer: RowWriter[Change], tasks: TaskRegistry) -> None:
        self._writer = writer
        self._tasks = tasks
        self._queue: deque[Change] = deque()
        self._added = asyncio.Event()
        self._closing = False
        self._single = 0  # the number of next changes that are written one by one
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the background task."""
        self._task = self._tasks.supervise("process-recorder", self._write_until_closed)

    async def close(self) -> None:
        """Write what is queued, unless the database is unavailable, and stop the background task."""
        self._closing = True
        self._added.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def add(self, change: UpdateProcess | ProcessEvent) -> None:
        """Queue a change. When the queue is full, its oldest change is dropped and logged."""
        if len(self._queue) >= _QUEUED_ITEMS:
            self._queue.popleft()
            log.error("process.event_dropped", waiting=_QUEUED_ITEMS)
        self._queue.append(stored_event(change) if isinstance(change, ProcessEvent) else change)
        self._added.set()

    async def _write_until_closed(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._added.clear()
                await self._added.wait()
                continue
            size = min(1 if self._single else _BATCH_ITEMS, len(self._queue))
            batch = [self._queue.popleft() for _ in range(size)]
            self._single = max(0, self._single - 1)
            try:
                await self._writer.put(batch)
            except Unavailable:
                if self._closing:
                    log.error("process.events_lost", count=len(batch) + len(self._queue))
                    return
                self._queue.extendleft(reversed(batch))
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:
                if len(batch) == 1:
                    log.error("process.event_refused", exc_info=error)
                    continue
                # The database refuses one of them for its content: write them one by one, so that only that change is
                # lost.
                self._queue.extendleft(reversed(batch))
                self._single = len(batch)


def stored_event(event: ProcessEvent) -> StoredEvent:
    """Return the event with a new key."""
    return StoredEvent(ids.uuid7(), event)
