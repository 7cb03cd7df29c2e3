"""Files that clients upload: one attempt at a time for each file, and the newest attempt of a client wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class TransferLocks:
    """The tasks that write uploaded files, by path."""

    def __init__(self) -> None:
        self._writers: dict[Path, tuple[str | None, asyncio.Task[object]]] = {}

    @asynccontextmanager
    async def lock(self, path: Path, transfer: str | None) -> AsyncIterator[None]:
        """Register the current task as the writer of `path` while the context lasts.

        An earlier attempt of the same `transfer`, whose connection the client has lost, is cancelled and awaited. An
        attempt that is already being cancelled is awaited. Any other attempt is left alone: the lock on the file
        itself refuses the newcomer.
        """
        earlier = self._writers.get(path)
        if earlier is not None:
            if not earlier[1].cancelling() and transfer is not None and earlier[0] == transfer:
                earlier[1].cancel()
            if earlier[1].cancelling():
                await asyncio.wait({earlier[1]})
        task = asyncio.current_task()
        assert task is not None
        entry = self._writers.setdefault(path, (transfer, task))
        try:
            yield
        finally:
            if entry[1] is task:
                self._writers.pop(path, None)
