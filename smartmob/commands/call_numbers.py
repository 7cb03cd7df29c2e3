"""The numbers of calls, which are the ids of jobs."""

from __future__ import annotations

import asyncio

from smartmob.commands.job_records import JobRecords


class CallNumbers:
    """Numbers from blocks that the database reserves, so that no number is used twice, even after a restart."""

    def __init__(self, store: JobRecords) -> None:
        self._store = store
        self._unused = range(0)
        self._reserving = asyncio.Lock()

    async def reserve(self) -> None:
        """Reserve a block of numbers."""
        self._unused = await self._store.reserve()

    async def give_back(self) -> None:
        """Give back the numbers that were not used, so that the numbers of jobs stay short over many restarts."""
        unused, self._unused = self._unused, range(0)
        if unused:
            await self._store.give_back(unused)

    async def next(self) -> int:
        """Return a number that no other call of this database has."""
        while not self._unused:
            async with self._reserving:
                if not self._unused:
                    await self.reserve()
        number, self._unused = self._unused[0], self._unused[1:]
        return number
