"""Opens the database of a service for maintenance commands; an embedded one that does not run is started."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from smartmob.errors import StartupError
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.embedded.cluster import EmbeddedPostgres, JoinedPostgres
from smartmob.kernel.runtime.datadir import DataDirectory, InUse
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings


class DatabaseTarget(msgspec.Struct, frozen=True):
    """An open database. `serving` is whether a service runs on its data directory; `name` is for messages."""

    database: Database
    migrations: Sequence[Migration]
    name: str
    embedded: EmbeddedPostgres | None
    serving: bool

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that a program must inherit to reach the database."""
        return () if self.embedded is None else self.embedded.descriptors


@asynccontextmanager
async def reach(
    settings: Settings, migrations: Sequence[Migration], *, make: bool = False
) -> AsyncIterator[DatabaseTarget]:
    """Open the database that `smartmob serve` uses with the same settings, until the block ends.

    An embedded database that does not run is started and stopped again. With `make`, one that does not exist is made.
    Raises StartupError.
    """
    if settings.database.url:
        # Behind a pooler, prepared statements would be those of others; commands repeat few.
        pooled = replace(settings.database, statement_cache_size=0)
        async with _opened(Database(pooled, None)) as database:
            yield DatabaseTarget(database, migrations, "the external database", None, False)
        return
    home, tasks = settings.data_dir / "postgres", TaskRegistry()
    embedded = EmbeddedPostgres(home, tasks)
    if not embedded.made and not make:
        raise StartupError(
            f"there is no embedded database in {settings.data_dir}. Name the service's folder with --data-dir, "
            "or its PostgreSQL with --database-url-file."
        )
    folder, serving = DataDirectory(settings.data_dir), False
    try:
        folder.hold()
    except InUse:
        embedded, serving = JoinedPostgres(home, tasks), True
    try:
        async with _opened(Database(settings.database, embedded)) as database:
            yield DatabaseTarget(
                database, migrations, f"the embedded database in {settings.data_dir}", embedded, serving
            )
    finally:
        await tasks.close()
        folder.release()


@asynccontextmanager
async def _opened(database: Database) -> AsyncIterator[Database]:
    try:
        await database.open()
        yield database
    finally:
        await database.close()
