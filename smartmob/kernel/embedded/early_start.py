"""The start of the embedded PostgreSQL while the service still imports its modules: both take about 0.2 seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from smartmob.kernel.embedded.cluster import EmbeddedPostgres
from smartmob.kernel.runtime.datadir import DataDirectory
from smartmob.kernel.runtime.tasks import TaskRegistry

FOLDER = "postgres"
"""The folder of the server in the data directory."""


class EarlyStart(msgspec.Struct, frozen=True):
    """The parts of a service that are there before all others: its locked folder, its tasks and its database."""

    folder: DataDirectory
    tasks: TaskRegistry
    embedded: EmbeddedPostgres | None

    async def run_folder(self, _: object) -> AsyncIterator[None]:
        """Lock the folder, yield, and unlock it; raises InUse and StartupError."""
        self.folder.hold()
        yield
        self.folder.release()

    def abandon(self) -> None:
        """Stop the server unless a service has taken it over; this process ends with an error."""
        if self.embedded is not None:
            self.embedded.abandon()
        self.folder.release()


def made(data_dir: Path, *, embedded: bool) -> EarlyStart:
    """Return the parts for a data directory; nothing is locked or started."""
    tasks = TaskRegistry()
    return EarlyStart(DataDirectory(data_dir), tasks, EmbeddedPostgres(data_dir / FOLDER, tasks) if embedded else None)


def begin(data_dir: Path) -> EarlyStart:
    """Lock a data directory and begin to start its server, see `EmbeddedPostgres.begin`; raises StartupError."""
    early = made(data_dir, embedded=True)
    early.folder.hold()
    assert early.embedded is not None
    early.embedded.begin()
    return early
