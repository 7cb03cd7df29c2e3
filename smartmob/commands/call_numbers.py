"""The numbers of calls, which are the ids of jobs."""

from __future__ import annotations

import asyncio

from smartmob.commands.job_records import JobRecords


class CallNumbers:
    """Numbers from blocks that the database reserves, so that no number is used twice, also after a restart."""

    def __init__(self, store: JobRecords) -> None:
        self._store = store
        self._numbers = iter(range(0))
        self._reserving = asyncio.Lock()

    async def reserve(self) -> None:
        """Reserve a block of numbers."""
        self._numbers = iter(await self._store.reserve())

    async def next(self) -> int:
        """Return a number that no other call of this database has."""
        while True:
            try:
                return next(self._numbers)
            except StopIteration:
                async with self._reserving:
                    await self.reserve()
