"""Files that clients upload: one attempt at a time for each file, and the newest attempt of a client wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_HANDOVER_SECONDS = 1.0
"""Seconds that an attempt waits for another one to end. The service may see only after the next request that the client
before has disconnected: until then the lost attempt is writing the file."""


class TransferLocks:
    """The tasks that write uploaded files, by path."""

    def __init__(self, handover_seconds: float = _HANDOVER_SECONDS) -> None:
        self._handover_seconds = handover_seconds
        self._writers: dict[Path, tuple[str | None, asyncio.Task[object]]] = {}

    @asynccontextmanager
    async def lock(self, path: Path, transfer: str | None) -> AsyncIterator[None]:
        """Register the current task as the writer of `path` while the context lasts.

        An earlier attempt of the same `transfer`, whose connection the client has lost, is cancelled and awaited. An
        attempt that is already being cancelled is awaited. Any other attempt gets a moment to end, and is left alone:
        the lock on the file itself refuses the newcomer.
        """
        if earlier := self._writers.get(path):
            name, writer = earlier
            if not writer.cancelling() and transfer is not None and name == transfer:
                writer.cancel()
            if not writer.cancelling():
                await asyncio.wait({writer}, timeout=self._handover_seconds)
            if writer.cancelling():
                await asyncio.wait({writer})
        task = asyncio.current_task()
        assert task is not None
        entry = self._writers.setdefault(path, (transfer, task))
        try:
            yield
        finally:
            if entry[1] is task:
                self._writers.pop(path, None)
