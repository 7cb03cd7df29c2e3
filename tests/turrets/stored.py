"""The tables of load tests without a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.protocol import Slice
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.writer import TurretsWriter


class Store:
    """The reader, the writer, and the group commit of a database."""

    def __init__(self, url: str) -> None:
        self.database = Database(DatabaseSettings(url=url, patience=60.0), None)
        self.reader, self.writer = TurretsReader(self.database), TurretsWriter(self.database)
        self.live = GroupCommitWriter("turrets", self.database, self.writer.commit)

    async def slices(self, run: UUID) -> list[Slice]:
        """Return the slices of a run by second and timer."""
        found = [part async for some in self.reader.slices(run) for part in some]
        return sorted(found, key=lambda part: (part.second, part.timer))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """Yield an open store."""
    store, tasks = Store(url), TaskRegistry()
    await store.database.open()
    await store.live.start(tasks)
    try:
        yield store
    finally:
        await store.live.close()
        await tasks.close()
        await store.database.close()
