"""Where the data is, for the commands that look after it: a database that runs, or is started for the command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from smartmob.errors import StartupError
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.migrations import Migration
from smartmob.kernel.embedded.cluster import EmbeddedPostgres, JoinedPostgres
from smartmob.kernel.runtime.datadir import DataDirectory, InUse
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.settings import Settings


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """An open database. `serving` tells that a service runs on its data directory; `name` is for people."""

    database: Database
    migrations: Sequence[Migration]
    name: str
    embedded: EmbeddedPostgres | None
    serving: bool

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return what a program must inherit to reach the database."""
        return () if self.embedded is None else self.embedded.descriptors


@asynccontextmanager
async def reach(
    settings: Settings, migrations: Sequence[Migration], *, make: bool = False
) -> AsyncIterator[DatabaseTarget]:
    """Give the database that `smartmob serve` uses with the same settings; one that does not run runs meanwhile.

    With `make` an embedded one is made where there is none. Raises StartupError.
    """
    if settings.database.url:
        async with _opened(Database(settings.database, None)) as database:
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
